import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { compileLayer } from '../../neurons/compile-layer.ts';
import { SeriesModel } from '../../neurons/detector/series-model.ts';
import type { Emission } from '../../neurons/layer.ts';
import { Cascade, evaluate, neuron, signal } from './neuron.ts';

const SEASONS = [86_400, 604_800];
/** The same every time; uniform in [0, 1). */
const noise = (index: number): number => (index * 0.618_033_988_749_895 + (index % 7) * 0.137) % 1;

/** What a detector reports for readings one `stepMs` apart. */
function reports(values: readonly number[], options: Readonly<Record<string, unknown>> = {}, stepMs = 1000, facts: (index: number) => object = () => ({})): Emission[] {
  const layer = compileLayer('L2', [neuron('d', 'L2', ['metric'], { kind: 'detector', seasonsSeconds: [], warmUp: 30, ...options })]);
  const output = evaluate(layer, values.map((value, index) => signal({ ref: String(index), timeMs: index * stepMs, data: { value, ...facts(index) } })));
  expect(output.failures).toEqual([]);
  return [...output.emissions];
}

describe('the model of a series', () => {
  it('survives storing after every reading bit for bit', () => {
    const readings = fc.array(fc.record({ step: fc.oneof(fc.integer({ min: 200, max: 3_600_000 }), fc.constantFrom(0, -5000, 86_400_000)), value: fc.oneof(fc.double({ noNaN: true, noDefaultInfinity: true, min: -1e12, max: 1e12 }), fc.constantFrom(0, 1, -0)) }), { maxLength: 120 });
    fc.assert(fc.property(readings, fc.constantFrom([], [60], SEASONS), (given, seasonsSeconds) => {
      const whole = new SeriesModel(undefined, { seasonsSeconds });
      let stored: Uint8Array | undefined;
      let timeMs = 1_700_000_000_000;
      for (const { step, value } of given) {
        timeMs += step;
        const restored = new SeriesModel(stored, { seasonsSeconds });
        expect(restored.update(timeMs, value)).toBe(whole.update(timeMs, value));
        expect(restored.expected).toBe(whole.expected);
        stored = restored.bytes();
        expect(Buffer.compare(stored, whole.bytes())).toBe(0);
        expect(whole.bytes().length).toBe(new SeriesModel(undefined, { seasonsSeconds }).bytes().length);
      }
    }), { numRuns: 40 });
  });

  it('is bit for bit the same for a long series, through the neuron, in any chunks', () => {
    const draft = neuron('d', 'L2', ['metric'], { kind: 'detector', warmUp: 100, threshold: 0.99 });
    const signals = Array.from({ length: 3000 }, (_, index) => signal({ ref: String(index), timeMs: index * 300_000, data: { value: 50 + 20 * Math.sin(index / 45.8) + noise(index) + (index % 900 === 899 ? 60 : 0) } }));
    const run = (size: number): { emissions: unknown; state: string } => {
      const cascade = new Cascade([draft]);
      for (let from = 0; from < signals.length; from += size) cascade.push(signals.slice(from, from + size));
      return { emissions: cascade.emissions, state: '' };
    };
    const whole = run(signals.length);
    expect(run(1)).toEqual(whole);
    expect(run(37)).toEqual(whole);
    expect(Array.isArray(whole.emissions) ? whole.emissions.length : 0).toBeGreaterThan(0);
  });

  it('stays small', () => {
    expect(new SeriesModel(undefined, { seasonsSeconds: [] }).bytes().length).toBeLessThan(1700);
    expect(new SeriesModel(undefined, { seasonsSeconds: SEASONS }).bytes().length).toBeLessThan(6000);
    expect(new SeriesModel(undefined, { seasonsSeconds: [604_800, 604_800, 604_800, 604_800] }).bytes().length).toBeLessThan(16_500);
  });

  it('starts anew from bytes it does not know', () => {
    const fresh = new SeriesModel(undefined, { seasonsSeconds: [] }).bytes();
    expect(new SeriesModel(new Uint8Array(7), { seasonsSeconds: [] }).bytes()).toEqual(fresh);
    const foreign = fresh.slice().fill(1);
    expect(new SeriesModel(foreign, { seasonsSeconds: [] }).bytes()).toEqual(fresh);
  });

  it('answers a likelihood in [0, 1] for any numbers', () => {
    fc.assert(fc.property(fc.array(fc.double({ noNaN: true, noDefaultInfinity: true }), { maxLength: 60 }), (values) => {
      const model = new SeriesModel(undefined, { seasonsSeconds: [] });
      for (const [index, value] of values.entries()) {
        const likelihood = model.update(index, value / 1e10);
        expect(likelihood >= 0 && likelihood <= 1).toBe(true);
      }
    }));
  });
});

