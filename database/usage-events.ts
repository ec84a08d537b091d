import type { Tx } from './database.ts';
import type { Timestamp } from './organisations.ts';

/** What is metered. Quantities are whole numbers of the unit in the name. */
export type Meter = 'runs' | 'signals' | 'tokens' | 'browser-seconds' | 'storage-byte-hours' | 'plugin-cpu-ms';

export interface UsageTables {
  usage_events: { org_id: string; meter: Meter; key: string; quantity: number; at: Timestamp };
}

export interface Usage {
  readonly orgId: string;
  readonly meter: Meter;
  /** What was used, e.g. a run's or a chunk's id: the same use counts once however often it is written. */
  readonly key: string;
  readonly quantity: number;
}

/** Writes a use into the transaction that used it, so that it counts exactly when the work does. */
export async function recordUsage(tx: Tx, usage: Usage): Promise<void> {
  await tx
    .insertInto('usage_events')
    .values({ org_id: usage.orgId, meter: usage.meter, key: usage.key, quantity: usage.quantity })
    .onConflict((conflict) => conflict.columns(['org_id', 'meter', 'key']).doNothing())
    .execute();
}
