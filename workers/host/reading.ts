import type { Signal } from '../../schemas/signals/signal.ts';

/** One value of one series at one moment. */
export interface Reading {
  /** Producer: `host/<id>`, `postgres/<id>`, ... */
  readonly source: string;
  /** `<group>.<name>`, without `hal9.metric.`. */
  readonly metric: string;
  /** Instance: a mount, a device, `all`, `top`. */
  readonly subject: string;
  readonly value: number;
  readonly unit: string;
  /** Small facts beside the value: pid, total, ratio. */
  readonly facts?: Readonly<Record<string, string | number>>;
}

/** Something that can be read again and again. */
export interface Probe {
  readonly name: string;
  /** Milliseconds between two readings; at least the collector's own interval. */
  readonly intervalMs: number;
  read(): Promise<Reading[]>;
  close?(): Promise<void>;
}

/** The reading as a CloudEvent. The id says which reading it is, so that one sent twice is accepted once. */
export function readingSignal(reading: Reading, atMs: number): Signal {
  const { source, metric, subject, value, unit, facts } = reading;
  const type = `hal9.metric.${metric}`;
  return {
    specversion: '1.0',
    id: `${metric}/${subject}/${atMs}`.slice(0, 256),
    source,
    type,
    subject,
    time: new Date(atMs).toISOString(),
    data: { value, unit, ...facts },
  };
}

/** Change of a counter per second between two readings; undefined for the first and after a reset. */
export class Rates {
  readonly #before = new Map<string, { value: number; at: number }>();

  perSecond(counter: string, value: number, at: number): number | undefined {
    const before = this.#before.get(counter);
    this.#before.set(counter, { value, at });
    if (before === undefined || value < before.value || at <= before.at) return undefined;
    return (value - before.value) / ((at - before.at) / 1000);
  }
}

/** Four significant decimals are all a reading is worth. */
export function rounded(value: number): number {
  return Math.round(value * 10_000) / 10_000;
}
