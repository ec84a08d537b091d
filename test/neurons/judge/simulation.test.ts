import { describe, expect, it } from 'vitest';
import { classifyMetric, METRIC_DEFAULTS } from '../../../neurons/judge/classify.ts';
import { SEQUENTIAL_DEFAULTS, sequentialTest, type IntervalCounts } from '../../../neurons/judge/sequential.ts';
import { binomial, METRICS, seeded, THIN_METRICS, type SimulatedMetric } from './simulated-traffic.ts';

const PAIRS = 1000;
const SAMPLES = 30;
/** Highest share of wrong judgements of a thousand. */
const AT_MOST = 0.02 * PAIRS;

function samples(metric: SimulatedMetric, random: () => number, times: number): number[] {
  return Array.from({ length: SAMPLES }, () => metric(random, times));
}

/** Of a thousand comparisons with a version `times` as bad, those judged High. */
function foundHigher(metric: SimulatedMetric, times: number): number {
  const random = seeded(20_261_121);
  let found = 0;
  for (let pair = 0; pair < PAIRS; pair += 1) {
    const { classification } = classifyMetric(samples(metric, random, 1), samples(metric, random, times), METRIC_DEFAULTS);
    if (classification === 'High') found += 1;
  }
  return found;
}

describe('a thousand comparisons of thirty samples', () => {
  it.each(Object.entries({ ...METRICS, ...THIN_METRICS }))('roll back at most two in a hundred equal versions: %s', (_, metric) => {
    expect(foundHigher(metric, 1)).toBeLessThanOrEqual(AT_MOST);
  });

  it.each(Object.entries(METRICS))('miss at most two in a hundred versions twice as bad: %s', (_, metric) => {
    expect(PAIRS - foundHigher(metric, 2)).toBeLessThanOrEqual(AT_MOST);
  });
});

describe('a thousand sequential tests of thin traffic', () => {
  /** Ten to thirty requests an interval and version, 5 % of them failing. */
  const intervals = (random: () => number, times: number): IntervalCounts[] =>
    Array.from({ length: 200 }, () => {
      const exposures = [10 + Math.floor(20 * random()), 10 + Math.floor(20 * random())] as const;
      return {
        control: { exposure: exposures[0], events: binomial(random, exposures[0], 0.05) },
        experiment: { exposure: exposures[1], events: binomial(random, exposures[1], 0.05 * times) },
      };
    });
  const decisions = (times: number): Record<string, number> => {
    const random = seeded(8);
    const counts: Record<string, number> = { worse: 0, same: 0, undecided: 0 };
    for (let run = 0; run < PAIRS; run += 1) {
      const { decision } = sequentialTest(intervals(random, times), SEQUENTIAL_DEFAULTS);
      counts[decision] = (counts[decision] ?? 0) + 1;
    }
    return counts;
  };

  it('keep the probability of a false alarm, however often they look', () => {
    const { worse = 0, undecided = 0 } = decisions(1);
    expect(worse).toBeLessThanOrEqual(AT_MOST);
    expect(undecided).toBeLessThanOrEqual(AT_MOST);
  });

  it('miss at most 2 % of versions twice as bad', () => {
    expect(PAIRS - (decisions(2)['worse'] ?? 0)).toBeLessThanOrEqual(AT_MOST);
  });
});
