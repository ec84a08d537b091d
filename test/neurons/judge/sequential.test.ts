import { describe, expect, it } from 'vitest';
import { SEQUENTIAL_DEFAULTS, sequentialTest, type IntervalCounts } from '../../../neurons/judge/sequential.ts';

const counts = (control: readonly [number, number], experiment: readonly [number, number]): IntervalCounts => ({
  control: { events: control[0], exposure: control[1] },
  experiment: { events: experiment[0], exposure: experiment[1] },
});
const test = (intervals: readonly IntervalCounts[]) => sequentialTest(intervals, SEQUENTIAL_DEFAULTS);

describe('sequentialTest', () => {
  it('weighs each event by the share of the exposure', () => {
    // Equal exposure: an event of the new version counts log(4/3), one of the old version log(2/3).
    expect(test([counts([0, 10], [1, 10])]).logLikelihoodRatio).toBeCloseTo(Math.log(4 / 3), 12);
    expect(test([counts([1, 10], [0, 10])]).logLikelihoodRatio).toBeCloseTo(Math.log(2 / 3), 12);
    // A tenth of the traffic: half of the events there are far more than its share.
    expect(test([counts([0, 90], [1, 10])]).logLikelihoodRatio).toBeCloseTo(Math.log((2 * 0.1) / (2 * 0.1 + 0.9) / 0.1), 12);
  });

  it('keeps the first decision', () => {
    const bad = Array.from({ length: 20 }, () => counts([0, 10], [1, 10]));
    const good = Array.from({ length: 60 }, () => counts([1, 10], [0, 10]));
    expect(test([...bad, ...good]).decision).toBe('worse');
    expect(test([...good, ...bad]).decision).toBe('same');
  });

  it('calls a version without events fine only after enough exposure', () => {
    expect(test([counts([0, 1000], [0, 1000])])).toMatchObject({ decision: 'undecided' });
    expect(test([counts([0, 1000], [0, 5000])])).toMatchObject({ decision: 'same', rateBound: expect.closeTo(0.00092, 5) });
  });

  it('decides nothing without traffic', () => {
    expect(test([])).toMatchObject({ decision: 'undecided', logLikelihoodRatio: 0 });
    expect(test([counts([3, 100], [0, 0])])).toMatchObject({ decision: 'undecided', logLikelihoodRatio: 0 });
  });
});
