import { sql, type ColumnType } from 'kysely';
import { recordAct, type Act } from './audit-acts.ts';
import type { Database } from './database.ts';
import type { Timestamp } from './organisations.ts';

type MaybeTime = ColumnType<Date | null, Date | string | null | undefined, Date | string | null>;

export interface LegalHoldTables {
  legal_holds: {
    org_id: string;
    id: string;
    subjects: Buffer[] | null;
    source: string | null;
    table_name: string | null;
    reason: string;
    until: MaybeTime;
    created_at: Timestamp;
    created_by: string;
    released_at: MaybeTime;
    restriction_id: ColumnType<string | null, string | undefined, never>;
  };
}

export interface LegalHold {
  readonly id: string;
  /** Keyed hashes of identities; null for everybody's. */
  readonly subjects: readonly Buffer[] | null;
  /** Name of a source with a table of it; null for everything. */
  readonly source: string | null;
  readonly table: string | null;
  readonly reason: string;
  readonly until: Date | null;
  readonly createdAt: Date;
  readonly createdBy: string;
  readonly releasedAt: Date | null;
  /** The change that restricted the processing, where that is why. */
  readonly restrictionId: string | null;
}

/** What must not be destroyed. */
export class LegalHoldStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  async insert(orgId: string, hold: Omit<LegalHold, 'createdAt' | 'releasedAt' | 'restrictionId'>, act: Act): Promise<LegalHold> {
    return this.#database.withOrg(orgId, async (tx) => {
      const row = await tx
        .insertInto('legal_holds')
        .values({ org_id: orgId, id: hold.id, subjects: hold.subjects === null ? null : [...hold.subjects], source: hold.source, table_name: hold.table, reason: hold.reason, until: hold.until, created_by: hold.createdBy })
        .returningAll()
        .executeTakeFirstOrThrow();
      await recordAct(tx, act);
      return fromRow(row);
    });
  }

  /** Latest first. @param before (created, id) of the last of the page before. */
  async list(orgId: string, limit: number, before?: { createdAt: Date; id: string }): Promise<LegalHold[]> {
    return this.#database.withOrg(orgId, async (tx) => {
      let query = tx.selectFrom('legal_holds').selectAll().orderBy('created_at', 'desc').orderBy('id', 'desc').limit(limit);
      if (before !== undefined) query = query.where(sql<boolean>`(date_trunc('milliseconds', created_at), id) < (${before.createdAt}, ${before.id}::uuid)`);
      return (await query.execute()).map(fromRow);
    });
  }

  async find(orgId: string, id: string): Promise<LegalHold | undefined> {
    return this.#database.withOrg(orgId, async (tx) => {
      const row = await tx.selectFrom('legal_holds').selectAll().where('id', '=', id).executeTakeFirst();
      return row === undefined ? undefined : fromRow(row);
    });
  }

  /** Those that protect one of the identities, or everybody, now. */
  async inForce(orgId: string, subjects: readonly Buffer[]): Promise<LegalHold[]> {
    return this.#database.withOrg(orgId, async (tx) => {
      const rows = await tx
        .selectFrom('legal_holds')
        .selectAll()
        .where('released_at', 'is', null)
        .where(sql<boolean>`(until is null or until > now())`)
        .where(sql<boolean>`(subjects is null or subjects && ${[...subjects]}::bytea[])`)
        .orderBy('created_at')
        .execute();
      return rows.map(fromRow);
    });
  }

  /** All of an organisation's, whomever they protect. */
  async allInForce(orgId: string): Promise<LegalHold[]> {
    return this.#database.withOrg(orgId, async (tx) => {
      const rows = await tx.selectFrom('legal_holds').selectAll().where('released_at', 'is', null).where(sql<boolean>`(until is null or until > now())`).orderBy('created_at').execute();
      return rows.map(fromRow);
    });
  }

  /** The first release stands; a restriction's ends with its lifting only. @returns undefined when there is none. */
  async release(orgId: string, id: string, act: Act): Promise<LegalHold | undefined> {
    return this.#database.withOrg(orgId, async (tx) => {
      const row = await tx.updateTable('legal_holds').set({ released_at: sql<Date>`coalesce(released_at, now())` }).where('id', '=', id).where('restriction_id', 'is', null).returningAll().executeTakeFirst();
      if (row === undefined) return undefined;
      await recordAct(tx, act);
      return fromRow(row);
    });
  }
}

function fromRow(row: { id: string; subjects: Buffer[] | null; source: string | null; table_name: string | null; reason: string; until: Date | null; created_at: Date; created_by: string; released_at: Date | null; restriction_id: string | null }): LegalHold {
  return { id: row.id, subjects: row.subjects, source: row.source, table: row.table_name, reason: row.reason, until: row.until, createdAt: row.created_at, createdBy: row.created_by, releasedAt: row.released_at, restrictionId: row.restriction_id };
}
