import { setTimeout as delay } from 'node:timers/promises';

const FIRST_RETRY_MS = 250;
const LONGEST_RETRY_MS = 60_000;

/**
 * Keys that want to be worked on, each by one worker at a time and once however often it was added meanwhile. A key whose work failed comes
 * again after a while that doubles with each failure.
 */
export class WorkQueue {
  readonly #work: (key: string) => Promise<void>;
  readonly #onFailure: (key: string, error: unknown, retryMs: number) => void;
  readonly #waiting = new Set<string>();
  readonly #busy = new Set<string>();
  readonly #failures = new Map<string, number>();
  readonly #running = new Set<Promise<void>>();
  #closed = false;

  constructor(work: (key: string) => Promise<void>, onFailure: (key: string, error: unknown, retryMs: number) => void) {
    this.#work = work;
    this.#onFailure = onFailure;
  }

  add(key: string): void {
    if (this.#closed) return;
    if (this.#busy.has(key)) {
      this.#waiting.add(key);
      return;
    }
    this.#busy.add(key);
    const running: Promise<void> = this.#run(key).finally(() => this.#running.delete(running));
    this.#running.add(running);
  }

  /** Adds the key after a while. */
  later(key: string, ms: number): void {
    void delay(ms, undefined, { ref: false }).then(() => this.add(key));
  }

  /** Takes nothing more, and resolves when what was begun has ended. */
  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all(this.#running);
  }

  async #run(key: string): Promise<void> {
    do {
      this.#waiting.delete(key);
      try {
        await this.#work(key);
        this.#failures.delete(key);
      } catch (error) {
        const failures = (this.#failures.get(key) ?? 0) + 1;
        this.#failures.set(key, failures);
        const retryMs = Math.min(FIRST_RETRY_MS * 2 ** (failures - 1), LONGEST_RETRY_MS);
        this.#onFailure(key, error, retryMs);
        this.later(key, retryMs);
      }
    } while (this.#waiting.has(key) && !this.#closed);
    this.#busy.delete(key);
  }
}
