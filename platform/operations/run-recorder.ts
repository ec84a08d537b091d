import type { Logger } from 'pino';
import type { RunRow, RunStore } from '../../database/runs.ts';

/** How long a start may wait for others to share its INSERT, ms: a list lags by less than a second. */
const FLUSH_MS = 200;
/** Rows of one INSERT. */
const BATCH = 500;
/** Rows kept while PostgreSQL does not answer; the projector finds the others in Temporal. */
const LIMIT = 20_000;

/**
 * Writes started runs into the read model behind the caller's back, many in one statement: a start must not wait for
 * PostgreSQL. What is lost here the projector finds again in Temporal.
 */
export class RunRecorder {
  readonly #store: RunStore;
  readonly #logger: Logger;
  #waiting: RunRow[] = [];
  #timer: NodeJS.Timeout | undefined;
  #writing: Promise<void> | undefined;
  #dropped = 0;

  constructor(store: RunStore, logger: Logger) {
    this.#store = store;
    this.#logger = logger;
  }

  record(row: RunRow): void {
    if (this.#waiting.length >= LIMIT) {
      this.#dropped += 1;
      return;
    }
    this.#waiting.push(row);
    this.#schedule();
  }

  /** Writes all that waits; failures are logged, not thrown. */
  async flush(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    await this.#writing;
    while (this.#waiting.length > 0 && (await this.#writeBatch()));
  }

  #schedule(): void {
    if (this.#timer !== undefined || this.#writing !== undefined) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#writing = this.#writeBatch().then(() => {
        this.#writing = undefined;
        if (this.#waiting.length > 0) this.#schedule();
      });
    }, FLUSH_MS);
    this.#timer.unref();
  }

  async #writeBatch(): Promise<boolean> {
    const batch = this.#waiting.splice(0, BATCH);
    try {
      await this.#store.recordOfAllOrganisations(batch);
      if (this.#dropped > 0) {
        this.#logger.warn({ dropped: this.#dropped }, 'runs left for the projector to record');
        this.#dropped = 0;
      }
      return true;
    } catch (error) {
      // Back in front, tried again with the next flush.
      this.#waiting = [...batch, ...this.#waiting].slice(0, LIMIT);
      this.#logger.warn({ reason: error instanceof Error ? error.message : String(error), waiting: this.#waiting.length }, 'started runs not recorded yet');
      return false;
    }
  }
}
