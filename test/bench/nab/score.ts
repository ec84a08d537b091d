/** Weights of one application profile of the benchmark. */
export interface NabProfile {
  readonly tpWeight: number;
  readonly fpWeight: number;
  readonly fnWeight: number;
}

/** One series as the scorer sees it. Rows count from 0; windows are inclusive. */
export interface ScoredSeries {
  readonly rows: number;
  readonly windows: readonly { readonly first: number; readonly last: number }[];
  /** Rows at which something was detected. */
  readonly detections: readonly number[];
}

/** Rows at the start that are never scored. */
export function probation(rows: number): number {
  return Math.min(Math.floor(0.15 * rows), 750);
}

/** The benchmark's scaled sigmoid: what a detection at relative position y is worth, before weights. */
function sigmoid(y: number): number {
  return y > 3 ? -1 : 2 / (1 + Math.exp(5 * y)) - 1;
}

/**
 * Normalised score of the Numenta Anomaly Benchmark: 100 is perfect, 0 is silence. Formula: A. Lavin and S. Ahmad, "Evaluating Real-time Anomaly
 * Detection Algorithms: the Numenta Anomaly Benchmark" (2015), with the constants of its reference scorer.
 */
export function nabScore(series: readonly ScoredSeries[], { tpWeight, fpWeight, fnWeight }: NabProfile): number {
  let sum = 0;
  let windowCount = 0;
  for (const { rows, windows, detections } of series) {
    const from = probation(rows);
    const scorable = windows.filter(({ last }) => last >= from);
    const scored = detections.filter((row) => row >= from);
    windowCount += scorable.length;
    for (const { first, last } of scorable) {
      const within = scored.filter((row) => row >= first && row <= last);
      const length = last - first + 1;
      sum += within.length === 0 ? -fnWeight : Math.max(...within.map((row) => (sigmoid(-(last - row + 1) / length) / sigmoid(-1)) * tpWeight));
    }
    for (const row of scored) {
      if (scorable.some(({ first, last }) => row >= first && row <= last)) continue;
      const before = scorable.filter(({ last }) => last < row).at(-1);
      sum += before === undefined ? -fpWeight : sigmoid((row - before.last) / (before.last - before.first)) * fpWeight;
    }
  }
  const silent = -fnWeight * windowCount;
  return (100 * (sum - silent)) / (tpWeight * windowCount - silent);
}
