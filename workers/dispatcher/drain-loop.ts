import type { Logger } from 'pino';
import type { Drain } from './drains.ts';

const POLL_MS = 200;
const FIRST_BACKOFF_MS = 100;
const LAST_BACKOFF_MS = 5000;

/** Runs one drain for the life of the process: at once when notified, by polling otherwise, slower while it fails. */
export class DrainLoop {
  readonly #drain: Drain;
  readonly #logger: Logger;
  readonly #shutdown: AbortSignal;
  #notified = false;
  #wake: (() => void) | undefined;

  constructor(drain: Drain, logger: Logger, shutdown: AbortSignal) {
    this.#drain = drain;
    this.#logger = logger.child({ drain: drain.name });
    this.#shutdown = shutdown;
    shutdown.addEventListener('abort', () => this.#wake?.());
  }

  /** There may be work. */
  notify(): void {
    this.#notified = true;
    this.#wake?.();
  }

  /** Runs until shutdown; the part in hand is finished. */
  async run(): Promise<void> {
    const { pollMs = POLL_MS } = this.#drain;
    let failures = 0;
    while (!this.#shutdown.aborted) {
      this.#notified = false;
      let more = false;
      try {
        more = await this.#drain.run(this.#shutdown);
        if (failures > 0) this.#logger.info({ failures }, 'works again');
        failures = 0;
      } catch (error) {
        if (this.#shutdown.aborted) return;
        // The first says it all; a database that is away for minutes must not fill the log.
        this.#logger[failures === 0 ? 'warn' : 'debug']({ err: error, failures }, 'failed, trying again');
        failures++;
      }
      if (failures > 0) await this.#sleep(Math.min(LAST_BACKOFF_MS, FIRST_BACKOFF_MS * 2 ** Math.min(failures - 1, 10)), false);
      else if (!more) {
        if (!this.#notified) await this.#sleep(pollMs, true);
        const coalesceMs = this.#drain.coalesceMs?.() ?? 0;
        if (this.#notified && coalesceMs > 0) await this.#sleep(coalesceMs, false);
      }
    }
  }

  #sleep(ms: number, wakeable: boolean): Promise<void> {
    if (this.#shutdown.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        this.#wake = undefined;
        resolve();
      };
      const timer = setTimeout(done, ms);
      this.#wake = () => {
        if (wakeable || this.#shutdown.aborted) done();
      };
    });
  }
}
