/** Fields, by position in one Float64Array. Times are event times in milliseconds, NaN for none. */
const UNUSUAL_SINCE = 0;
const LAST_UNUSUAL = 1;
const LAST_REPORT = 2;
const IDENTITY = 3;
const LENGTH = 4;

/** What a reading is: `early` is unusual, but by a baseline that is still warming up, so that what began then is not reported. */
export type Standing = 'usual' | 'early' | 'unusual';

/** How long a reading must have been unusual, and how often it may be said; seconds of event time. */
export interface ReportLimits {
  readonly sustainSeconds: number;
  readonly sustainGapSeconds: number;
  readonly refractorySeconds: number;
}

/** When a series became unusual and when it was last reported: decides whether an unusual reading is worth a report. 32 bytes. */
export class ReportMemory {
  static readonly BYTES = LENGTH * Float64Array.BYTES_PER_ELEMENT;
  readonly #fields: Float64Array;

  constructor(bytes: Uint8Array | undefined) {
    this.#fields = new Float64Array(LENGTH).fill(Number.NaN);
    if (bytes?.length === ReportMemory.BYTES) new Uint8Array(this.#fields.buffer).set(bytes);
  }

  /** Event time of the first of the unusual readings in a row, ms; infinite when they began during warm-up. */
  get unusualSinceMs(): number {
    return this.#fields[UNUSUAL_SINCE] ?? Number.NaN;
  }

  /**
   * Takes in how a reading stands.
   * @param identity what unusual readings in a row must agree in.
   * @returns whether it has lasted long enough and the last report is long enough ago.
   */
  isDue(timeMs: number, standing: Standing, identity: string, limits: ReportLimits): boolean {
    const fields = this.#fields;
    const number = identity === '' ? 0 : numberOf(identity);
    const goesOn = standing !== 'usual' && !Number.isNaN(this.unusualSinceMs) && fields[IDENTITY] === number;
    if (!goesOn) {
      const interruptedFor = timeMs - (fields[LAST_UNUSUAL] ?? Number.NaN);
      // A passing interruption: what was going on may go on.
      if (interruptedFor <= limits.sustainGapSeconds * 1000 && interruptedFor > 0) return false;
      fields[UNUSUAL_SINCE] = standing === 'usual' ? Number.NaN : standing === 'early' ? Number.POSITIVE_INFINITY : timeMs;
    } else if (standing === 'early') fields[UNUSUAL_SINCE] = Number.POSITIVE_INFINITY;
    if (standing === 'usual') {
      fields[LAST_UNUSUAL] = Number.NaN;
      return false;
    }
    fields[IDENTITY] = number;
    fields[LAST_UNUSUAL] = timeMs;
    if (standing === 'early' || timeMs - this.unusualSinceMs < limits.sustainSeconds * 1000) return false;
    const lastReport = fields[LAST_REPORT] ?? Number.NaN;
    return Number.isNaN(lastReport) || timeMs - lastReport >= limits.refractorySeconds * 1000;
  }

  reported(timeMs: number): void {
    this.#fields[LAST_REPORT] = timeMs;
  }

  bytes(): Uint8Array {
    return new Uint8Array(this.#fields.slice().buffer);
  }
}

/** FNV-1a over UTF-16 code units, 32 bit (http://www.isthe.com/chongo/tech/comp/fnv/): enough to tell a handful of identities apart. */
function numberOf(text: string): number {
  let hash = 0x81_1c_9d_c5;
  for (let index = 0; index < text.length; index += 1) hash = Math.imul(hash ^ text.charCodeAt(index), 0x01_00_01_93) >>> 0;
  return hash;
}
