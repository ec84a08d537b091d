import { randomUUID } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { afterEach, describe, expect, it } from 'vitest';
import { signalSchema } from '../../schemas/signals/signal.ts';
import { Collector } from '../../workers/host/collector.ts';
import { Delivery } from '../../workers/host/delivery.ts';
import { machineProbe, spaceProbe } from '../../workers/host/machine-probe.ts';
import { processProbe, temporaryProbe } from '../../workers/host/process-probe.ts';
import { prometheusProbe } from '../../workers/host/prometheus-probe.ts';
import { readingSignal, type Probe } from '../../workers/host/reading.ts';
import { receiver } from './receiver.ts';
import { BURN, IDLE, ownProcess } from './fault-process.ts';

const logger = pino({ level: 'silent' });
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

describe('probes', () => {
  it('read some dozens of series of this machine as valid signals', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'hal9-probe-'));
    await writeFile(join(folder, 'file'), Buffer.alloc(100_000));
    const probes = [machineProbe('host/a'), spaceProbe('host/a'), processProbe('host/a', []), temporaryProbe('host/a', folder)];
    for (const probe of probes) await probe.read();
    await pause(300);
    const readings = (await Promise.all(probes.map((probe) => probe.read()))).flat();
    await rm(folder, { recursive: true });
    const signals = readings.map((reading) => signalSchema.parse(readingSignal(reading, Date.now())));
    expect(signals.length).toBeGreaterThan(24);
    expect(new Set(signals.map((signal) => signal.id)).size).toBe(signals.length);
    const types = new Set(signals.map((signal) => signal.type));
    for (const metric of ['cpu.load', 'memory.available', 'disk.used', 'disk.temporary', 'process.cpu', 'process.memory', 'process.stopped', 'network.received', 'load.average', 'files.open']) expect(types).toContain(`hal9.metric.${metric}`);
    const temporary = readings.find((reading) => reading.metric === 'disk.temporary');
    expect(temporary).toMatchObject({ facts: { files: 1 } });
    expect(temporary?.value).toBeGreaterThanOrEqual(100_000);
  });

  it('see who burns processor time and which process of ours is stopped', async () => {
    const mark = `mark-${randomUUID()}`;
    const [burning, stopped] = await Promise.all([ownProcess(BURN, mark), ownProcess(IDLE, mark)]);
    stopped.child.kill('SIGSTOP');
    const probe = processProbe('host/a', [mark]);
    await probe.read();
    await pause(800);
    const readings = await probe.read();
    const { startTicks } = stopped.reading();
    await Promise.all([burning.end(), stopped.end()]);
    expect(readings.find((reading) => reading.metric === 'process.stopped')).toMatchObject({ value: 1, facts: { pid: stopped.child.pid, startTicks } });
    expect(readings.find((reading) => reading.metric === 'process.cpu')?.value).toBeGreaterThan(0.2);
  });

  it('say that an endpoint is down', async () => {
    const gone = await receiver(() => 202);
    await gone.close();
    expect(await prometheusProbe('core-1', `${gone.url}/metrics`, 'a').read()).toMatchObject([{ source: 'worker/core-1', metric: 'worker.up', value: 0 }, { metric: 'worker.heartbeat', facts: { hostId: 'a' } }]);
  });
});

describe('the collector', () => {
  const stops: (() => Promise<unknown>)[] = [];
  afterEach(async () => {
    await Promise.all(stops.splice(0).map((stop) => stop()));
  });

  it('asks each probe at its own pace, survives a failing one and waits for no slow one', async () => {
    const got: string[] = [];
    const probe = (name: string, intervalMs: number, read: () => Promise<void>): Probe => ({
      name,
      intervalMs,
      async read() {
        await read();
        return [{ source: 'host/a', metric: name, subject: 'x', value: 1, unit: 'x' }];
      },
    });
    const collector = new Collector({
      probes: [probe('quick', 0, async () => {}), probe('seldom', 10_000, async () => {}), probe('slow', 0, async () => void (await pause(10_000))), probe('failing', 0, () => Promise.reject(new Error('no')))],
      delivery: { put: (signals) => got.push(...signals.map((signal) => signal.type)) },
      intervalMs: 50,
      logger,
    });
    collector.start();
    await pause(420);
    void collector.stop();
    const count = (name: string) => got.filter((type) => type === `hal9.metric.${name}`).length;
    expect(count('quick')).toBeGreaterThan(4);
    expect(count('seldom')).toBe(1);
    expect(count('slow')).toBe(0);
    expect(count('failing')).toBe(0);
  });

  it('sends in order and again under the same ids until the API takes them', async () => {
    let fails = 2;
    const api = await receiver(() => (fails-- > 0 ? 503 : 202));
    stops.push(api.close);
    const delivery = new Delivery({ url: api.url, apiKey: 'k', capacity: 1000, logger });
    delivery.start();
    const signals = Array.from({ length: 30 }, (_, n) => readingSignal({ source: 'host/a', metric: 'x', subject: 'y', value: n, unit: 'u' }, 1000 + n));
    delivery.put(signals.slice(0, 10));
    delivery.put(signals.slice(10));
    while (delivery.accepted < 30) await pause(20);
    await delivery.stop();
    expect(api.received.map((signal) => signal.id)).toEqual(signals.map((signal) => signal.id));
  });

  it('keeps the newest when the API stays away, and says how many went', async () => {
    const delivery = new Delivery({ url: 'http://127.0.0.1:9', apiKey: 'k', capacity: 100, logger });
    delivery.start();
    delivery.put(Array.from({ length: 250 }, (_, n) => readingSignal({ source: 'host/a', metric: 'x', subject: 'y', value: n, unit: 'u' }, n)));
    expect([delivery.waiting, delivery.dropped]).toEqual([100, 150]);
    await delivery.stop();
  });

  it('lets go of a batch that can never be read', async () => {
    const api = await receiver(() => 400);
    stops.push(api.close);
    const delivery = new Delivery({ url: api.url, apiKey: 'k', capacity: 100, logger });
    delivery.start();
    delivery.put([readingSignal({ source: 'host/a', metric: 'x', subject: 'y', value: 1, unit: 'u' }, 1)]);
    while (delivery.waiting > 0) await pause(20);
    expect(delivery.accepted).toBe(0);
    await delivery.stop();
  });
});
