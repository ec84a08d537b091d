import { spawn } from 'node:child_process';
import { mkdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { combinedLineCoverage } from './coverage.ts';
import type { SecondTry } from './environment/second-tries.ts';

/** Everything a change must pass, in the order in which it fails fastest. The last line counts: `N passed, N failed, N skipped`. */

const ROOT = join(import.meta.dirname, '..');
const COVERAGE = join(ROOT, 'coverage');
const LINE_COVERAGE_FLOOR = 85;

interface Check {
  name: string;
  command: string;
  args: readonly string[];
}

const CHECKS: readonly Check[] = [
  { name: 'types', command: 'tsc', args: ['--noEmit'] },
  { name: 'lint', command: 'oxlint', args: ['--type-aware', '--deny-warnings'] },
  { name: 'house', command: 'depcruise', args: ['--config', '.dependency-cruiser.cjs', 'schemas', 'workflows', 'activities', 'neurons', 'platform', 'database', 'workers', 'api', 'cli', 'deploy', 'test'] },
  { name: 'dead code', command: 'knip', args: ['--no-progress', '--no-config-hints'] },
];

/** Runs a tool of node_modules/.bin with inherited output; answers whether it succeeded. */
async function succeeds(command: string, args: readonly string[], env: NodeJS.ProcessEnv = process.env): Promise<boolean> {
  const child = spawn(join(ROOT, 'node_modules/.bin', command), args, { cwd: ROOT, stdio: ['ignore', 'inherit', 'inherit'], env });
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', resolve);
  });
  return code === 0;
}

/**
 * Builds what the suites of Kubernetes and IPFS need where it is not there yet: twelve minutes, which pass beside the suites that mostly wait. Those suites come
 * last and wait for it; should it fail, they say why.
 */
function prepareClusterTools(): { stop(): void } {
  const child = spawn('nice', ['-n', '19', process.execPath, join(ROOT, 'test/cluster/build.ts')], { cwd: ROOT, stdio: 'ignore', detached: true });
  child.on('error', () => undefined);
  return {
    stop() {
      if (child.exitCode === null && child.pid !== undefined) process.kill(-child.pid, 'SIGTERM');
    },
  };
}

interface VitestReport {
  numPassedTests: number;
  numFailedTests: number;
  numPendingTests: number;
  numTodoTests: number;
  success: boolean;
}

async function main(): Promise<void> {
  const started = Date.now();
  let passed = 0;
  let failed = 0;
  const count = (name: string, ok: boolean): void => {
    console.log(`${ok ? 'ok    ' : 'FAILED'}  ${name}`);
    if (ok) passed += 1;
    else failed += 1;
  };

  const tools = prepareClusterTools();
  for (const check of CHECKS) count(check.name, await succeeds(check.command, check.args));

  await rm(COVERAGE, { recursive: true, force: true });
  await mkdir(join(COVERAGE, 'processes'), { recursive: true });
  const reportFile = join(COVERAGE, 'tests.json');
  const secondTriesFile = join(COVERAGE, 'second-tries.json');
  const vitestOk = await succeeds(
    'vitest',
    ['run', '--coverage', '--reporter=default', '--reporter=json', `--outputFile.json=${reportFile}`, '--reporter=./test/environment/second-tries.ts', ...process.argv.slice(2)],
    { ...process.env, HAL9_PROCESS_COVERAGE: join(COVERAGE, 'processes'), HAL9_SECOND_TRIES: secondTriesFile },
  );
  tools.stop();
  const report = JSON.parse(await readFile(reportFile, 'utf8')) as VitestReport;
  passed += report.numPassedTests;
  failed += report.numFailedTests;
  // A suite that cannot load fails without a failed test; it must not pass for green.
  if (!vitestOk && report.numFailedTests === 0) count('test files load', false);

  const coverage = await combinedLineCoverage(ROOT, join(COVERAGE, 'coverage-final.json'), join(COVERAGE, 'processes'));
  console.log(coverage.table);
  count(`line coverage ${coverage.percent.toFixed(1)} % > ${LINE_COVERAGE_FLOOR} %`, coverage.percent > LINE_COVERAGE_FLOOR);

  const secondTries = JSON.parse(await readFile(secondTriesFile, 'utf8')) as SecondTry[];
  for (const { test, failure } of secondTries) console.log(`second try  ${test}\n            failed first: ${failure.split('\n', 1)[0] ?? ''}`);
  console.log(`${String(secondTries.length)} passed on a second try only`);
  console.log(`${((Date.now() - started) / 1000).toFixed(0)} s`);
  console.log(`${passed} passed, ${failed} failed, ${report.numPendingTests + report.numTodoTests} skipped`);
  process.exitCode = failed === 0 ? 0 : 1;
}

await main();
