import { mean, sampleStandardDeviation } from 'simple-statistics';

/** What is done with samples that are no number: left out, or counted as 0 (for counters that say nothing while nothing happens). */
export type NanPolicy = 'remove' | 'replace';

/**
 * Which samples are set aside before judging. `keep`, the default: in a canary the unusual samples are the finding, and where most are equal
 * (errors: mostly none) every other one would be an outlier.
 */
export type OutlierPolicy = { readonly kind: 'keep' } | { readonly kind: 'iqr'; readonly factor: number } | { readonly kind: 'sigma'; readonly k: number };

/** Samples ready to be judged, and what was done to get there. */
export interface CleanSamples {
  readonly values: readonly number[];
  readonly notNumbers: number;
  readonly outliers: number;
}

/** Applies both policies. Infinite samples are no numbers: a rate divided by no traffic. */
export function cleanSamples(raw: readonly number[], nan: NanPolicy, outliers: OutlierPolicy): CleanSamples {
  const numbers = nan === 'remove' ? raw.filter(Number.isFinite) : raw.map((value) => (Number.isFinite(value) ? value : 0));
  const flags = outlierFlags(numbers, outliers);
  const values = numbers.filter((_, index) => flags[index] !== true);
  return { values, notNumbers: raw.filter((value) => !Number.isFinite(value)).length, outliers: numbers.length - values.length };
}

/** Says of each value whether it is an outlier by the policy. Values without spread have none. */
export function outlierFlags(values: readonly number[], policy: OutlierPolicy): boolean[] {
  switch (policy.kind) {
    case 'keep':
      return values.map(() => false);
    case 'iqr':
      return beyondFences(values, policy.factor);
    case 'sigma':
      return beyondDeviations(values, policy.k);
  }
}

/** Tukey's fences, "Exploratory Data Analysis" (1977): `factor` times the interquartile range beyond the quartiles. */
function beyondFences(values: readonly number[], factor: number): boolean[] {
  if (values.length < 2) return values.map(() => false);
  const sorted = values.toSorted((one, other) => one - other);
  const [first, third] = [quartile(sorted, 0.25), quartile(sorted, 0.75)];
  const reach = factor * (third - first);
  return values.map((value) => reach > 0 && (value < first - reach || value > third + reach));
}

/** Farther than `k` sample standard deviations from the mean. */
function beyondDeviations(values: readonly number[], k: number): boolean[] {
  if (values.length < 2) return values.map(() => false);
  const centre = mean([...values]);
  const reach = k * sampleStandardDeviation([...values]);
  return values.map((value) => Math.abs(value - centre) > reach);
}

/** Quantile at (n + 1) p, as NIST's handbook has it (type 6 of Hyndman and Fan, The American Statistician 50, 1996). */
function quartile(sorted: readonly number[], p: number): number {
  const position = Math.min(Math.max((sorted.length + 1) * p, 1), sorted.length);
  const below = sorted[Math.floor(position) - 1] ?? Number.NaN;
  const above = sorted[Math.min(Math.floor(position), sorted.length - 1)] ?? below;
  return below + (position - Math.floor(position)) * (above - below);
}

/** Mean of samples; NaN of none. */
export function meanOf(values: readonly number[]): number {
  return values.length === 0 ? Number.NaN : mean([...values]);
}
