import { normalQuantile, normalUpperTail } from './normal.ts';
import { brentRoot } from './brent-root.ts';

/** How far an interval's ends are found, in units of the samples: that of the reference implementation (R's `wilcox.test`). */
const TOLERANCE = 1e-4;

/** A shift of the experiment against the control, in units of the samples. */
export interface ShiftInterval {
  readonly low: number;
  readonly high: number;
  /** Hodges-Lehmann estimate: the median of all differences between an experiment and a control sample. */
  readonly estimate: number;
}

/** What the comparison of all pairs says. */
export interface RankComparison {
  /** Mann-Whitney's U of the experiment: pairs in which its sample is the larger one, ties counting half. */
  readonly u: number;
  /** Probability that an experiment sample exceeds a control sample, ties counting half ("common language effect size"): u / pairs. */
  readonly superiority: number;
  /** Cliff's delta, -1 to 1: 2 * superiority - 1. */
  readonly delta: number;
  /** One-sided p values, normal approximation with ties and continuity corrected: of no more, and of no less than the control. */
  readonly pHigher: number;
  readonly pLower: number;
}

/**
 * Mann-Whitney U test (Mann and Whitney, "On a Test of Whether one of Two Random Variables is Stochastically Larger than the Other", Annals of
 * Mathematical Statistics 18, 1947); delta: Cliff, "Dominance statistics", Psychological Bulletin 114 (1993); superiority: Vargha and Delaney (2000).
 * Both sides need a sample.
 */
export function compareRanks(control: readonly number[], experiment: readonly number[]): RankComparison {
  const { sum, ties } = rankSum(experiment, control);
  const pairs = control.length * experiment.length;
  const u = sum - (experiment.length * (experiment.length + 1)) / 2;
  const deviation = rankDeviation(experiment.length, control.length, ties);
  const tail = (above: number): number => (deviation === 0 ? 1 : normalUpperTail((above - 0.5) / deviation));
  return { u, superiority: u / pairs, delta: (2 * u) / pairs - 1, pHigher: tail(u - pairs / 2), pLower: tail(pairs / 2 - u) };
}

/**
 * Standardised rank sum of x moved down by `mu` against y, continuity corrected towards zero, less a normal quantile. Its zero in mu is an
 * end of the confidence interval of the shift (Bauer, "Constructing Confidence Sets Using Rank Statistics", JASA 67, 1972).
 * @returns NaN when all samples are tied, where no interval exists.
 */
export function wilcoxonDifference(x: readonly number[], y: readonly number[], mu: number, quantile: number, corrected = true): number {
  const { sum, ties } = rankSum(x.map((value) => value - mu), y);
  const off = sum - (x.length * (x.length + 1)) / 2 - (x.length * y.length) / 2;
  const deviation = rankDeviation(x.length, y.length, ties);
  return deviation === 0 ? Number.NaN : (off - (corrected ? Math.sign(off) * 0.5 : 0)) / deviation - quantile;
}

/**
 * Confidence interval of the shift of the experiment against the control, asymptotic and corrected for ties, as R's `wilcox.test(conf.int = TRUE,
 * exact = FALSE)` finds it. Its estimate keeps the continuity correction, as the Kayenta judge does.
 * @param confidence 0 to 1, two-sided.
 */
export function shiftInterval(control: readonly number[], experiment: readonly number[], confidence: number): ShiftInterval {
  const search = shiftBounds(control, experiment);
  // Two constants: every shift but one separates them entirely.
  if (search.low === search.high) return { ...search, estimate: search.low };
  const quantile = normalQuantile((1 - confidence) / 2);
  const rootAt = (level: number): number => shiftRoot(control, experiment, level, search);
  return { low: rootAt(-quantile), high: rootAt(quantile), estimate: rootAt(0) };
}

/** Largest interval a shift can lie in: beyond it the sides do not overlap any more. */
export function shiftBounds(control: readonly number[], experiment: readonly number[]): { low: number; high: number } {
  const [lowControl, highControl] = range(control);
  const [lowExperiment, highExperiment] = range(experiment);
  return { low: lowExperiment - highControl, high: highExperiment - lowControl };
}

/** The shift at which {@link wilcoxonDifference} passes a level; the nearer bound where it does not. */
export function shiftRoot(control: readonly number[], experiment: readonly number[], quantile: number, { low, high }: { low: number; high: number }): number {
  const at = (mu: number): number => wilcoxonDifference(experiment, control, mu, quantile);
  if (at(low) <= 0) return low;
  if (at(high) >= 0) return high;
  return brentRoot(at, low, high, TOLERANCE);
}

/** Sum of the ranks of the first side among both, ties sharing their mean rank; and the sum over ties of t^3 - t. */
function rankSum(first: readonly number[], second: readonly number[]): { sum: number; ties: number } {
  const size = first.length + second.length;
  const values = new Float64Array(size);
  values.set(first);
  values.set(second, first.length);
  const sorted = Float64Array.from(values).sort();
  const rankOf = new Map<number, number>();
  let ties = 0;
  for (let start = 0; start < size; ) {
    const value = sorted[start] ?? Number.NaN;
    let end = start + 1;
    while (end < size && sorted[end] === value) end += 1;
    const many = end - start;
    rankOf.set(value, (start + 1 + end) / 2);
    ties += many ** 3 - many;
    start = end;
  }
  return { sum: first.reduce((sum, value) => sum + (rankOf.get(value) ?? Number.NaN), 0), ties };
}

/** Standard deviation of a rank sum when both sides are of one distribution, corrected for ties. */
function rankDeviation(first: number, second: number, ties: number): number {
  const size = first + second;
  return Math.sqrt(((first * second) / 12) * (size + 1 - ties / (size * (size - 1))));
}

function range(values: readonly number[]): [number, number] {
  return values.reduce<[number, number]>(([low, high], value) => [Math.min(low, value), Math.max(high, value)], [Infinity, -Infinity]);
}
