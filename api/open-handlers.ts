import { toHalError } from '../platform/failures/translate.ts';
import { HalError } from '../schemas/errors.ts';

/** How often the open handlers are looked at, milliseconds: what takes long ends within a second of a revocation of its credential. */
const LOOK_MS = 250;

export interface OpenHandler {
  /** Where {@link OpenHandlers} keeps it. */
  place: number;
  /** When its time is up, of `performance.now()`; Infinity for streams. */
  readonly until: number;
  /** What that time was, milliseconds, for who is told that it is up. */
  readonly limitMs: number;
  /** Whether the credential still allows it; undefined where a revocation must not cut it off. */
  readonly stillAllowed: (() => Promise<boolean>) | undefined;
  /** Whether nobody waits for the answer any more. */
  gone(): boolean;
  end(reason: HalError): void;
}

/**
 * Handlers that have not answered yet, with one clock for all of them: most answer within a millisecond, and two timers for each cost as
 * much as finding who asked. In an array, because V8 gives a Set that things come and go in a new table again and again, and each old table
 * keeps what was open at that moment, and the table after it, until the old memory is collected: that was half of all requests.
 */
export class OpenHandlers {
  readonly #open: OpenHandler[] = [];
  readonly #asked = new WeakSet<OpenHandler>();
  #clock: NodeJS.Timeout | undefined;

  add(handler: OpenHandler): void {
    handler.place = this.#open.push(handler) - 1;
    if (this.#clock !== undefined) return;
    this.#clock = setInterval(() => this.#look(), LOOK_MS);
    this.#clock.unref();
  }

  remove(handler: OpenHandler): void {
    if (!this.#holds(handler)) return;
    const last = this.#open.pop();
    if (last === undefined || last === handler) return;
    this.#open[handler.place] = last;
    last.place = handler.place;
  }

  #holds(handler: OpenHandler): boolean {
    return this.#open[handler.place] === handler;
  }

  #look(): void {
    if (this.#open.length === 0) {
      clearInterval(this.#clock);
      this.#clock = undefined;
      return;
    }
    const now = performance.now();
    for (const handler of this.#open) {
      if (now >= handler.until) handler.end(new HalError('Timeout', `no answer within ${handler.limitMs / 1000} s`));
      else if (handler.stillAllowed !== undefined && !handler.gone() && !this.#asked.has(handler)) void this.#ask(handler, handler.stillAllowed);
    }
  }

  async #ask(handler: OpenHandler, stillAllowed: () => Promise<boolean>): Promise<void> {
    this.#asked.add(handler);
    // A database that does not answer is no reason to go on, nor to say of a credential that it has ended: whoever waits may come again.
    const refusal = await stillAllowed().then((allowed) => (allowed ? undefined : new HalError('Unauthenticated', 'the credential has ended')), toHalError);
    this.#asked.delete(handler);
    if (refusal !== undefined && this.#holds(handler)) handler.end(refusal);
  }
}
