import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { writeApiReference } from './generate-api-reference.ts';
import { writeClientFiles } from './generate-clients.ts';
import { environmentExample, referencePage } from '../../platform/config/reference.ts';

const ROOT = join(import.meta.dirname, '../..');

/** Files of the repository that are made from code, by path. A test compares them with what is committed. */
export function generatedFiles(): ReadonlyMap<string, string> {
  return new Map([
    ['.env.example', environmentExample()],
    ['docs/reference/configuration.md', referencePage()],
  ]);
}

if (process.argv[1] === import.meta.filename) {
  for (const [path, content] of generatedFiles()) {
    await mkdir(dirname(join(ROOT, path)), { recursive: true });
    await writeFile(join(ROOT, path), content);
    process.stdout.write(`wrote ${path}\n`);
  }
  await writeApiReference();
  await writeClientFiles();
}
