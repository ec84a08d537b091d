import type { Generated, ColumnType } from 'kysely';
import type { Database } from './database.ts';

/** Timestamps are Dates when read; strings or Dates when written; the database's clock when left out. */
export type Timestamp = ColumnType<Date, Date | string | undefined, Date | string>;

export interface OrganisationTables {
  organisations: {
    org_id: string;
    name: string;
    slug: string | null;
    parent_id: string | null;
    region: Generated<string>;
    suspended_at: ColumnType<Date | null, Date | null | undefined, Date | null>;
    owned: Generated<boolean>;
    settings: Generated<unknown>;
    created_at: Timestamp;
  };
  api_keys: {
    org_id: string;
    id: string;
    name: string;
    prefix: string;
    secret_hash: Buffer;
    scopes: string[];
    created_at: Timestamp;
    expires_at: ColumnType<Date | null, Date | null | undefined, Date | null>;
    revoked_at: ColumnType<Date | null, Date | null | undefined, Date | null>;
    last_used_at: ColumnType<Date | null, Date | null | undefined, Date | null>;
    created_by_org: string | null;
    created_by_user: string | null;
    user_id: string | null;
  };
}

export interface Organisation {
  orgId: string;
  name: string;
}

/** Organisations, across all of them: bootstrap and background work only. */
export class OrganisationStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  async listAll(): Promise<Organisation[]> {
    const rows = await this.#database.system.selectFrom('organisations').select(['org_id', 'name']).orderBy('created_at').execute();
    return rows.map((row) => ({ orgId: row.org_id, name: row.name }));
  }

  async create(organisation: Organisation): Promise<void> {
    await this.#database.system.insertInto('organisations').values({ org_id: organisation.orgId, name: organisation.name }).execute();
  }
}
