import { sql } from 'kysely';
import { recordAct, type Act } from './audit-acts.ts';
import type { Database } from './database.ts';
import type { Timestamp } from './organisations.ts';

export interface PrivacySourceTables {
  privacy_sources: {
    org_id: string;
    id: string;
    name: string;
    kind: 'postgres';
    sealed: Buffer;
    annotations: string;
    version: number;
    created_at: Timestamp;
    updated_at: Timestamp;
    updated_by: string;
  };
}

export interface PrivacySourceRecord {
  readonly id: string;
  readonly name: string;
  readonly kind: 'postgres';
  /** Opens under (organisation, id, version) only. */
  readonly sealed: Buffer;
  /** YAML. */
  readonly annotations: string;
  readonly version: number;
  readonly createdAt: Date;
  readonly updatedAt: Date;
  /** `<kind>:<id>`. */
  readonly updatedBy: string;
}

type Draft = Pick<PrivacySourceRecord, 'id' | 'name' | 'kind' | 'sealed' | 'annotations' | 'updatedBy'>;

/** Systems that hold data of people. */
export class PrivacySourceStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /** @returns undefined when the name is taken. */
  async insert(orgId: string, draft: Draft, act: Act): Promise<PrivacySourceRecord | undefined> {
    return this.#database.withOrg(orgId, async (tx) => {
      const { id, name, kind, sealed, annotations, updatedBy } = draft;
      const row = await tx
        .insertInto('privacy_sources')
        .values({ org_id: orgId, id, name, kind, sealed, annotations, version: 1, updated_by: updatedBy })
        .onConflict((conflict) => conflict.columns(['org_id', 'name']).doNothing())
        .returningAll()
        .executeTakeFirst();
      if (row === undefined) return undefined;
      await recordAct(tx, act);
      return fromRow(row);
    });
  }

  /** By name; `after` continues a page. */
  async list(orgId: string, limit: number, after?: string): Promise<PrivacySourceRecord[]> {
    return this.#database.withOrg(orgId, async (tx) => {
      let query = tx.selectFrom('privacy_sources').selectAll().orderBy('name').limit(limit);
      if (after !== undefined) query = query.where('name', '>', after);
      return (await query.execute()).map(fromRow);
    });
  }

  async find(orgId: string, id: string): Promise<PrivacySourceRecord | undefined> {
    return this.#database.withOrg(orgId, async (tx) => {
      const row = await tx.selectFrom('privacy_sources').selectAll().where('id', '=', id).executeTakeFirst();
      return row === undefined ? undefined : fromRow(row);
    });
  }

  async findByName(orgId: string, name: string): Promise<PrivacySourceRecord | undefined> {
    return this.#database.withOrg(orgId, async (tx) => {
      const row = await tx.selectFrom('privacy_sources').selectAll().where('name', '=', name).executeTakeFirst();
      return row === undefined ? undefined : fromRow(row);
    });
  }

  /** @returns undefined when it changed since, or is gone. */
  async replace(orgId: string, id: string, version: number, change: Pick<PrivacySourceRecord, 'sealed' | 'annotations' | 'updatedBy'>, act: Act): Promise<PrivacySourceRecord | undefined> {
    return this.#database.withOrg(orgId, async (tx) => {
      const row = await tx
        .updateTable('privacy_sources')
        .set({ sealed: change.sealed, annotations: change.annotations, updated_by: change.updatedBy, updated_at: sql<Date>`now()`, version: version + 1 })
        .where('id', '=', id)
        .where('version', '=', version)
        .returningAll()
        .executeTakeFirst();
      if (row === undefined) return undefined;
      await recordAct(tx, act);
      return fromRow(row);
    });
  }

  /** @returns whether it was there. */
  async remove(orgId: string, id: string, act: Act): Promise<boolean> {
    return this.#database.withOrg(orgId, async (tx) => {
      const gone = await tx.deleteFrom('privacy_sources').where('id', '=', id).returning('id').executeTakeFirst();
      if (gone === undefined) return false;
      await recordAct(tx, act);
      return true;
    });
  }
}

function fromRow(row: { id: string; name: string; kind: 'postgres'; sealed: Buffer; annotations: string; version: number; created_at: Date; updated_at: Date; updated_by: string }): PrivacySourceRecord {
  return { id: row.id, name: row.name, kind: row.kind, sealed: row.sealed, annotations: row.annotations, version: row.version, createdAt: row.created_at, updatedAt: row.updated_at, updatedBy: row.updated_by };
}
