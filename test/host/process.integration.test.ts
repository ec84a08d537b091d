import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { endProcess, spawnOwned } from '../../deploy/local/child-process.ts';
import { createTestDatabase, type TestDatabase } from '../environment/database.ts';
import { receiver } from './receiver.ts';

const ROOT = join(import.meta.dirname, '../..');

describe('the host process', () => {
  let test: TestDatabase;
  let data: string;
  beforeAll(async () => {
    test = await createTestDatabase();
    data = await mkdtemp(join(tmpdir(), 'hal9-host-'));
  });
  afterAll(async () => {
    await test.drop();
    await rm(data, { recursive: true, force: true });
  });

  it('sends some dozens of series again and again, rests between, and ends when asked', async () => {
    const api = await receiver(() => 202);
    const child = spawnOwned(process.execPath, [join(ROOT, 'workers/host/main.ts')], {
      deathSignal: 'KILL',
      cwd: ROOT,
      env: { ...process.env, HAL9_DATA: data, HAL9_HOST_ID: 'test', DATABASE_URL: test.url, TEMPORAL_ADDRESS: inject('temporalAddress'), HAL9_COLLECTOR_KEY: 'k', HAL9_COLLECTOR_URL: api.url, HAL9_AGENT_TEMP: data, HAL9_COLLECTOR_SCRAPE: `core-1=${api.url}/metrics` },
    });
    const lines: string[] = [];
    child.stderr?.on('data', (chunk: Buffer) => lines.push(chunk.toString()));
    if (child.stdout === null) throw new Error('no output');
    createInterface({ input: child.stdout }).on('line', (line) => lines.push(line));
    while (!lines.some((line) => line.includes('"event":"ready"'))) {
      if (child.exitCode !== null) throw new Error(lines.join('\n'));
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    const ticks = async (): Promise<number> => {
      const fields = (await readFile(`/proc/${child.pid}/stat`, 'utf8')).split(') ')[1]?.split(' ') ?? [];
      return Number(fields[11]) + Number(fields[12]);
    };
    await new Promise((resolve) => setTimeout(resolve, 4000));
    const [before, received] = [await ticks(), api.received.length];
    await new Promise((resolve) => setTimeout(resolve, 8000));
    const cores = ((await ticks()) - before) / 100 / 8;
    const series = new Set(api.received.map((signal) => `${signal.source} ${signal.type} ${signal.subject}`));
    process.stdout.write(`collector and agent: ${series.size} series, ${(api.received.length - received) / 8} readings/s, ${cores} cores\n`);
    expect(series.size).toBeGreaterThan(30);
    expect(api.received.length).toBeGreaterThan(received + series.size);
    // What it takes is printed; a loop that never rests would take a whole one.
    expect(cores).toBeLessThan(0.5);
    expect(new Set(api.received.map((signal) => `${signal.source} ${signal.id}`)).size).toBe(api.received.length);
    const ended = once(child, 'exit');
    await endProcess(child, 'SIGTERM', 9000);
    const [code] = await ended;
    expect(code).toBe(0);
    await api.close();
  });
});
