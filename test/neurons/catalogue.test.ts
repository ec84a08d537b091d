import { describe, expect, it } from 'vitest';
import { HOST_NEURONS } from '../../neurons/catalogue/host.ts';
import { REPLAY_NEURONS, SERIES_VALUE_TYPE } from '../../neurons/catalogue/replay.ts';
import { validateNeuron } from '../../neurons/validate-neuron.ts';
import type { NeuronSignal } from '../../neurons/layer.ts';
import { CAUSES } from '../../schemas/names/remedies.ts';
import { neuronDraftSchema } from '../../schemas/neurons/definition.ts';
import { remediateInputSchema } from '../../schemas/operations/remediate.ts';
import { Cascade, signal, stored } from './neuron.ts';

const START = 1_700_000_000_000;
const GIB = 1024 ** 3;
const HOG = { pid: 4242, startTicks: 99_000, name: 'hog' };
const USUAL = { pid: 77, startTicks: 500, name: 'postgres' };

/** The same every time; uniform in [0, 1). */
const noise = (second: number, series: number): number => Math.abs(Math.sin(second * 12.9898 + series * 78.233) * 43_758.5453) % 1;

/** What the collector sends in one second of a busy but healthy machine of two cores. */
function machine(second: number): Map<string, { source: string; subject: string; data: Record<string, unknown> }> {
  const host = 'host/web-1';
  // Builds and queries take a core for a few seconds now and then, each time another process.
  const burst = second % 37 < 4;
  return new Map(Object.entries({
    'process.cpu': { source: host, subject: 'top', data: burst ? { value: 0.9 + noise(second, 1) / 5, pid: 5000 + Math.floor(second / 37), startTicks: second, name: 'node' } : { value: 0.05 + noise(second, 2) * 0.3, ...USUAL } },
    'cpu.load': { source: host, subject: 'all', data: { value: burst ? 1 : 0.1 + noise(second, 3) * 0.4 } },
    'process.memory': { source: host, subject: 'top', data: { value: 0.4 * GIB + noise(second, 4) * 0.02 * GIB, ...USUAL } },
    'memory.available': { source: host, subject: 'all', data: { value: 3 * GIB - noise(second, 5) * 0.3 * GIB, total: 4 * GIB, ratio: 0.75 - noise(second, 5) * 0.07 } },
    'disk.temporary': { source: host, subject: 'watched', data: { value: Math.floor(noise(second, 6) * 3) * 1024 * 1024, files: 3 } },
    'disk.used': { source: host, subject: '/', data: { value: 20 * GIB + second * 1000, total: 50 * GIB, ratio: 0.4 } },
    'process.stopped': { source: host, subject: 'hal9', data: { value: 0 } },
    'postgres.blocked': { source: 'postgres/web-1', subject: 'server', data: { value: second % 50 === 0 ? 2 : 0 } },
    'postgres.lockwait': { source: 'postgres/web-1', subject: 'server', data: { value: second % 50 === 0 ? 0.4 : 0 } },
    'worker.heartbeat': { source: 'worker/core-1', subject: 'core-1', data: { value: 1 + noise(second, 7), hostId: 'web-1' } },
  }));
}

/** Plays a machine for so many seconds; `fault` changes what the collector sends. */
function play(seconds: number, fault: (second: number, metrics: ReturnType<typeof machine>) => void = () => undefined): Cascade {
  const cascade = new Cascade(stored(HOST_NEURONS));
  for (let second = 0; second < seconds; second += 1) {
    const metrics = machine(second);
    fault(second, metrics);
    cascade.push([...metrics].map(([metric, { source, subject, data }]): NeuronSignal => signal({ ref: `${metric}@${String(second)}`, source, subject, type: `hal9.metric.${metric}`, timeMs: START + second * 1000, data })));
  }
  expect(cascade.failures).toEqual([]);
  return cascade;
}

const set = (metrics: ReturnType<typeof machine>, metric: string, data: Record<string, unknown>): void => {
  Object.assign(metrics.get(metric)?.data ?? {}, data);
};

