import { sql, type ColumnType, type Selectable } from 'kysely';
import { recordAct, type Act } from './audit-acts.ts';
import type { Database } from './database.ts';
import { NamedRows } from './named-rows.ts';
import type { Timestamp } from './organisations.ts';

type MaybeTime = ColumnType<Date | null, Date | string | null | undefined, Date | string | null>;

export type ConnectionState = 'untested' | 'ok' | 'failed';

export interface ConnectionTables {
  connections: {
    org_id: string;
    id: string;
    name: string;
    kind: string;
    version: number;
    sealed: Buffer;
    state: ConnectionState;
    last_tested_at: MaybeTime;
    last_failure: string | null;
    created_at: Timestamp;
    updated_at: Timestamp;
    updated_by: string;
  };
}

export interface ConnectionRecord {
  id: string;
  name: string;
  kind: string;
  version: number;
  /** The settings, sealed; opens under (organisation, id, version) only. */
  sealed: Buffer;
  state: ConnectionState;
  lastTestedAt: Date | null;
  /** Plain words, without secrets. */
  lastFailure: string | null;
  createdAt: Date;
  updatedAt: Date;
  /** `<kind>:<id>` of who changed it last. */
  updatedBy: string;
}

/** Outcome of a test. */
export interface ConnectionTest {
  state: ConnectionState;
  testedAt: Date | null;
  failure: string | null;
}

export interface NewConnection {
  id: string;
  name: string;
  kind: string;
  sealed: Buffer;
  test: ConnectionTest;
  updatedBy: string;
}

/** Connections of one organisation; the settings stay sealed here. */
export class ConnectionStore {
  readonly #database: Database;
  readonly #rows: NamedRows<Selectable<ConnectionTables['connections']>, ConnectionRecord>;

  constructor(database: Database) {
    this.#database = database;
    this.#rows = new NamedRows(database, 'connections', record);
  }

  /** @returns undefined when the name is taken. */
  async insert(orgId: string, connection: NewConnection, act: Act): Promise<ConnectionRecord | undefined> {
    const { id, name, kind, sealed, test, updatedBy } = connection;
    return this.#database.withOrg(orgId, async (tx) => {
      const row = await tx
        .insertInto('connections')
        .values({ org_id: orgId, id, name, kind, version: 1, sealed, state: test.state, last_tested_at: test.testedAt, last_failure: test.failure, updated_by: updatedBy })
        .onConflict((conflict) => conflict.columns(['org_id', 'name']).doNothing())
        .returningAll()
        .executeTakeFirst();
      if (row === undefined) return undefined;
      await recordAct(tx, act);
      return record(row);
    });
  }

  /** By name, in alphabetical order; `after` continues a page. */
  async list(orgId: string, limit: number, after?: string): Promise<ConnectionRecord[]> {
    return this.#rows.list(orgId, limit, after);
  }

  async find(orgId: string, id: string): Promise<ConnectionRecord | undefined> {
    return this.#rows.find(orgId, 'id', id);
  }

  async findByName(orgId: string, name: string): Promise<ConnectionRecord | undefined> {
    return this.#rows.find(orgId, 'name', name);
  }

  /**
   * Replaces the settings of `version` and makes it the next one.
   * @returns undefined when somebody else changed or removed it meanwhile.
   */
  async replace(orgId: string, id: string, version: number, change: { sealed: Buffer; test: ConnectionTest; updatedBy: string }, act: Act): Promise<ConnectionRecord | undefined> {
    return this.#database.withOrg(orgId, async (tx) => {
      const row = await tx
        .updateTable('connections')
        .set({
          sealed: change.sealed,
          version: version + 1,
          state: change.test.state,
          last_tested_at: change.test.testedAt,
          last_failure: change.test.failure,
          updated_by: change.updatedBy,
          updated_at: sql<Date>`now()`,
        })
        .where('id', '=', id)
        .where('version', '=', version)
        .returningAll()
        .executeTakeFirst();
      if (row === undefined) return undefined;
      await recordAct(tx, act);
      return record(row);
    });
  }

  /** Notes the outcome of a test of `version`; a newer version keeps its own. */
  async noteTest(orgId: string, id: string, version: number, test: ConnectionTest, act: Act): Promise<void> {
    await this.#database.withOrg(orgId, async (tx) => {
      await tx.updateTable('connections').set({ state: test.state, last_tested_at: test.testedAt, last_failure: test.failure }).where('id', '=', id).where('version', '=', version).execute();
      await recordAct(tx, act);
    });
  }

  /** @returns whether it was there. */
  async remove(orgId: string, id: string, act: Act): Promise<boolean> {
    return this.#rows.remove(orgId, id, act);
  }
}

function record(row: Selectable<ConnectionTables['connections']>): ConnectionRecord {
  return {
    id: row.id,
    name: row.name,
    kind: row.kind,
    version: row.version,
    sealed: row.sealed,
    state: row.state,
    lastTestedAt: row.last_tested_at,
    lastFailure: row.last_failure,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
    updatedBy: row.updated_by,
  };
}
