import { spawn } from 'node:child_process';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';

const ROOT = join(import.meta.dirname, '../..');

export interface ForgeRun {
  readonly code: number | null;
  /** stdout and stderr together. */
  readonly output: string;
}

/** Path of a tool of Foundry: npm has a package for each platform with the binary in it. */
export function foundryBinary(tool: 'forge' | 'anvil'): string {
  const platform = `${process.platform === 'darwin' ? 'darwin' : 'linux'}-${process.arch === 'arm64' ? 'arm64' : 'amd64'}`;
  const manifest = createRequire(import.meta.url).resolve(`@foundry-rs/${tool}-${platform}/package.json`);
  return join(dirname(manifest), 'bin', tool);
}

/**
 * Runs forge on `contracts/` and `test/contracts/` with npm's compiler; what it builds lies in `.cache/contracts`.
 * @param settings of Foundry, e.g. `{ FOUNDRY_INVARIANT_RUNS: '10000' }`.
 * @param onOutput gets the output as it comes.
 */
export async function forge(args: readonly string[], settings: Readonly<Record<string, string>> = {}, onOutput?: (text: string) => void): Promise<ForgeRun> {
  const [command, ...rest] = args;
  const child = spawn(foundryBinary('forge'), [command ?? 'build', '--root', ROOT, '--use', join(import.meta.dirname, 'solc.js'), '--offline', ...rest], {
    cwd: ROOT,
    stdio: ['ignore', 'pipe', 'pipe'],
    // The compiler's `#!/usr/bin/env node` must find the Node that runs this.
    env: { ...process.env, ...settings, FOUNDRY_CONFIG: join(ROOT, 'contracts/foundry.toml'), PATH: `${dirname(process.execPath)}:${process.env['PATH'] ?? ''}` },
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text;
      onOutput?.(text);
    });
  }
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  return { code, output };
}
