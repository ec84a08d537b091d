import type { Logger } from 'pino';
import type { Delivery } from './delivery.ts';
import { readingSignal, type Probe } from './reading.ts';

export interface CollectorOptions {
  readonly probes: readonly Probe[];
  readonly delivery: Pick<Delivery, 'put'>;
  /** Milliseconds between two rounds. */
  readonly intervalMs: number;
  readonly logger: Logger;
}

/** Reads every probe that is due, round after round, and hands the readings on. A slow probe is not asked again before it answered, and holds up no other. */
export class Collector {
  readonly #options: CollectorOptions;
  readonly #busy = new Set<Probe>();
  readonly #due = new Map<Probe, number>();
  readonly #reads = new Set<Promise<void>>();
  #timer: NodeJS.Timeout | undefined;

  constructor(options: CollectorOptions) {
    this.#options = options;
  }

  start(): void {
    this.#round();
    this.#timer = setInterval(() => this.#round(), this.#options.intervalMs);
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await Promise.all(this.#reads);
    await Promise.all(this.#options.probes.map(async (probe) => probe.close?.()));
  }

  #round(): void {
    const now = Date.now();
    for (const probe of this.#options.probes) {
      // Half an interval early is on time: timers are never exact.
      if (this.#busy.has(probe) || (this.#due.get(probe) ?? 0) > now + this.#options.intervalMs / 2) continue;
      this.#due.set(probe, now + probe.intervalMs);
      const read = this.#read(probe, now);
      this.#reads.add(read);
      void read.finally(() => this.#reads.delete(read));
    }
  }

  async #read(probe: Probe, at: number): Promise<void> {
    this.#busy.add(probe);
    try {
      const readings = await probe.read();
      this.#options.delivery.put(readings.map((reading) => readingSignal(reading, at)));
    } catch (error) {
      this.#options.logger.warn({ probe: probe.name, reason: error instanceof Error ? error.message : String(error) }, 'a probe failed');
    } finally {
      this.#busy.delete(probe);
    }
  }
}
