import type { ColumnType } from 'kysely';
import type { Tx } from './database.ts';
import type { Meter } from '../schemas/usage/meters.ts';
import type { Timestamp } from './organisations.ts';

export type { Meter };

type MaybeTime = ColumnType<Date | null, Date | null | undefined, Date | null>;

export interface UsageTables {
  usage_events: { org_id: string; meter: Meter; key: string; quantity: number; at: Timestamp; folded_at: MaybeTime };
  usage_hours: { org_id: string; meter: Meter; hour: Timestamp; quantity: number };
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
