import { sql, type ColumnType } from 'kysely';
import { recordAct, type Act } from './audit-acts.ts';
import type { Database, Tx } from './database.ts';

export interface ContentTables {
  contents: {
    org_id: string;
    id: string;
    media_type: string;
    bytes: number;
    root: string;
    digests: Buffer;
    subject: Buffer | null;
    subject_key: string | null;
    written_by: string;
    created_at: ColumnType<Date, never, never>;
  };
  content_pins: { org_id: string; content_id: string; provider: string; state: PinState; failure: string | null; checked_at: ColumnType<Date, never, Date> };
}

export type PinState = 'pinned' | 'failed';

export interface Pin {
  /** Name of the connection. */
  readonly provider: string;
  readonly state: PinState;
  readonly failure: string | null;
}

export interface ContentRecord {
  readonly id: string;
  readonly mediaType: string;
  /** In the clear. */
  readonly bytes: number;
  readonly root: string;
  /** SHA-256 of each block, 32 bytes each. */
  readonly digests: Buffer;
  readonly subjectKey: string | null;
  readonly writtenBy: string;
  readonly createdAt: Date;
}

const COLUMNS = ['id', 'media_type as mediaType', 'bytes', 'root', 'digests', 'subject_key as subjectKey', 'written_by as writtenBy', 'created_at as createdAt'] as const;

/** What is kept by providers of IPFS, and by which. */
export class ContentStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  async insert(orgId: string, { id, mediaType, bytes, root, digests, subjectKey, writtenBy }: Omit<ContentRecord, 'createdAt'>, subject: Buffer | null, pins: readonly Pin[], act: Act): Promise<Date> {
    return this.#database.withOrg(orgId, async (tx) => {
      const { created_at } = await tx
        .insertInto('contents')
        .values({ org_id: orgId, id, media_type: mediaType, bytes, root, digests, subject, subject_key: subjectKey, written_by: writtenBy })
        .returning('created_at')
        .executeTakeFirstOrThrow();
      await writePins(tx, orgId, id, pins);
      await recordAct(tx, act);
      return created_at;
    });
  }

  /** Newest first; `before` continues a page. */
  async list(orgId: string, limit: number, before?: { readonly createdAt: Date; readonly id: string }): Promise<ContentRecord[]> {
    return this.#database.withOrg(orgId, (tx) =>
      tx
        .selectFrom('contents')
        .select(COLUMNS)
        .where('org_id', '=', orgId)
        .$if(before !== undefined, (query) => query.where(sql<boolean>`(created_at, id) < (${before?.createdAt}, ${before?.id})`))
        .orderBy('created_at', 'desc')
        .orderBy('id', 'desc')
        .limit(limit)
        .execute(),
    );
  }

  async find(orgId: string, id: string): Promise<ContentRecord | undefined> {
    return this.#database.withOrg(orgId, (tx) => tx.selectFrom('contents').select(COLUMNS).where('org_id', '=', orgId).where('id', '=', id).executeTakeFirst());
  }

  /** What all contents are made of, by id; `after` continues a page. */
  async blocks(orgId: string, limit: number, after?: string): Promise<Pick<ContentRecord, 'id' | 'root' | 'digests'>[]> {
    return this.#database.withOrg(orgId, (tx) =>
      tx
        .selectFrom('contents')
        .select(['id', 'root', 'digests'])
        .where('org_id', '=', orgId)
        .$if(after !== undefined, (query) => query.where('id', '>', after ?? ''))
        .orderBy('id')
        .limit(limit)
        .execute(),
    );
  }

  /** By id of the content. */
  async pins(orgId: string, ids: readonly string[]): Promise<ReadonlyMap<string, readonly Pin[]>> {
    if (ids.length === 0) return new Map();
    const rows = await this.#database.withOrg(orgId, (tx) => tx.selectFrom('content_pins').select(['content_id as id', 'provider', 'state', 'failure']).where('org_id', '=', orgId).where('content_id', 'in', [...ids]).orderBy('provider').execute());
    return Map.groupBy(rows, ({ id }) => id);
  }

  async notePins(orgId: string, id: string, pins: readonly Pin[], act: Act): Promise<void> {
    await this.#database.withOrg(orgId, async (tx) => {
      await writePins(tx, orgId, id, pins);
      await recordAct(tx, act);
    });
  }

  /** @returns whether it was there. */
  async remove(orgId: string, id: string, act: Act): Promise<boolean> {
    return this.#database.withOrg(orgId, async (tx) => {
      const { numDeletedRows } = await tx.deleteFrom('contents').where('org_id', '=', orgId).where('id', '=', id).executeTakeFirst();
      if (numDeletedRows === 0n) return false;
      await recordAct(tx, act);
      return true;
    });
  }
}

async function writePins(tx: Tx, orgId: string, id: string, pins: readonly Pin[]): Promise<void> {
  if (pins.length === 0) return;
  await tx
    .insertInto('content_pins')
    .values(pins.map(({ provider, state, failure }) => ({ org_id: orgId, content_id: id, provider, state, failure })))
    .onConflict((conflict) => conflict.columns(['org_id', 'content_id', 'provider']).doUpdateSet((excluded) => ({ state: excluded.ref('excluded.state'), failure: excluded.ref('excluded.failure'), checked_at: sql<Date>`clock_timestamp()` })))
    .execute();
}
