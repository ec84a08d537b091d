import { sql, type ColumnType, type Generated, type Selectable } from 'kysely';
import type { Database } from './database.ts';
import type { Timestamp } from './organisations.ts';

type MaybeTime = ColumnType<Date | null, Date | string | null | undefined, Date | string | null>;

export type DeliveryState = 'queued' | 'sending' | 'delivered' | 'failed';
export type DeliveryAction = 'trigger' | 'resolve';

export interface NotificationTables {
  notifications: {
    org_id: string;
    id: string;
    connection_id: string;
    connection_name: string;
    kind: string;
    dedup_key: string;
    action: DeliveryAction;
    severity: string;
    title: string;
    state: DeliveryState;
    attempts: Generated<number>;
    claimed_until: MaybeTime;
    last_failure: string | null;
    created_at: Timestamp;
    updated_at: Timestamp;
    delivered_at: MaybeTime;
  };
}

export interface DeliveryRecord {
  /** The same in every attempt. */
  id: string;
  connectionId: string;
  connectionName: string;
  kind: string;
  dedupKey: string;
  action: DeliveryAction;
  severity: string;
  title: string;
  state: DeliveryState;
  /** Attempts begun. */
  attempts: number;
  /** Plain words, without secrets; null when the last attempt succeeded or none was made. */
  lastFailure: string | null;
  createdAt: Date;
  deliveredAt: Date | null;
}

export type NewDelivery = Pick<DeliveryRecord, 'id' | 'connectionId' | 'connectionName' | 'kind' | 'dedupKey' | 'action' | 'severity' | 'title'>;

/** The record of messages that left. */
export class NotificationStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /**
   * Claims the next attempt of a message, by (connection, dedup key, action); creates its row when it is new.
   * @returns the row, and whether this caller may send: not when it was delivered, failed for good, or is being sent.
   */
  async claim(orgId: string, delivery: NewDelivery, claimSeconds: number): Promise<{ delivery: DeliveryRecord; claimed: boolean }> {
    return this.#database.withOrg(orgId, async (tx) => {
      await tx
        .insertInto('notifications')
        .values({
          org_id: orgId,
          id: delivery.id,
          connection_id: delivery.connectionId,
          connection_name: delivery.connectionName,
          kind: delivery.kind,
          dedup_key: delivery.dedupKey,
          action: delivery.action,
          severity: delivery.severity,
          title: delivery.title,
          state: 'queued',
          last_failure: null,
        })
        .onConflict((conflict) => conflict.columns(['org_id', 'connection_id', 'dedup_key', 'action']).doNothing())
        .execute();
      const claimed = await tx
        .updateTable('notifications')
        .set({ state: 'sending', attempts: sql<number>`attempts + 1`, claimed_until: sql<Date>`now() + make_interval(secs => ${claimSeconds})`, updated_at: sql<Date>`now()` })
        .where('connection_id', '=', delivery.connectionId)
        .where('dedup_key', '=', delivery.dedupKey)
        .where('action', '=', delivery.action)
        .where((where) => where.or([where('state', '=', 'queued'), where.and([where('state', '=', 'sending'), where('claimed_until', '<', sql<Date>`now()`)])]))
        .returningAll()
        .executeTakeFirst();
      if (claimed !== undefined) return { delivery: record(claimed), claimed: true };
      const present = await tx
        .selectFrom('notifications')
        .selectAll()
        .where('connection_id', '=', delivery.connectionId)
        .where('dedup_key', '=', delivery.dedupKey)
        .where('action', '=', delivery.action)
        .executeTakeFirstOrThrow();
      return { delivery: record(present), claimed: false };
    });
  }

  /** Ends the attempt that was claimed; an attempt that lost its claim to a later one changes nothing. */
  async finish(orgId: string, id: string, attempt: number, outcome: { state: 'queued' | 'delivered' | 'failed'; failure: string | null }): Promise<DeliveryRecord> {
    return this.#database.withOrg(orgId, async (tx) => {
      const row = await tx
        .updateTable('notifications')
        .set({
          state: outcome.state,
          last_failure: outcome.failure,
          claimed_until: null,
          updated_at: sql<Date>`now()`,
          ...(outcome.state === 'delivered' ? { delivered_at: sql<Date>`now()` } : {}),
        })
        .where('id', '=', id)
        .where('attempts', '=', attempt)
        .where('state', '=', 'sending')
        .returningAll()
        .executeTakeFirst();
      return record(row ?? (await tx.selectFrom('notifications').selectAll().where('id', '=', id).executeTakeFirstOrThrow()));
    });
  }

  /** Newest first. `before` is the (created, id) of the last row of the page before. */
  async list(orgId: string, filter: { connectionId?: string | undefined; state?: DeliveryState | undefined }, limit: number, before?: { createdAt: Date; id: string }): Promise<DeliveryRecord[]> {
    return this.#database.withOrg(orgId, async (tx) => {
      let query = tx.selectFrom('notifications').selectAll().orderBy('created_at', 'desc').orderBy('id', 'desc').limit(limit);
      if (filter.connectionId !== undefined) query = query.where('connection_id', '=', filter.connectionId);
      if (filter.state !== undefined) query = query.where('state', '=', filter.state);
      if (before !== undefined) query = query.where(sql<boolean>`(created_at, id) < (${before.createdAt}, ${before.id}::uuid)`);
      return (await query.execute()).map(record);
    });
  }
}

function record(row: Selectable<NotificationTables['notifications']>): DeliveryRecord {
  return {
    id: row.id,
    connectionId: row.connection_id,
    connectionName: row.connection_name,
    kind: row.kind,
    dedupKey: row.dedup_key,
    action: row.action,
    severity: row.severity,
    title: row.title,
    state: row.state,
    attempts: row.attempts,
    lastFailure: row.last_failure,
    createdAt: row.created_at,
    deliveredAt: row.delivered_at,
  };
}
