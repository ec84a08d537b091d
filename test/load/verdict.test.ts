import { describe, expect, it } from 'vitest';
import { bottleneckOf } from './bottleneck.ts';
import type { Observation } from './machine.ts';
import { isQuiet, isWithinTarget, judge, type Baseline, type Figures } from './verdict.ts';

const machine = { processors: 2, model: 'A', memoryGiB: 24 };
const figures = (changes: Partial<Figures> = {}): Figures => ({ kneePerSecond: 400, readP50Ms: 5, readP95Ms: 20, apiCpuMsPerRequest: 1, ...changes });
const quiet = { machine, users: 1000, foreign: 0.02 };

describe('the verdict of a load run', () => {
  const other: Baseline = { machine: { ...machine, model: 'B' }, users: 1000, runs: [figures({ kneePerSecond: 4000 })] };
  const steady: Baseline = { machine, users: 1000, runs: [398, 400, 402, 401, 399].map((kneePerSecond) => figures({ kneePerSecond })) };

  it('takes small changes for noise, however alike the earlier runs were', () => {
    expect(judge(figures({ kneePerSecond: 320, readP95Ms: 24 }), [other, steady], quiet)).toEqual({ verdict: 'as before', because: [] });
  });

  it('names what became worse, in either direction of better', () => {
    expect(judge(figures({ kneePerSecond: 280 }), [other, steady], quiet)).toEqual({ verdict: 'regressed', because: ['kneePerSecond 280.00 against 400.00: 30 % worse, 25 % are noise'] });
    expect(judge(figures({ readP95Ms: 40, kneePerSecond: 900 }), [steady], quiet)).toMatchObject({ verdict: 'regressed', because: [expect.stringContaining('readP95Ms')] });
    expect(judge(figures({ apiCpuMsPerRequest: 0.5 }), [steady], quiet)).toMatchObject({ verdict: 'faster' });
  });

  it('allows more where the earlier runs differed more', () => {
    const noisy: Baseline = { ...steady, runs: [5, 8, 6, 9, 4].map((readP50Ms) => figures({ readP50Ms })) };
    expect(judge(figures({ readP50Ms: 10 }), [noisy], quiet).verdict).toBe('as before');
    expect(judge(figures({ readP50Ms: 20 }), [noisy], quiet).verdict).toBe('regressed');
  });

  it('holds reads at half the knee to what was promised, and keeps disturbed runs out of the baseline', () => {
    expect([figures(), figures({ readP50Ms: 10 }), figures({ readP95Ms: 100 }), figures({ readP50Ms: Number.NaN })].map(isWithinTarget)).toEqual([true, false, false, false]);
    expect([0, 0.15, 0.4].map(isQuiet)).toEqual([true, true, false]);
  });

  it('judges nothing that cannot be compared', () => {
    const worse = figures({ kneePerSecond: 1 });
    const cases: [Baseline[], typeof quiet][] = [[[], quiet], [[{ ...steady, runs: [] }], quiet], [[steady], { ...quiet, machine: { ...machine, model: 'B' } }], [[steady], { ...quiet, machine: { ...machine, processors: 4 } }], [[steady, other], { ...quiet, users: 10 }], [[steady], { ...quiet, foreign: 0.4 }]];
    for (const [baselines, run] of cases) {
      expect(judge(worse, baselines, run)).toMatchObject({ verdict: 'not judged', because: [expect.any(String)] });
    }
  });
});

describe('the bottleneck', () => {
  const calm: Observation = { seconds: 20, processors: { api: 0.3, temporal: 0.4, generator: 0.1 }, busy: 0.5, foreign: 0.05, eventLoopLagMs: 12, poolWaiting: 0, postgresMs: 1, temporalMs: 3 };

  it.each<[string, Partial<Observation>, RegExp]>([
    ['the generator itself', { processors: { generator: 0.97, api: 0.5 }, busy: 0.99 }, /^the load generator/],
    ['other work', { foreign: 0.5, busy: 0.99 }, /^other work on this machine takes 50 %/],
    ['one thread', { processors: { api: 0.98 }, eventLoopLagMs: 140 }, /^the event loop of the API \(api 0\.98 processors; lag p99 140 ms\)/],
    ['the processors', { busy: 0.97, processors: { temporal: 0.9, postgres: 0.5, api: 0.4 } }, /^the processors, 97 % busy, most of it temporal 0\.90, postgres 0\.50/],
    ['the pool', { poolWaiting: 14 }, /DATABASE_POOL/],
    ['PostgreSQL', { postgresMs: 300 }, /^PostgreSQL, which takes 300 ms/],
    ['Temporal', { temporalMs: 800 }, /^Temporal, which takes 800 ms/],
    ['nothing known', {}, /^none of those looked at/],
  ])('is %s', (_name, seen, words) => {
    expect(bottleneckOf({ ...calm, ...seen })).toMatch(words);
  });
});
