import type { DetectorBehaviour } from '../../schemas/neurons/definition.ts';

/** Fields of the state, by position in one Float64Array. */
const FORMAT = 0;
const COUNT = 1;
const LAST_MS = 2;
const LEVEL = 3;
const SPREAD = 4;
const LENGTH = 5;

const FORMAT_NUMBER = 1;
const SPREAD_RATE = 0.01;
const LEVEL_RATE = 0.1;

/** The bounded state of one series. */
export class SeriesModel {
  readonly #state: Float64Array;
  /** What the last reading should have been, in units of the value. */
  expected = 0;

  constructor(bytes: Uint8Array | undefined, _behaviour: Pick<DetectorBehaviour, 'seasonsSeconds' | 'warmUp'>) {
    const state = new Float64Array(LENGTH);
    if (bytes !== undefined && bytes.length === state.byteLength) new Uint8Array(state.buffer).set(bytes);
    this.#state = state[FORMAT] === FORMAT_NUMBER ? state : new Float64Array(LENGTH);
    this.#state[FORMAT] = FORMAT_NUMBER;
  }

  get count(): number {
    return this.#state[COUNT] ?? 0;
  }

  bytes(): Uint8Array {
    return new Uint8Array(this.#state.buffer.slice(0));
  }

  /** Takes a reading in. @returns how unlikely it is, in [0, 1]. */
  update(timeMs: number, value: number): number {
    const state = this.#state;
    const count = state[COUNT] ?? 0;
    const level = count === 0 ? value : state[LEVEL] ?? 0;
    const spread = state[SPREAD] ?? 0;
    const deviation = Math.abs(value - level);
    const z = deviation === 0 ? 0 : deviation / (spread + 1e-9);
    this.expected = level;
    state[LEVEL] = level + LEVEL_RATE * (value - level);
    state[SPREAD] = spread + Math.max(SPREAD_RATE, 1 / (count + 1)) * (deviation - spread);
    state[COUNT] = count + 1;
    state[LAST_MS] = timeMs;
    return 1 - Math.exp(-z);
  }
}
