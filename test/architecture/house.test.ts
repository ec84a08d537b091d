import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile, cp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, describe, expect, it } from 'vitest';

const ROOT = join(import.meta.dirname, '../..');
const run = promisify(execFile);
let house = '';

/** Cruises a small house of the given files with the real rules; answers the names of the rules broken. */
async function broken(files: Record<string, string>): Promise<string[]> {
  house = await mkdtemp(join(tmpdir(), 'hal9-house-'));
  for (const [path, code] of Object.entries(files)) {
    await mkdir(dirname(join(house, path)), { recursive: true });
    await writeFile(join(house, path), code);
  }
  for (const file of ['.dependency-cruiser.cjs', 'tsconfig.json', 'package.json']) await cp(join(ROOT, file), join(house, file));
  const folders = [...new Set(Object.keys(files).map((path) => path.split('/')[0] ?? ''))];
  const { stdout } = await run(
    process.execPath,
    [join(ROOT, 'node_modules/dependency-cruiser/bin/dependency-cruiser.mjs'), '--config', '.dependency-cruiser.cjs', '--output-type', 'json', ...folders],
    { cwd: house },
  ).catch((failure: { stdout: string }) => failure);
  const result = JSON.parse(stdout) as { summary: { violations: { rule: { name: string } }[] } };
  return [...new Set(result.summary.violations.map((violation) => violation.rule.name))].sort();
}

afterEach(() => rm(house, { recursive: true, force: true }));

describe('the house', () => {
  it('lets an arrow of the design pass, and types where only types may', async () => {
    expect(
      await broken({
        'schemas/a.ts': 'export const a = 1;\nexport type A = number;',
        'platform/b.ts': "import { a } from '../schemas/a.ts';\nexport const b = a;",
        'workflows/c.ts': "import type { A } from '../schemas/a.ts';\nexport const c: A = 1;",
      }),
    ).toEqual([]);
  });

  it('fails on a value that a workflow takes from the schemas', async () => {
    expect(await broken({ 'schemas/a.ts': 'export const a = 1;', 'workflows/c.ts': "import { a } from '../schemas/a.ts';\nexport const c = a;" })).toContain('workflow-values');
  });

  it('fails when the platform reaches up into the API', async () => {
    expect(await broken({ 'api/a.ts': 'export const a = 1;', 'platform/b.ts': "import { a } from '../api/a.ts';\nexport const b = a;" })).toContain('house-platform');
  });

  it('fails on a cycle', async () => {
    expect(
      await broken({ 'database/a.ts': "import { b } from './b.ts';\nexport const a: number = b;", 'database/b.ts': "import { a } from './a.ts';\nexport const b: number = a;" }),
    ).toContain('no-circular');
  });
});
