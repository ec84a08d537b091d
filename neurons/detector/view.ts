import { initialiseTail, learnTail, lowestRecord, rarity, TAIL_LENGTH } from './tail.ts';

/** Fields of a view within the series' state. */
const COUNT = 0;
const CENTRE = 1;
const SPREAD = 2;
const UPPER = 3;
const LOWER = UPPER + TAIL_LENGTH;
export const VIEW_LENGTH = LOWER + TAIL_LENGTH;

/** Readings over which centre and spread forget, at most; younger views weigh all their readings alike. */
const MEMORY = 5000;
/** Mean absolute deviation to standard deviation, for Gaussian noise: sqrt(pi / 2). */
const TO_SIGMA = Math.sqrt(Math.PI / 2);
/** Outliers move centre and spread as if they lay at this multiple of the lowest record. */
const WINSOR = 1.5;
/** Deviations beyond so many standard deviations are as good as infinite. */
const FAR = 1e9;

/** Where one view keeps its fields, and how it reads its feature. */
export interface ViewPlace {
  readonly at: number;
  /** Readings that end a cluster of peaks. */
  readonly gap: number;
  /** Readings before it judges. */
  readonly warmUp: number;
  /** Whether the feature is a difference whose centre is zero by construction. */
  readonly centred: boolean;
}

export function initialiseView(state: Float64Array, { at }: ViewPlace): void {
  initialiseTail(state, at + UPPER);
  initialiseTail(state, at + LOWER);
}

/** The long-run centre of the feature. */
export function centreOf(state: Float64Array, { at }: ViewPlace): number {
  return state[at + CENTRE] ?? 0;
}

/**
 * Judges a feature against its own past, then takes it in.
 * @param floor smallest spread worth speaking of, in units of the feature.
 * @returns its rarity: minus the decimal logarithm of how often per reading such a peak is to be expected, 0 for ordinary.
 */
export function judge(state: Float64Array, place: ViewPlace, feature: number, floor: number): number {
  const { at } = place;
  const count = (state[at + COUNT] ?? 0) + 1;
  state[at + COUNT] = count;
  if (count === 1 && !place.centred) state[at + CENTRE] = feature;
  const centre = state[at + CENTRE] ?? 0;
  const spread = state[at + SPREAD] ?? 0;
  let deviation = feature - centre;
  let rare = 0;
  if (count > place.warmUp) {
    const sigma = spread * TO_SIGMA + floor;
    const z = Math.max(-FAR, Math.min(FAR, deviation / sigma));
    const side = at + (z > 0 ? UPPER : LOWER);
    rare = rarity(state, side, Math.abs(z), count);
    const limit = lowestRecord(state, side) * WINSOR * sigma;
    learnTail(state, at + UPPER, z, place.gap);
    learnTail(state, at + LOWER, -z, place.gap);
    deviation = Math.max(-limit, Math.min(limit, deviation));
  }
  const rate = Math.max(1 / MEMORY, 1 / count);
  if (!place.centred) state[at + CENTRE] = centre + rate * deviation;
  state[at + SPREAD] = spread + rate * (Math.abs(deviation) - spread);
  return rare;
}
