import { spawnSync } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { forge, type ForgeRun } from '../environment/forge.ts';
import { artifactSource, committedFile, contractNames } from './artifacts.ts';
import { GAS_SNAPSHOT } from './gas.ts';

const ROOT = join(import.meta.dirname, '../..');

describe('the contracts', () => {
  let tests: ForgeRun;
  beforeAll(async () => {
    // Forge leaves the interfaces out when it only tests.
    const built = await forge(['build']);
    if (built.code !== 0) throw new Error(built.output);
    tests = await forge(['test']);
  }, 300_000);

  it('pass their tests, fuzz tests and a few runs of the invariants', () => {
    expect(tests.code, tests.output.slice(-8000)).toBe(0);
    const [, passed] = /: (\d+) tests passed, 0 failed, 0 skipped/.exec(tests.output) ?? [];
    expect(Number(passed)).toBeGreaterThanOrEqual(45);
    expect(tests.output).toMatch(/invariant_BooksAreRight\(\) \(runs: \d+, calls: \d+, reverts: 0/);
  });

  it('cost as much gas as the committed snapshot says: npm run contracts -- gas writes it', async () => {
    const { code, output } = await forge(['snapshot', '--check', ...GAS_SNAPSHOT]);
    expect(code, output.slice(-4000)).toBe(0);
  }, 120_000);

  it.each(contractNames())('%s is what TypeScript knows: npm run contracts -- artifacts writes it', async (contract) => {
    const [built, committed] = await Promise.all([artifactSource(contract), readFile(committedFile(contract), 'utf8')]);
    // Not by toBe: a difference would print both whole.
    expect(committed === built).toBe(true);
  });

  it('are clean for solhint', () => {
    const { status, stdout, stderr } = spawnSync(process.execPath, [join(ROOT, 'node_modules/solhint/solhint.js'), '--noPoster', '--disc', '--max-warnings', '0', '--config', 'contracts/.solhint.yaml', 'contracts/*.sol'], { cwd: ROOT, encoding: 'utf8' });
    expect(status, stdout + stderr).toBe(0);
  });
});
