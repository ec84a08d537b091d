import { initialiseSeason, SEASON_SCALES, seasonalBaseline, seasonLength, type SeasonPlace, seasonPlace, smoothResidual } from './season.ts';
import { centreOf, initialiseView, judge, VIEW_LENGTH, type ViewPlace } from './view.ts';

/** Fields before the views. */
const FORMAT = 0;
const COUNT = 1;
const MAGNITUDE = 2;
const LOCAL_LEVEL = 3;
const PREVIOUS = 4;
const HEADER = 5;

/** Another number means another layout or other parameters: such a state starts anew. */
const FORMAT_NUMBER = 2;
/** Smoothing of the level that a jump is measured against. */
const LOCAL_RATE = 0.1;
/** Readings over which the level is smoothed, one view each: from a spike to a slow drift. */
const LEVEL_SCALES: readonly number[] = [1, 4, 16, 64, 256];
/** Readings over which step sizes are smoothed, one view each: restlessness and standstill. */
const ACTIVITY_SCALES: readonly number[] = [24, 96];
/** Spread below this part of the usual magnitude is no spread. */
const FLOOR = 1e-3;
const MAGNITUDE_MEMORY = 2000;
/** Spread of the logarithm of the activity that is no spread. */
const ACTIVITY_FLOOR = 0.02;
const WARM_UP = 20;
/** What the other views add to the rarest. */
const AGREEMENT = 0.2;
/** Rarity with agreement, divided by this, is about the decimal logarithm of the odds that the series is as ever. */
const AGREEMENT_SCALE = 1.3;

interface Layout {
  readonly length: number;
  readonly jump: ViewPlace;
  readonly levels: readonly ViewPlace[];
  readonly activities: readonly ViewPlace[];
  readonly seasons: readonly { readonly place: SeasonPlace; readonly views: readonly ViewPlace[] }[];
  readonly views: readonly ViewPlace[];
}

/** Where everything lies in the state; depends on the seasons alone. */
function layoutOf(seasonsSeconds: readonly number[]): Layout {
  let next = HEADER + LEVEL_SCALES.length + ACTIVITY_SCALES.length;
  const views: ViewPlace[] = [];
  const view = (scale: number, centred: boolean): ViewPlace => {
    const place = { at: next, gap: Math.max(6, 2 * scale), warmUp: Math.max(WARM_UP, scale), centred };
    next += VIEW_LENGTH;
    views.push(place);
    return place;
  };
  const jump = view(1, true);
  const levels = LEVEL_SCALES.map((scale) => view(scale, false));
  const activities = ACTIVITY_SCALES.map((scale) => view(scale, false));
  const seasons = seasonsSeconds.map((seconds) => {
    const place = seasonPlace(next, seconds);
    next += seasonLength(place);
    return { place, views: SEASON_SCALES.map((scale) => view(scale, true)) };
  });
  return { length: next, jump, levels, activities, seasons, views };
}

/**
 * The bounded state of one series: 1.5 KB, with the seasons of a day and a week 5.5 KB. It looks at the series in several ways at once:
 * jumps, levels and restlessness at several scales, residuals of learned seasons. Each way is standardised robustly and judged against its own
 * highest peaks ({@link judge}); agreement between the ways adds to the rarest. Scales count readings, so any cadence will do; seasons go by
 * event time, so gaps and repeated times do no harm. Deterministic: the same state and reading give the same bits.
 */
export class SeriesModel {
  readonly #layout: Layout;
  readonly #state: Float64Array;
  /** What the last reading should have been: its season's mean once learned, otherwise the long-run centre. In units of the value. */
  expected = 0;

  constructor(bytes: Uint8Array | undefined, options: { readonly seasonsSeconds: readonly number[] }) {
    this.#layout = layoutOf(options.seasonsSeconds);
    this.#state = restore(bytes, this.#layout);
  }

  /** Readings taken in. */
  get count(): number {
    return this.#state[COUNT] ?? 0;
  }

  /** The state as little-endian IEEE 754 doubles. */
  bytes(): Uint8Array {
    return new Uint8Array(this.#state.slice().buffer);
  }

  /**
   * Takes a reading in.
   * @param timeMs event time, ms; need not rise.
   * @param value finite.
   * @returns how unlikely it is that the series still behaves as ever, in [0, 1].
   */
  update(timeMs: number, value: number): number {
    const state = this.#state;
    const { jump, levels, activities, seasons } = this.#layout;
    const count = (state[COUNT] ?? 0) + 1;
    state[COUNT] = count;
    if (count === 1) {
      state[LOCAL_LEVEL] = value;
      state[PREVIOUS] = value;
    }
    const magnitude = towards(state, MAGNITUDE, Math.abs(value), Math.max(1 / MAGNITUDE_MEMORY, 1 / count));
    const floor = FLOOR * magnitude + Number.EPSILON;

    const [first] = levels;
    this.expected = first === undefined || count === 1 ? value : centreOf(state, first);
    const local = state[LOCAL_LEVEL] ?? 0;
    let rarest = judge(state, jump, value - local, floor);
    let all = rarest;
    const weigh = (rare: number): void => {
      all += rare;
      if (rare > rarest) rarest = rare;
    };
    state[LOCAL_LEVEL] = local + LOCAL_RATE * (value - local);

    let field = HEADER;
    for (const [index, place] of levels.entries()) {
      const level = towards(state, field, value, Math.max(1 / (LEVEL_SCALES[index] ?? 1), 1 / count));
      field += 1;
      weigh(judge(state, place, level, floor));
    }

    const step = Math.abs(value - (state[PREVIOUS] ?? 0));
    state[PREVIOUS] = value;
    for (const [index, place] of activities.entries()) {
      const scale = ACTIVITY_SCALES[index] ?? 1;
      const activity = towards(state, field, step, Math.max(1 / scale, 1 / count));
      field += 1;
      if (count >= scale) weigh(judge(state, place, Math.log(activity + floor), ACTIVITY_FLOOR));
    }

    for (const { place, views } of seasons) {
      const baseline = seasonalBaseline(state, place, timeMs, value);
      if (Number.isNaN(baseline)) continue;
      this.expected = baseline;
      for (const [index, view] of views.entries()) weigh(judge(state, view, smoothResidual(state, place, index, value - baseline), floor));
    }
    return 1 - 10 ** (-(rarest + AGREEMENT * (all - rarest)) / AGREEMENT_SCALE);
  }
}

/** Moves a field of the state part of the way to a value, and answers it. */
function towards(state: Float64Array, field: number, value: number, rate: number): number {
  const before = state[field] ?? 0;
  const after = before + rate * (value - before);
  state[field] = after;
  return after;
}

function restore(bytes: Uint8Array | undefined, layout: Layout): Float64Array {
  const state = new Float64Array(layout.length);
  if (bytes?.length === state.byteLength) {
    new Uint8Array(state.buffer).set(bytes);
    if (state[FORMAT] === FORMAT_NUMBER) return state;
    state.fill(0);
  }
  state[FORMAT] = FORMAT_NUMBER;
  for (const view of layout.views) initialiseView(state, view);
  for (const { place } of layout.seasons) initialiseSeason(state, place);
  return state;
}
