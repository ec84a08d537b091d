import { sql, type Selectable } from 'kysely';
import type { SourceKind } from '../schemas/privacy/source-kinds.ts';
import { recordAct, type Act } from './audit-acts.ts';
import type { Database } from './database.ts';
import { NamedRows } from './named-rows.ts';
import type { Timestamp } from './organisations.ts';

export interface PrivacySourceTables {
  privacy_sources: {
    org_id: string;
    id: string;
    name: string;
    kind: SourceKind;
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
  readonly kind: SourceKind;
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
  readonly #rows: NamedRows<Selectable<PrivacySourceTables['privacy_sources']>, PrivacySourceRecord>;

  constructor(database: Database) {
    this.#database = database;
    this.#rows = new NamedRows(database, 'privacy_sources', fromRow);
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
    return this.#rows.list(orgId, limit, after);
  }

  async find(orgId: string, id: string): Promise<PrivacySourceRecord | undefined> {
    return this.#rows.find(orgId, 'id', id);
  }

  async findByName(orgId: string, name: string): Promise<PrivacySourceRecord | undefined> {
    return this.#rows.find(orgId, 'name', name);
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
    return this.#rows.remove(orgId, id, act);
  }
}

function fromRow(row: Selectable<PrivacySourceTables['privacy_sources']>): PrivacySourceRecord {
  return { id: row.id, name: row.name, kind: row.kind, sealed: row.sealed, annotations: row.annotations, version: row.version, createdAt: row.created_at, updatedAt: row.updated_at, updatedBy: row.updated_by };
}
