/** Fields of a season within the series' state, before its bins. */
const BIN = 0;
const SUM = 1;
const READINGS = 2;
const SMOOTH = 3;

/** Residuals of a season are smoothed over so many readings, one view each. */
export const SEASON_SCALES: readonly number[] = [6, 24];
const HEADER = SMOOTH + SEASON_SCALES.length;

const HOUR_MS = 3_600_000;
const FEWEST_BINS = 24;
const MOST_BINS = 168;
/** How fast a bin follows a drifting season, per visit. */
const RATE = 0.1;
/** Visits of a bin before its mean is a baseline, for seasons of a day at most and for longer ones. */
const VISITS_SHORT = 4;
const VISITS_LONG = 3;
const DAY_MS = 24 * HOUR_MS;

/** Where one season keeps its fields: the mean of each bin, its visits, and the bin under way. */
export interface SeasonPlace {
  readonly at: number;
  readonly periodMs: number;
  readonly bins: number;
  readonly visits: number;
}

/** Bins of an hour, as far as the bounds allow. */
export function seasonPlace(at: number, periodSeconds: number): SeasonPlace {
  const periodMs = periodSeconds * 1000;
  const bins = Math.min(MOST_BINS, Math.max(FEWEST_BINS, Math.round(periodMs / HOUR_MS)));
  return { at, periodMs, bins, visits: periodMs > DAY_MS ? VISITS_LONG : VISITS_SHORT };
}

export function seasonLength({ bins }: SeasonPlace): number {
  return HEADER + 2 * bins;
}

export function initialiseSeason(state: Float64Array, { at }: SeasonPlace): void {
  state[at + BIN] = -1;
}

/**
 * Takes a reading in.
 * @returns the baseline for it, from earlier seasons alone; NaN while the bin has too few visits.
 */
export function seasonalBaseline(state: Float64Array, place: SeasonPlace, timeMs: number, value: number): number {
  const { at, periodMs, bins } = place;
  const means = at + HEADER;
  const visits = means + bins;
  const phase = (timeMs % periodMs) / periodMs;
  const bin = Math.min(bins - 1, Math.floor((phase < 0 ? phase + 1 : phase) * bins));
  const before = state[at + BIN] ?? -1;
  if (bin !== before) {
    if (before >= 0) {
      const seen = (state[visits + before] ?? 0) + 1;
      const mean = state[means + before] ?? 0;
      state[visits + before] = seen;
      state[means + before] = mean + Math.max(RATE, 1 / seen) * ((state[at + SUM] ?? 0) / (state[at + READINGS] ?? 1) - mean);
    }
    state[at + BIN] = bin;
    state[at + SUM] = 0;
    state[at + READINGS] = 0;
  }
  state[at + SUM] = (state[at + SUM] ?? 0) + value;
  state[at + READINGS] = (state[at + READINGS] ?? 0) + 1;
  return (state[visits + bin] ?? 0) >= place.visits ? state[means + bin] ?? 0 : Number.NaN;
}

/** Smooths the residual over `SEASON_SCALES[index]` readings. */
export function smoothResidual(state: Float64Array, { at }: SeasonPlace, index: number, residual: number): number {
  const field = at + SMOOTH + index;
  const smooth = state[field] ?? 0;
  const next = smooth + (residual - smooth) / (SEASON_SCALES[index] ?? 1);
  state[field] = next;
  return next;
}
