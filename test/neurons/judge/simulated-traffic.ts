/** Random numbers of a seed: Mulberry32 (Tommy Ettinger), uniform in [0, 1). */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Standard normal values: Box and Muller. */
export function normal(random: () => number): number {
  return Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
}

/** Number of successes among independent trials, counted from gap to gap: the gaps are geometric. */
export function binomial(random: () => number, trials: number, probability: number): number {
  const logOfFailure = Math.log1p(-probability);
  let successes = -1;
  for (let trial = 0; trial <= trials; successes += 1) trial += 1 + Math.floor(Math.log(1 - random()) / logOfFailure);
  return successes;
}

/** A metric as traffic makes it: one sample per interval, at `times` its usual level. */
export type SimulatedMetric = (random: () => number, times: number) => number;

/** What rollouts are judged by, each with its own kind of noise. */
export const METRICS: Readonly<Record<string, SimulatedMetric>> = {
  'errors among a thousand requests, 1 %': (random, times) => binomial(random, 1000, 0.01 * times) / 1000,
  'errors among two thousand requests, 0.5 %, in bad and good intervals': (random, times) => binomial(random, 2000, Math.min(1, 0.005 * times * Math.exp(0.3 * normal(random)))) / 2000,
  'errors with outages of the caller: one interval in twenty is eight times as bad': (random, times) => binomial(random, 1000, Math.min(1, 0.01 * times * (random() < 0.05 ? 8 : 1))) / 1000,
  'latency, log-normal around 120 ms': (random, times) => 120 * times * Math.exp(0.35 * normal(random)),
};

/** Metrics with too little in a sample for a doubling to show within thirty; a judge must still not cry wolf. */
export const THIN_METRICS: Readonly<Record<string, SimulatedMetric>> = {
  'errors among ten requests, 1 %': (random, times) => binomial(random, 10, 0.01 * times) / 10,
  'errors among fifty requests, 0.1 %': (random, times) => binomial(random, 50, 0.001 * times) / 50,
  'latency with a heavy tail (Pareto, 1.2)': (random, times) => times * 10 * (1 - random()) ** (-1 / 1.2),
};
