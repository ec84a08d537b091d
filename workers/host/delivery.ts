import type { Logger } from 'pino';
import { Counter, Gauge, type Registry } from 'prom-client';
import type { Signal } from '../../schemas/signals/signal.ts';

export interface DeliveryOptions {
  /** Base address of the API. */
  readonly url: string;
  readonly apiKey: string;
  /** Signals kept while the API is away; the oldest go first. */
  readonly capacity: number;
  readonly logger: Logger;
  /** Gets the counters of what was accepted and dropped and the gauge of what waits. */
  readonly registry?: Registry;
}

/** Signals of one request. */
const BATCH = 2000;
const ANSWER_MS = 15_000;
const FIRST_BACKOFF_MS = 250;
const LONGEST_BACKOFF_MS = 10_000;

/**
 * Sends signals in order, as NDJSON, one request at a time. What could not be sent is sent again under the same ids, so that the API
 * accepts each once; what the API refuses by line is logged and let go.
 */
export class Delivery {
  readonly #options: DeliveryOptions;
  readonly #queue: Signal[] = [];
  readonly #stopping = new AbortController();
  #wake: (() => void) | undefined;
  #running: Promise<void> | undefined;
  #dropped = 0;
  #accepted = 0;

  constructor(options: DeliveryOptions) {
    this.#options = options;
    if (options.registry === undefined) return;
    const registers = [options.registry];
    const count = (name: string, help: string, read: () => number): Counter => new Counter({ name, help, registers, collect() { this.reset(); this.inc(read()); } });
    count('hal9_collector_accepted_total', 'Readings the API accepted.', () => this.#accepted);
    count('hal9_collector_dropped_total', 'Readings dropped because the API was away too long.', () => this.#dropped);
    const queue = this.#queue;
    new Gauge({ name: 'hal9_collector_waiting', help: 'Readings that wait to be sent.', registers, collect() { this.set(queue.length); } });
  }

  get accepted(): number {
    return this.#accepted;
  }

  get dropped(): number {
    return this.#dropped;
  }

  get waiting(): number {
    return this.#queue.length;
  }

  start(): void {
    this.#running ??= this.#run();
  }

  /** Takes signals over; returns at once. */
  put(signals: readonly Signal[]): void {
    this.#queue.push(...signals);
    const excess = this.#queue.length - this.#options.capacity;
    if (excess > 0) {
      this.#queue.splice(0, excess);
      this.#dropped += excess;
    }
    this.#wake?.();
  }

  /** Ends after at most one more attempt to send what waits. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    this.#wake?.();
    await this.#running;
  }

  async #run(): Promise<void> {
    let backoff = FIRST_BACKOFF_MS;
    for (;;) {
      if (this.#queue.length === 0) {
        if (this.#stopping.signal.aborted) return;
        await this.#until(undefined);
        continue;
      }
      const batch = this.#queue.slice(0, BATCH);
      const droppedBefore = this.#dropped;
      if (await this.#send(batch)) {
        // What overflowed meanwhile was the front of this very batch.
        this.#queue.splice(0, Math.max(0, batch.length - (this.#dropped - droppedBefore)));
        backoff = FIRST_BACKOFF_MS;
        continue;
      }
      if (this.#stopping.signal.aborted) return;
      await this.#until(backoff);
      backoff = Math.min(backoff * 2, LONGEST_BACKOFF_MS);
    }
  }

  /** @returns whether the batch is done with: accepted, or of no use to send again. */
  async #send(batch: readonly Signal[]): Promise<boolean> {
    const { url, apiKey, logger } = this.#options;
    try {
      const answer = await fetch(`${url}/v1/signals`, {
        method: 'POST',
        headers: { authorization: `Bearer ${apiKey}`, 'content-type': 'application/x-ndjson' },
        body: `${batch.map((signal) => JSON.stringify(signal)).join('\n')}\n`,
        signal: AbortSignal.timeout(ANSWER_MS),
      });
      const body: unknown = await answer.json().catch(() => undefined);
      if (answer.ok) {
        this.#accepted += numberIn(body, 'accepted');
        const refused = numberIn(body, 'rejectedCount');
        if (refused > 0) logger.warn({ refused }, 'the API refused readings');
        return true;
      }
      // A wrong key or a full quota passes; a body that cannot be read never will.
      const hopeless = answer.status >= 400 && answer.status < 500 && ![401, 403, 404, 408, 429].includes(answer.status);
      logger.warn({ status: answer.status, signals: batch.length, hopeless }, 'the API did not take the readings');
      return hopeless;
    } catch (error) {
      logger.debug({ reason: error instanceof Error ? error.message : String(error), waiting: this.#queue.length }, 'the API does not answer');
      return false;
    }
  }

  /** Waits for new work (without a time) or for the time, and for the end in both cases. */
  async #until(ms: number | undefined): Promise<void> {
    if (this.#stopping.signal.aborted) return;
    await new Promise<void>((resolve) => {
      const timer = ms === undefined ? undefined : setTimeout(resolve, ms);
      const done = (): void => {
        clearTimeout(timer);
        resolve();
      };
      if (ms === undefined) this.#wake = done;
      this.#stopping.signal.addEventListener('abort', done, { once: true });
    });
    this.#wake = undefined;
  }
}

function numberIn(body: unknown, key: string): number {
  const value = typeof body === 'object' && body !== null ? Object.entries(body).find(([name]) => name === key)?.[1] : undefined;
  return typeof value === 'number' ? value : 0;
}