describe('shipped neurons', () => {
  it.each([...HOST_NEURONS, ...REPLAY_NEURONS].map((draft) => [draft.name, draft] as const))('%s is valid', (_, draft) => {
    expect(neuronDraftSchema.parse(draft)).toEqual(draft);
    expect(validateNeuron(draft)).toEqual([]);
  });

  it('have names of their own', () => {
    const names = [...HOST_NEURONS, ...REPLAY_NEURONS].map(({ name }) => name);
    expect(new Set(names).size).toBe(names.length);
  });
});

describe('neurons of the machine', () => {
  it('are quiet on a busy but healthy machine', () => {
    const { emissions, decisions } = play(900);
    expect(emissions).toEqual([]);
    expect(decisions).toEqual([]);
  });

  it.each<[string, number, (second: number, metrics: ReturnType<typeof machine>) => void, object | undefined]>([
    [CAUSES.cpuHog, 15, (_, metrics) => { set(metrics, 'process.cpu', { value: 1.7, ...HOG }); set(metrics, 'cpu.load', { value: 1 }); }, HOG],
    [CAUSES.memoryHog, 15, (second, metrics) => { set(metrics, 'process.memory', { value: Math.min(1, 0.3 * (second - 59)) * GIB + 0.2 * GIB, ...HOG }); set(metrics, 'memory.available', { ratio: 0.45 }); }, HOG],
    [CAUSES.diskFilling, 12, (second, metrics) => { set(metrics, 'disk.temporary', { value: Math.min(640, (second - 59) * 100) * 1024 * 1024 }); }, undefined],
    [CAUSES.lockPileUp, 10, (second, metrics) => { set(metrics, 'postgres.blocked', { value: 4, blockerPid: 321 }); set(metrics, 'postgres.lockwait', { value: second - 59 }); }, undefined],
    [CAUSES.workerStopped, 10, (second, metrics) => { set(metrics, 'process.stopped', { value: 1, ...HOG }); set(metrics, 'worker.heartbeat', { value: second - 59 }); }, HOG],
  ])('find %s within %d seconds and decide to mend it, once', (cause, within, fault, suspect) => {
    const { decisions, emissions } = play(140, (second, metrics) => { if (second >= 60 && second < 100) fault(second, metrics); });
    expect(decisions).toHaveLength(1);
    const [decision] = decisions;
    expect(decision?.operation?.type).toBe('remediate');
    expect(remediateInputSchema.parse(decision?.operation?.input)).toMatchObject({ cause, hostId: 'web-1', ...(suspect === undefined ? {} : { suspect: { pid: HOG.pid, startTicks: HOG.startTicks } }) });
    expect((decision?.timeMs ?? 0) - START).toBeLessThanOrEqual((60 + within) * 1000);
    const states = emissions.filter(({ type }) => type === 'hal9.incident').map(({ data }): unknown => (typeof data === 'object' && data !== null ? Reflect.get(data, 'state') : undefined));
    expect(states).toEqual(['opened', 'closed']);
  });

  it('turn to the next cause when the first is over', () => {
    const { decisions } = play(160, (second, metrics) => {
      if (second >= 60 && second < 75) set(metrics, 'process.stopped', { value: 1, ...HOG });
      if (second >= 74 && second < 110) set(metrics, 'process.cpu', { value: 1.8, ...HOG });
    });
    expect(decisions.map(({ operation }) => remediateInputSchema.parse(operation?.input).cause)).toEqual([CAUSES.workerStopped, CAUSES.cpuHog]);
  });
});

describe('neurons of replayed series', () => {
  it('make one decision of one anomaly', () => {
    const cascade = new Cascade(stored(REPLAY_NEURONS));
    for (let from = 0; from < 2000; from += 250) {
      cascade.push(Array.from({ length: 250 }, (_, offset) => {
        const row = from + offset;
        return signal({ ref: String(row), type: SERIES_VALUE_TYPE, source: 'series/group/file', timeMs: START + row * 300_000, data: { value: 50 + noise(row, 1) + (row >= 1500 && row < 1600 ? 40 : 0) } });
      }));
    }
    expect(cascade.failures).toEqual([]);
    expect(cascade.decisions).toMatchObject([{ summary: 'anomaly in series/group/file', timeMs: START + 1500 * 300_000 }]);
  });
});
