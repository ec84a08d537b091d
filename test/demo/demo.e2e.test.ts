import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readCommandLine, readProcesses } from '../../activities/host/process-table.ts';

const ROOT = join(import.meta.dirname, '../..');

/** The demo as `npm run demo` starts it, with a folder for temporary files of its own, so that what it leaves behind is seen. */
describe('the demo', () => {
  let folder: string;
  let child: ChildProcess | undefined;
  let output = '';
  let notes = '';
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'hal9-demo-test-'));
    await chmod(folder, 0o755);
    output = '';
    notes = '';
  });
  afterEach(async () => {
    child?.kill('SIGKILL');
    await rm(folder, { recursive: true, force: true });
  });

  function start(...args: string[]): ChildProcess {
    const started = spawn(process.execPath, [join(ROOT, 'deploy/local/launch.js'), 'demo', ...args], { cwd: ROOT, env: { ...process.env, TMPDIR: folder }, stdio: ['ignore', 'pipe', 'pipe'] });
    started.stdout?.on('data', (chunk: Buffer) => (output += chunk.toString()));
    started.stderr?.on('data', (chunk: Buffer) => (notes += chunk.toString()));
    child = started;
    return started;
  }
  const ours = (): string[] => readProcesses().map((found) => readCommandLine(found.pid)).filter((command) => command.includes(folder));
  const ended = async (started: ChildProcess): Promise<unknown> => (started.exitCode === null ? (await once(started, 'exit'))[0] : started.exitCode);

  it('finds and mends real faults, says so in one line, and leaves nothing behind', async () => {
    const code = await ended(start('--exit', '--json', '--seconds', '36', '--faults', 'disk-filling,lock-pile-up'));
    expect({ code, notes: code === 0 ? '' : notes }).toEqual({ code: 0, notes: '' });
    expect(output.trim().split('\n').length).toBe(1);
    const result: Record<string, number> = JSON.parse(output);
    expect(result).toMatchObject({ faultsInjected: 2, faultsFound: 2, faultsRemedied: 2, falseIncidents: 0 });
    expect(Object.keys(result)).toEqual(['signals', 'cascades', 'decisions', 'incidents', 'faultsInjected', 'faultsFound', 'faultsRemedied', 'falseIncidents', 'detectP50Seconds', 'seconds']);
    expect(result['signals']).toBeGreaterThan(1000);
    expect(result['cascades']).toBeGreaterThan(10);
    expect(await readdir(folder)).toEqual([]);
    expect(ours()).toEqual([]);
  });

  it('ends on SIGTERM in the middle of a fault, and takes the fault with it', async () => {
    const started = start('--seconds', '35', '--faults', 'disk-filling');
    while (!notes.includes('temporary files fill a disk: begins')) {
      if (started.exitCode !== null) throw new Error(notes);
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
    started.kill('SIGTERM');
    expect(await ended(started)).toBe(143);
    expect(ours()).toEqual([]);
    expect(await readdir(folder)).toEqual([]);
  });

  it('replays labelled series of any folder of that layout', async () => {
    const data = join(folder, 'series');
    await mkdir(join(data, 'group'), { recursive: true });
    const start0 = Date.UTC(2020, 0, 1);
    const stamp = (row: number): string => new Date(start0 + row * 300_000).toISOString().slice(0, 19).replace('T', ' ');
    const series = (value: (row: number) => number): string => `timestamp,value\n${Array.from({ length: 2000 }, (_, row) => `${stamp(row)},${value(row).toFixed(3)}`).join('\n')}\n`;
    const wave = (row: number): number => 50 + 10 * Math.sin(row / 45) + 2 * Math.sin(row * 1.7);
    await writeFile(join(data, 'group', 'fault.csv'), series((row) => wave(row) + (row >= 1500 && row < 1530 ? 80 : 0)));
    await writeFile(join(data, 'group', 'calm.csv'), series(wave));
    await writeFile(join(data, 'windows.json'), JSON.stringify({ 'group/fault.csv': [[stamp(1495), stamp(1535)]], 'group/calm.csv': [] }));
    const code = await ended(start('--data', data, '--labels', join(data, 'windows.json'), '--exit', '--json'));
    expect({ code, notes: code === 0 ? '' : notes }).toEqual({ code: 0, notes: '' });
    const result: Record<string, number> = JSON.parse(output);
    expect(result).toMatchObject({ signals: 4000, labelledWindows: 1, windowsFound: 1, falseIncidents: 0 });
    expect(Object.keys(result)).toEqual(['signals', 'cascades', 'decisions', 'incidents', 'labelledWindows', 'windowsFound', 'falseIncidents', 'seconds']);
  });

  it('says in one sentence what is wrong with its options', async () => {
    const code = await ended(start('--faults', 'earthquake'));
    expect(code).toBe(1);
    expect(notes).toMatch(/There is no fault earthquake: choose from cpu-hog/);
  });
});
