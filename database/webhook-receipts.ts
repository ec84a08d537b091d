import { sql } from 'kysely';
import { type Act, recordAct } from './audit-acts.ts';
import type { Database } from './database.ts';

export type ReceiptStatus = 'accepted' | 'duplicate' | 'refused' | 'failed';

/** What became of one delivery to an inbound webhook. */
export interface ReceiptRecord {
  readonly orgId: string;
  readonly id: string;
  readonly webhookId: string;
  readonly receivedAt: Date;
  readonly status: ReceiptStatus;
  readonly reason: string | null;
  readonly deliveryId: string | null;
  readonly bodyBytes: number;
  /** Without what proves the sender. */
  readonly headers: Readonly<Record<string, string>>;
  /** Headers and body, sealed; null when they are in a blob, or not kept. */
  readonly sealed: Buffer | null;
  readonly blobRef: string | null;
  readonly signalKeys: readonly string[];
  readonly replays: number;
  readonly replayedAt: Date | null;
}

export type NewReceipt = Omit<ReceiptRecord, 'replays' | 'replayedAt'>;

/** The delivery log of inbound webhooks. */
export class ReceiptStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /**
   * Rows of any organisations, in one statement that does not wait for the disk: the signals are safe already, and a crash of PostgreSQL
   * may take the last moment of the log with it.
   */
  async insertAcrossOrganisations(receipts: readonly NewReceipt[]): Promise<void> {
    const of = <T>(pick: (receipt: NewReceipt) => T): T[] => receipts.map(pick);
    await this.#database.systemPool.query({
      name: 'webhook-receipts-insert',
      text: `with lazily as (select set_config('synchronous_commit', 'off', true))
        insert into webhook_receipts (org_id, id, webhook_id, received_at, status, reason, delivery_id, body_bytes, headers, sealed, blob_ref, signal_keys)
        select r.org_id, r.id, r.webhook_id, r.received_at, r.status, r.reason, r.delivery_id, r.body_bytes, r.headers, r.sealed, r.blob_ref, r.keys::uuid[]
        from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::timestamptz[], $5::text[], $6::text[], $7::text[], $8::int[], $9::jsonb[], $10::bytea[], $11::text[], $12::text[])
          as r (org_id, id, webhook_id, received_at, status, reason, delivery_id, body_bytes, headers, sealed, blob_ref, keys), lazily`,
      values: [
        of((r) => r.orgId), of((r) => r.id), of((r) => r.webhookId), of((r) => r.receivedAt), of((r) => r.status), of((r) => r.reason), of((r) => r.deliveryId), of((r) => r.bodyBytes),
        of((r) => JSON.stringify(r.headers)), of((r) => r.sealed), of((r) => r.blobRef), of((r) => `{${r.signalKeys.join(',')}}`),
      ],
    });
  }

  /** Newest first; `before` continues a page. */
  async list(orgId: string, filter: { readonly webhookId?: string; readonly status?: ReceiptStatus }, limit: number, before?: { readonly at: Date; readonly id: string }): Promise<ReceiptRecord[]> {
    return this.#database.withOrg(orgId, async (tx) => {
      const { rows } = await sql<ReceiptRecord>`select ${COLUMNS} from webhook_receipts where org_id = ${orgId}
        and (${filter.webhookId ?? null}::uuid is null or webhook_id = ${filter.webhookId ?? null}::uuid) and (${filter.status ?? null}::text is null or status = ${filter.status ?? null})
        and (${before?.at ?? null}::timestamptz is null or (date_trunc('milliseconds', received_at), id) < (${before?.at ?? null}::timestamptz, ${before?.id ?? null}::uuid))
        order by date_trunc('milliseconds', received_at) desc, id desc limit ${limit}`.execute(tx);
      return rows;
    });
  }

  async find(orgId: string, id: string): Promise<ReceiptRecord | undefined> {
    return this.#database.withOrg(orgId, async (tx) => {
      const { rows } = await sql<ReceiptRecord>`select ${COLUMNS} from webhook_receipts where org_id = ${orgId} and id = ${id}`.execute(tx);
      return rows[0];
    });
  }

  /** Counts a replay before its signals go in, so that each has an id of its own. @returns its number, from 1; undefined when the receipt is gone. */
  async countReplay(orgId: string, id: string, act: Act): Promise<number | undefined> {
    return this.#database.withOrg(orgId, async (tx) => {
      const { rows } = await sql<{ replays: number }>`update webhook_receipts set replays = replays + 1, replayed_at = now() where org_id = ${orgId} and id = ${id} returning replays`.execute(tx);
      if (rows[0] === undefined) return undefined;
      await recordAct(tx, act);
      return rows[0].replays;
    });
  }

  /** What became of a replay. */
  async settleReplay(orgId: string, id: string, status: ReceiptStatus, reason: string | null, signalKeys: readonly string[]): Promise<void> {
    await this.#database.withOrg(orgId, (tx) =>
      sql`update webhook_receipts set status = ${status}, reason = ${reason}, signal_keys = case when ${signalKeys.length === 0} then signal_keys else ${`{${signalKeys.join(',')}}`}::uuid[] end
        where org_id = ${orgId} and id = ${id}`.execute(tx),
    );
  }

  /** Removes receipts and alerts past their time. @returns blobs that nothing refers to any more. */
  async forgetAcrossOrganisations(days: number): Promise<{ readonly orgId: string; readonly blobRef: string }[]> {
    const { rows } = await sql<{ orgId: string; blobRef: string | null }>`
      delete from webhook_receipts where received_at < now() - make_interval(days => ${days}) returning org_id as "orgId", blob_ref as "blobRef"`.execute(this.#database.system);
    await sql`delete from webhook_alerts where seen_at < now() - make_interval(days => ${days * 4})`.execute(this.#database.system);
    return rows.flatMap(({ orgId, blobRef }) => (blobRef === null ? [] : [{ orgId, blobRef }]));
  }
}

const COLUMNS = sql.raw(`org_id as "orgId", id, webhook_id as "webhookId", received_at as "receivedAt", status, reason, delivery_id as "deliveryId", body_bytes as "bodyBytes", headers, sealed,
  blob_ref as "blobRef", signal_keys as "signalKeys", replays, replayed_at as "replayedAt"`);