describe('what is reported', () => {
  const quiet = Array.from({ length: 200 }, (_, index) => 10 + noise(index));

  it.each<[string, (index: number) => number]>([
    ['a constant', () => 45],
    ['zero', () => 0],
    ['noise', (index) => 10 + noise(index)],
    ['a fast square wave', (index) => (index % 20 < 10 ? 0 : 80)],
    ['noise with spikes that keep coming', (index) => noise(index) + (index % 23 === 0 ? 50 : 0)],
  ])('nothing in %s', (_, value) => {
    expect(reports(Array.from({ length: 3000 }, (__, index) => value(index)), { warmUp: 100 })).toEqual([]);
  });

  it('nothing in a daily rhythm, and the day it is missing', () => {
    const daily = (index: number): number => 50 + 40 * Math.sin((index * 2 * Math.PI) / 288) + noise(index);
    const usual = Array.from({ length: 288 * 12 }, (_, index) => daily(index));
    expect(reports(usual, { seasonsSeconds: SEASONS, warmUp: 600 }, 300_000)).toEqual([]);
    const broken = usual.map((value, index) => (index >= 288 * 10 && index < 288 * 10 + 144 ? 50 : value));
    const found = reports(broken, { seasonsSeconds: SEASONS, warmUp: 600 }, 300_000);
    expect(found.length).toBeGreaterThan(0);
    expect(found[0]?.timeMs).toBeGreaterThanOrEqual(288 * 10 * 300_000);
    expect(found[0]?.timeMs).toBeLessThan((288 * 10 + 100) * 300_000);
  });

  it('a spike, a jump that stays, a fall, and a standstill', () => {
    const at = (found: readonly Emission[]): number | undefined => (found[0] === undefined ? undefined : found[0].timeMs / 1000);
    expect(at(reports([...quiet, 40]))).toBe(200);
    expect(at(reports([...quiet, ...quiet.map((value) => value + 15)]))).toBe(200);
    expect(at(reports([...quiet, ...quiet.map((value) => value - 9)]))).toBe(200);
    const still = reports([...quiet, ...quiet, ...quiet, ...quiet, ...Array.from({ length: 400 }, () => 10.5)]);
    expect(at(still)).toBeGreaterThan(800);
    expect(reports([...Array.from({ length: 100 }, () => 0), 3])[0]?.data).toMatchObject({ value: 3, expected: 0, deviation: 3, series: 'host/a metric' });
  });

  it('at any cadence, with gaps and repeated times', () => {
    for (const stepMs of [200, 1000, 300_000, 3_600_000]) expect(reports([...quiet, 40], {}, stepMs)).toHaveLength(1);
    const layer = compileLayer('L2', [neuron('d', 'L2', ['metric'], { kind: 'detector', warmUp: 30 })]);
    const times = quiet.map((_, index) => (index % 10 === 0 ? index * 300_000 : Math.floor(index / 2) * 300_000 + (index > 100 ? 864_000_000 : 0)));
    expect(evaluate(layer, times.map((timeMs, index) => signal({ ref: String(index), timeMs, data: { value: quiet[index] } }))).emissions).toEqual([]);
  });

  it('not what began during warm-up', () => {
    const values = [...quiet.slice(0, 50), ...quiet.map((value) => value + 30)];
    expect(reports(values, { warmUp: 40 }).length).toBeGreaterThan(0);
    expect(reports(values, { warmUp: 60 })).toEqual([]);
  });

  it('by side, size, and no more often than asked', () => {
    const up = [...quiet, ...Array.from({ length: 30 }, () => 40)];
    expect(reports(up, { direction: 'down' })).toEqual([]);
    expect(reports(up, { direction: 'up' }).length).toBeGreaterThan(5);
    expect(reports(up, { minimumDeviation: 100 })).toEqual([]);
    const spaced = reports(up, { refractorySeconds: 10 }).map(({ timeMs }) => timeMs);
    expect(spaced.slice(1).every((timeMs, index) => timeMs - (spaced[index] ?? 0) >= 10_000)).toBe(true);
  });

  it('only what lasts, from one and the same', () => {
    const brief = [...quiet, 40, 40, 40, 10, 40, 40];
    expect(reports(brief, { sustainSeconds: 3, minimumDeviation: 5 })).toEqual([]);
    const long = [...quiet, 40, 40, 40, 40, 40, 40];
    const found = reports(long, { sustainSeconds: 3 });
    expect(found[0]).toMatchObject({ timeMs: 203_000, data: { since: new Date(200_000).toISOString() } });
    expect(reports(long, { sustainSeconds: 3, sustainedBy: 'string(signal.data.pid)' }, 1000, (index) => ({ pid: index }))).toEqual([]);
    expect(reports(long, { sustainSeconds: 3, sustainedBy: 'string(signal.data.pid)' }, 1000, (index) => ({ pid: index < 202 ? 1 : 2 }))[0]?.timeMs).toBe(205_000);
  });

  it('what is interrupted for a moment, where asked', () => {
    const limits = { baseline: false, above: 10, sustainSeconds: 4, sustainedBy: 'string(signal.data.pid)' };
    const values = [20, 20, 1, 20, 20, 20, 20];
    const pids = [1, 1, 1, 2, 1, 1, 1];
    const times = (gap: number): number[] => reports(values, { ...limits, sustainGapSeconds: gap }, 1000, (index) => ({ pid: pids[index] })).map(({ timeMs }) => timeMs / 1000);
    expect(times(0)).toEqual([]);
    expect(times(1)).toEqual([]);
    expect(times(2)).toEqual([4, 5, 6]);
    expect(reports([20, 20, 1, 1, 1, 20, 20, 20], { ...limits, sustainedBy: '"one"', sustainGapSeconds: 2 })).toEqual([]);
  });

  it('beyond fixed limits, also without a baseline and during warm-up', () => {
    expect(reports([1, 5, 11, 5], { baseline: false, above: 10 })).toMatchObject([{ timeMs: 2000, data: { value: 11 } }]);
    expect(reports([1, 5, 11, 5], { below: 2, warmUp: 1000 })).toMatchObject([{ timeMs: 0 }]);
    expect(reports([...quiet, 40], { baseline: false })).toEqual([]);
  });

  it('fails on what is no number, and leaves the series as it was', () => {
    const layer = compileLayer('L2', [neuron('d', 'L2', ['metric'], { kind: 'detector' })]);
    const output = evaluate(layer, [signal({ data: { value: 'x' } }), signal({ ref: 's2', data: {} })]);
    expect(output.failures.map(({ cause }) => cause)).toEqual(['neuron d: /behaviour/value: must answer a finite number, but answered a string', 'neuron d: /behaviour/value at 13: the signal has no field "value"']);
    expect(output.emissions).toEqual([]);
  });
});
