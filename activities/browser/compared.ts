import type { BrowserComparison } from '../../database/browser-sessions.ts';
import { BrowserError } from './browser-error.ts';

/** What came of comparing, with the pictures: PNGs. */
export interface Compared {
  readonly comparison: BrowserComparison;
  readonly actual: Uint8Array;
  /** Where something differs. */
  readonly baseline?: Uint8Array;
  readonly difference?: Uint8Array;
}

/** The page is not as its baseline, or there is none. */
export class ComparisonFailed extends BrowserError {
  // Kept from loggers and converters of failures, which write what they can see: pictures are no part of a failure.
  readonly #compared: Compared;

  constructor(type: 'PictureDiffers' | 'StepFailed', message: string, compared: Compared) {
    super(type, message);
    this.#compared = compared;
  }

  get compared(): Compared {
    return this.#compared;
  }
}
