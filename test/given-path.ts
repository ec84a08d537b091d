import { resolve } from 'node:path';
import { parseArgs } from 'node:util';

/**
 * What a command that reads one file or folder was given: `--<name> PATH [--json]`. Ends the process with exit code 2 and the usage for
 * everything else.
 */
export function givenPath(name: string, usage: string): { readonly path: string; readonly json: boolean } {
  try {
    const { values } = parseArgs({ options: { [name]: { type: 'string' }, json: { type: 'boolean', default: false } } });
    const path = values[name];
    if (typeof path === 'string') return { path: resolve(path), json: values['json'] === true };
  } catch {
    // the usage says what is possible
  }
  process.stderr.write(`Usage: ${usage}\n`);
  process.exit(2);
}
