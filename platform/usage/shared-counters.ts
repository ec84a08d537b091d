import type { Logger } from 'pino';
import type { CounterStanding, CountedUse } from '../../database/rate-counters.ts';

/** How often a process tells the others what it let through, and hears what they did, milliseconds. */
const SYNC_MS = 100;
/** Part of a limit that a process lets through before it tells at once. */
const EAGER = 0.05;
/** How often ended windows are forgotten, milliseconds. */
const SWEEP_MS = 10_000;

/** Where processes add up what they let through; see `RateCounterStore`. */
export interface CounterStore {
  addAcrossOrganisations(uses: readonly CountedUse[]): Promise<CounterStanding[]>;
  removeEndedAcrossOrganisations(): Promise<void>;
}

export interface CounterRule {
  /** In the window. */
  readonly points: number;
  readonly windowMs: number;
}

export interface Taken {
  readonly allowed: boolean;
  /** Left in the window, as far as this process knows. */
  readonly remaining: number;
  /** Time until the window ends, milliseconds. */
  readonly resetMs: number;
}

interface Counter {
  readonly key: string;
  windowMs: number;
  endsAt: number;
  /** Of all processes, as PostgreSQL last said, without {@link waiting}. */
  shared: number;
  /** Let through here and not told yet. */
  waiting: number;
  /** Told, and not answered yet. */
  telling: number;
}

/**
 * Counts in windows that all processes share, without a request ever waiting for it: each process decides from memory, and adds what it let
 * through to PostgreSQL ten times a second, at once when it was a twentieth of a limit; the answer says how much all of them did. So
 * a limit is passed at the most by what the other processes let through within one such exchange. While PostgreSQL does not
 * answer each process counts on its own.
 */
export class SharedCounters {
  readonly #store: CounterStore | undefined;
  readonly #logger: Pick<Logger, 'warn'>;
  readonly #now: () => number;
  readonly #counters = new Map<string, Counter>();
  readonly #changed = new Set<Counter>();
  #timer: NodeJS.Timeout | undefined;
  #syncing: Promise<void> | undefined;
  #again = false;
  #failing = false;
  #sweptAt: number;

  /** @param store undefined: this process counts alone. */
  constructor(store: CounterStore | undefined, logger: Pick<Logger, 'warn'>, now: () => number = Date.now) {
    this.#store = store;
    this.#logger = logger;
    this.#now = now;
    this.#sweptAt = now();
  }

  /** Takes one from the counter, if there is one left. */
  take(key: string, { points, windowMs }: CounterRule): Taken {
    const now = this.#now();
    const counter = this.#counter(key, windowMs, now);
    const used = counter.shared + counter.telling + counter.waiting;
    if (used >= points) return { allowed: false, remaining: 0, resetMs: counter.endsAt - now };
    counter.waiting += 1;
    if (this.#store !== undefined) {
      this.#changed.add(counter);
      this.#schedule(counter.waiting >= points * EAGER);
    }
    return { allowed: true, remaining: points - used - 1, resetMs: counter.endsAt - now };
  }

  /** How the counter stands; takes nothing. */
  standing(key: string, { points, windowMs }: CounterRule): Taken {
    const now = this.#now();
    const known = this.#counters.get(key);
    if (known === undefined || known.endsAt <= now) return { allowed: points > 0, remaining: points, resetMs: windowMs };
    const remaining = Math.max(0, points - known.shared - known.telling - known.waiting);
    return { allowed: remaining > 0, remaining, resetMs: known.endsAt - now };
  }

  /** Tells what was not told yet. */
  async close(): Promise<void> {
    clearTimeout(this.#timer);
    await this.#syncing;
    await this.#sync();
  }

  #counter(key: string, windowMs: number, now: number): Counter {
    let counter = this.#counters.get(key);
    if (counter === undefined) {
      counter = { key, windowMs, endsAt: now + windowMs, shared: 0, waiting: 0, telling: 0 };
      this.#counters.set(key, counter);
    } else if (counter.endsAt <= now) {
      Object.assign(counter, { windowMs, endsAt: now + windowMs, shared: 0, waiting: 0, telling: 0 });
    }
    return counter;
  }

  #schedule(eager: boolean): void {
    if (this.#syncing !== undefined) {
      this.#again ||= eager;
      return;
    }
    if (eager) this.#begin();
    else
      this.#timer ??= setTimeout(() => this.#begin(), SYNC_MS).unref();
  }

  #begin(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#syncing = this.#sync().finally(() => {
      this.#syncing = undefined;
      if (this.#changed.size > 0) this.#schedule(this.#again);
      this.#again = false;
    });
  }

  async #sync(): Promise<void> {
    const store = this.#store;
    const batch = [...this.#changed];
    this.#changed.clear();
    if (store === undefined || batch.length === 0) return;
    for (const counter of batch) {
      counter.telling = counter.waiting;
      counter.waiting = 0;
    }
    try {
      const known = new Map((await store.addAcrossOrganisations(batch.map(({ key, telling, windowMs }) => ({ key, points: telling, windowMs })))).map((standing) => [standing.key, standing]));
      const now = this.#now();
      for (const counter of batch) {
        const standing = known.get(counter.key);
        if (standing === undefined) continue;
        Object.assign(counter, { shared: standing.points, telling: 0, endsAt: now + standing.endsInMs });
      }
      this.#failing = false;
      await this.#sweep(store, now);
    } catch (error) {
      // They count here all the same; what the others do is unknown until the database is back.
      for (const counter of batch) Object.assign(counter, { shared: counter.shared + counter.telling, telling: 0 });
      if (!this.#failing) this.#logger.warn({ reason: error instanceof Error ? error.message : String(error) }, 'rate limits are counted by each process alone until the database answers');
      this.#failing = true;
    }
  }

  async #sweep(store: CounterStore, now: number): Promise<void> {
    if (now - this.#sweptAt < SWEEP_MS) return;
    this.#sweptAt = now;
    for (const [key, { endsAt }] of this.#counters) if (endsAt <= now) this.#counters.delete(key);
    await store.removeEndedAcrossOrganisations();
  }
}
