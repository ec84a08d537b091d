import { spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { removeFolder, temporaryFolder } from '../deploy/launched.ts';
import { readOptions } from './command.ts';

describe('options of a bench', () => {
  it('are names with values; a flag is true', () => {
    expect(readOptions(['--signals', '1000', '--json', '--mode=a=b'])).toEqual({ signals: '1000', json: 'true', mode: 'a=b' });
    expect(() => readOptions(['signals'])).toThrow('signals is no option: write options as --name value.');
  });
});

describe('a bench command', () => {
  const folder = temporaryFolder();
  const command = join(import.meta.dirname, 'command.ts');
  beforeAll(() => {
    mkdirSync(join(folder, 'parts'));
    writeFileSync(join(folder, 'main.ts'), `import { runBenchCommand } from ${JSON.stringify(command)};\nawait runBenchCommand('bench', import.meta.dirname);\n`);
    writeFileSync(
      join(folder, 'sum.ts'),
      `import { existsSync } from 'node:fs';\nexport const run = async (args) => { args.progress('adding'); return { sum: args.number('a', 1) + args.number('b', 2), folder: existsSync(args.folder) }; };\n`,
    );
  });
  afterAll(() => removeFolder(folder));
  const bench = (...args: string[]) => spawnSync(process.execPath, [join(folder, 'main.ts'), ...args], { encoding: 'utf8' });

  it('prints exactly one line of JSON, and progress elsewhere', () => {
    const { status, stdout, stderr } = bench('sum', '--a', '40', '--json');
    expect(stdout).toMatch(/^\{.*\}\n$/);
    expect(JSON.parse(stdout)).toEqual({ sum: 42, folder: true, stolenPercent: expect.any(Number) });
    expect(stderr).toBe('adding\n');
    expect(status).toBe(0);
  });

  it('prints a table otherwise', () => {
    const { stdout } = bench('sum', '--a', '1234567');
    expect(stdout).toMatch(/sum\s*│ 1,234,569/);
  });

  it('names what there is', () => {
    const { status, stderr } = bench('product');
    expect(stderr).toBe('There is no bench product: there are: sum.\n');
    expect(status).toBe(1);
  });

  it('refuses a number that is none', () => {
    expect(bench('sum', '--a', 'many').stderr).toBe('adding\n--a many is no number: write it as --a 1.\n');
  });
});
