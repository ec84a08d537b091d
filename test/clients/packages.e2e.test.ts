import { execFile } from 'node:child_process';
import { mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const ROOT = join(import.meta.dirname, '../..');
const execute = promisify(execFile);

/** The packages as a stranger gets them: packed, and installed in a folder that has nothing of the repository. */
describe('the packed packages', () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'hal9-stranger-'));
    await execute(process.execPath, [join(ROOT, 'deploy/local/pack.ts'), '--out', join(folder, 'packages')], { cwd: ROOT, timeout: 300_000 });
    await writeFile(join(folder, 'package.json'), '{"private": true, "type": "module"}');
    const tarballs = (await readdir(join(folder, 'packages'))).map((name) => join(folder, 'packages', name));
    if (tarballs.length !== 3) throw new Error(`packed ${tarballs.join(', ')}`);
    // This test runs them on the Node it runs on itself, so the pinned one is not fetched again.
    await execute('npm', ['install', '--prefer-offline', '--ignore-scripts', '--no-audit', '--no-fund', ...tarballs, '@temporalio/testing@1.24.0', 'typescript@6.0.3', '@types/node@24.19.2'], { cwd: folder, timeout: 600_000 });
  }, 900_000);
  afterAll(() => rm(folder, { recursive: true, force: true }));

  const hal9 = (args: readonly string[]) => execute(process.execPath, [join(folder, 'node_modules/hal9/cli/hal9.js'), ...args], { cwd: folder, timeout: 200_000 });

  it('ship JavaScript and declarations, and no TypeScript sources', async () => {
    for (const name of ['hal9', '@hal9/client', '@hal9/sdk']) {
      const files = (await readdir(join(folder, 'node_modules', name), { recursive: true })).filter((path) => !path.includes('node_modules'));
      expect(files.filter((path) => /(?<!\.d)\.ts$/.test(path)), name).toEqual([]);
      expect(files.some((path) => path.endsWith('.d.ts')), name).toBe(true);
    }
  });

  it('the client loads and type-checks', async () => {
    await writeFile(join(folder, 'use.ts'), "import { Hal9Client, OPERATIONS } from '@hal9/client';\nconst client = new Hal9Client({ url: 'http://127.0.0.1:1', retries: 0 });\nconst name: string = await client.call('health', { params: {} }).then(() => '', (error: Error) => error.name);\nconsole.log(name, Object.keys(OPERATIONS).length > 100);\n");
    const { stdout } = await execute(process.execPath, ['use.ts'], { cwd: folder });
    expect(stdout.trim()).toBe('ConnectionError true');
    await execute(process.execPath, [join(folder, 'node_modules/typescript/bin/tsc'), '--noEmit', '--strict', '--module', 'nodenext', '--target', 'es2024', '--types', 'node', 'use.ts'], { cwd: folder });
  });

  it('`hal9 init` makes a project whose tests pass', async () => {
    await hal9(['init', 'guests']);
    const { stdout } = await hal9(['check', 'guests']);
    expect(stdout).toContain('greet-guest: the contracts load and the workflows build');
    expect(stdout).toMatch(/pass 2/);
    await execute(process.execPath, [join(folder, 'node_modules/typescript/bin/tsc'), '-p', 'guests'], { cwd: folder });
    await expect(hal9(['init', 'guests'])).rejects.toMatchObject({ code: 2 });
    expect(JSON.parse(await readFile(join(folder, 'guests/package.json'), 'utf8'))).toMatchObject({ name: 'guests', scripts: { test: 'hal9 check' } });
  });
});
