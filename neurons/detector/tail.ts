/**
 * One side of the distribution of a standardised feature: its highest cluster peaks so far. A value beyond them is judged by the Hill estimator
 * over the upper order statistics (B. M. Hill, "A simple general approach to inference about the tail of a distribution", 1975), one
 * that some earlier peak reached by how many did. Peaks, not readings, are kept, so one long event counts once.
 *
 * Lives in a slice of the series' state: {@link RECORDS} peaks in ascending order, then the peak, quiet readings and length of the open cluster.
 */
const RECORDS = 6;
const PEAK = RECORDS;
const QUIET = RECORDS + 1;
const OPEN_FOR = RECORDS + 2;
export const TAIL_LENGTH = RECORDS + 3;

/** Peaks assumed before any was seen, in standard deviations: about what Gaussian noise shows in a few thousand readings. */
const ASSUMED_LOWEST = 2.75;
const ASSUMED_HIGHEST = 4.75;
/** Tail index assumed beforehand, and the number of peaks this assumption weighs. */
const ASSUMED_INDEX = 0.3;
const ASSUMED_WEIGHT = 4;
const LEAST_INDEX = 0.08;
/** An earlier peak this much smaller still counts as reaching as far. */
const SAME_PEAK = 1.15;
/** A cluster stays open while values come back above this part of the lowest record. */
const CLUSTER_LEVEL = 0.7;
/** Readings after which what lasts is no longer an event but the new normal. */
const LONGEST_CLUSTER = 600;

export function initialiseTail(state: Float64Array, at: number): void {
  for (let index = 0; index < RECORDS; index += 1) state[at + index] = ASSUMED_LOWEST + ((ASSUMED_HIGHEST - ASSUMED_LOWEST) * index) / (RECORDS - 1);
}

/** The lowest record: values below it are ordinary. */
export function lowestRecord(state: Float64Array, at: number): number {
  return state[at] ?? 0;
}

/** How rare a peak of this height is: minus the decimal logarithm of its expected number per reading, at least 0. */
export function rarity(state: Float64Array, at: number, z: number, readings: number): number {
  const lowest = lowestRecord(state, at);
  if (!(z > lowest)) return 0;
  let logs = 0;
  let reached = 0;
  for (let index = 0; index < RECORDS; index += 1) {
    const record = state[at + index] ?? 0;
    logs += Math.log(record / lowest);
    if (record * SAME_PEAK >= z) reached += 1;
  }
  const tailIndex = Math.max(LEAST_INDEX, (logs + ASSUMED_INDEX * ASSUMED_WEIGHT) / (RECORDS - 1 + ASSUMED_WEIGHT));
  const extrapolated = Math.log10(readings / RECORDS) + (Math.log(z / lowest) / tailIndex) * Math.LOG10E;
  const counted = reached === 0 ? extrapolated : Math.min(extrapolated, Math.log10(readings / reached));
  return Math.max(0, counted);
}

/**
 * Takes a value in.
 * @param gap readings below the cluster's level that end it.
 */
export function learnTail(state: Float64Array, at: number, z: number, gap: number): void {
  const lowest = lowestRecord(state, at);
  const peak = state[at + PEAK] ?? 0;
  if (z > lowest * CLUSTER_LEVEL) {
    if (z > peak) state[at + PEAK] = z;
    state[at + QUIET] = 0;
    const openFor = (state[at + OPEN_FOR] ?? 0) + 1;
    state[at + OPEN_FOR] = openFor;
    if (openFor < LONGEST_CLUSTER) return;
  } else {
    if (peak === 0) return;
    const quiet = (state[at + QUIET] ?? 0) + 1;
    state[at + QUIET] = quiet;
    if (quiet < gap) {
      state[at + OPEN_FOR] = (state[at + OPEN_FOR] ?? 0) + 1;
      return;
    }
  }
  keepPeak(state, at, state[at + PEAK] ?? 0);
  state[at + PEAK] = 0;
  state[at + QUIET] = 0;
  state[at + OPEN_FOR] = 0;
}

/** Puts a peak into its place and lets the lowest go. */
function keepPeak(state: Float64Array, at: number, peak: number): void {
  if (peak <= lowestRecord(state, at)) return;
  let index = 0;
  while (index + 1 < RECORDS && (state[at + index + 1] ?? 0) < peak) {
    state[at + index] = state[at + index + 1] ?? 0;
    index += 1;
  }
  state[at + index] = peak;
}
