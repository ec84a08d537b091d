import { sql, type ColumnType, type Generated, type Selectable } from 'kysely';
import type { ChangedTableView, ChangeKind, ChangeState } from '../schemas/privacy/change.ts';
import { recordAct, type Act } from './audit-acts.ts';
import type { Database, Tx } from './database.ts';
import type { Timestamp } from './organisations.ts';
import { RequestRows, type UnendedRequest } from './request-rows.ts';

export interface PrivacyChangeTables {
  privacy_changes: {
    org_id: string;
    id: string;
    kind: ChangeKind;
    subjects: Buffer[];
    topics: string[];
    wanted: string;
    state: ChangeState;
    verification: string;
    requested_at: Timestamp;
    requested_by: string;
    due_at: ColumnType<Date, Date, never>;
    reasons: Generated<string[]>;
    sealed: Buffer | null;
    finished_at: ColumnType<Date | null, never, Date>;
  };
  privacy_change_tables: { org_id: string; change_id: string; source: string; table_name: string; planned: number; changed: Generated<number> };
}

export interface PrivacyChangeRecord {
  readonly id: string;
  readonly kind: ChangeKind;
  /** Keyed hashes of the identities. */
  readonly subjects: readonly Buffer[];
  /** Categories of data, a purpose, or `processing`. */
  readonly topics: readonly string[];
  /** `corrected`, `given`, `withdrawn`, `on` or `off`. */
  readonly wanted: string;
  readonly state: ChangeState;
  readonly verification: string;
  readonly requestedAt: Date;
  readonly requestedBy: string;
  readonly dueAt: Date;
  readonly reasons: readonly string[];
  /** Null once it has ended. */
  readonly sealed: Buffer | null;
  readonly finishedAt: Date | null;
}

export type PrivacyChangeDraft = Pick<PrivacyChangeRecord, 'id' | 'kind' | 'subjects' | 'topics' | 'wanted' | 'verification' | 'requestedBy' | 'dueAt'> & { readonly sealed: Buffer };

/** The row that is there before anything is changed, in the transaction of its cause. A restriction holds from here on. */
export async function insertChange(tx: Tx, orgId: string, draft: PrivacyChangeDraft, act: Act): Promise<PrivacyChangeRecord> {
  const { id, kind, subjects, topics, wanted, verification, requestedBy, dueAt, sealed } = draft;
  const row = await tx
    .insertInto('privacy_changes')
    .values({ org_id: orgId, id, kind, subjects: [...subjects], topics: [...topics], wanted, state: 'requested', verification, requested_by: requestedBy, due_at: dueAt, sealed })
    .returningAll()
    .executeTakeFirstOrThrow();
  if (kind === 'restriction' && wanted === 'on') {
    await tx
      .insertInto('legal_holds')
      .values({ org_id: orgId, id, subjects: [...subjects], source: null, table_name: null, reason: 'processing is restricted, Art. 18 GDPR', until: null, created_by: requestedBy, restriction_id: id })
      .execute();
  }
  await recordAct(tx, act);
  return fromRow(row);
}

/** The ledger of changes: no row of it names a person or a value. */
export class PrivacyChangeStore {
  readonly #database: Database;
  readonly #rows: RequestRows<Selectable<PrivacyChangeTables['privacy_changes']>, PrivacyChangeRecord>;

  constructor(database: Database) {
    this.#database = database;
    this.#rows = new RequestRows(database, 'privacy_changes', fromRow);
  }

  async insert(orgId: string, draft: PrivacyChangeDraft, act: Act): Promise<PrivacyChangeRecord> {
    return this.#database.withOrg(orgId, (tx) => insertChange(tx, orgId, draft, act));
  }

  async find(orgId: string, id: string): Promise<PrivacyChangeRecord | undefined> {
    return this.#rows.find(orgId, id);
  }

  /** Latest first. @param before (requested, id) of the last of the page before. */
  async list(orgId: string, limit: number, before?: { createdAt: Date; id: string }): Promise<PrivacyChangeRecord[]> {
    return this.#rows.list(orgId, limit, before);
  }

  /** Changes that have not come to their end, by the time they were asked for. @param after time of the last of the page before. */
  async unendedAcrossOrganisations(limit: number, after: Date): Promise<UnendedRequest[]> {
    return this.#rows.unendedAcrossOrganisations(sql`finished_at is null`, limit, after);
  }

  /**
   * Earlier open changes of the same kind and topics that are about the same person. Those that this one makes needless end here, but for one
   * that is just being carried out.
   * @param whole whether this one leaves nothing to do of earlier ones with its topics.
   * @returns ids of those that must end before this one begins.
   */
  async overtake(orgId: string, id: string, whole: boolean, act: (superseded: string) => Act): Promise<string[]> {
    return this.#database.withOrg(orgId, async (tx) => {
      const own = await tx.selectFrom('privacy_changes').selectAll().where('id', '=', id).executeTakeFirstOrThrow();
      const earlier = await tx
        .selectFrom('privacy_changes')
        .select(['id', 'state', sql<boolean>`(subjects <@ ${own.subjects}::bytea[] and topics <@ ${own.topics}::text[])`.as('covered')])
        .where('kind', '=', own.kind)
        .where('finished_at', 'is', null)
        .where(sql<boolean>`(requested_at, id) < (select requested_at, id from privacy_changes where id = ${id})`)
        .where(sql<boolean>`subjects && ${own.subjects}::bytea[]`)
        .where(sql<boolean>`topics && ${own.topics}::text[]`)
        .orderBy('requested_at')
        .forUpdate()
        .execute();
      const left: string[] = [];
      for (const other of earlier) {
        if (!whole || !other.covered || other.state === 'changing') left.push(other.id);
        else {
          await end(tx, other.id, 'superseded');
          await recordAct(tx, act(other.id));
        }
      }
      return left;
    });
  }

  /** Says that it is being carried out. @returns false when it has ended. */
  async begin(orgId: string, id: string): Promise<boolean> {
    return this.#move(orgId, id, 'changing', []);
  }

  /** Says what stands in the way; a change that has ended stays as it is. */
  async block(orgId: string, id: string, reasons: readonly string[]): Promise<void> {
    await this.#move(orgId, id, 'blocked', reasons);
  }

  /** What was found. What was changed already stays counted. */
  async plan(orgId: string, id: string, source: string, tables: readonly { table: string; rows: number }[]): Promise<void> {
    if (tables.length === 0) return;
    await this.#database.withOrg(orgId, async (tx) => {
      await tx
        .insertInto('privacy_change_tables')
        .values(tables.map(({ table, rows }) => ({ org_id: orgId, change_id: id, source, table_name: table, planned: rows })))
        .onConflict((conflict) => conflict.columns(['org_id', 'change_id', 'source', 'table_name']).doUpdateSet({ planned: sql`greatest(privacy_change_tables.planned, excluded.planned)` }))
        .execute();
    });
  }

  /** Counts records as changed, after they were. */
  async count(orgId: string, id: string, source: string, changed: readonly { table: string; changed: number }[]): Promise<void> {
    await this.#database.withOrg(orgId, async (tx) => {
      for (const { table, changed: rows } of changed) {
        if (rows > 0) await tx.updateTable('privacy_change_tables').set({ changed: sql`changed + ${rows}` }).where('change_id', '=', id).where('source', '=', source).where('table_name', '=', table).execute();
      }
    });
  }

  async tables(orgId: string, id: string): Promise<ChangedTableView[]> {
    return this.#database.withOrg(orgId, async (tx) => {
      const rows = await tx.selectFrom('privacy_change_tables').selectAll().where('change_id', '=', id).orderBy('source').orderBy('table_name').execute();
      return rows.map((row) => ({ source: row.source, table: row.table_name, rows: Math.max(row.planned, row.changed), changed: row.changed }));
    });
  }

  /** Ends it once, forgets who it was and what changed, lifts what a restriction kept, and says so in the audit log. */
  async finish(orgId: string, id: string, act: Act): Promise<void> {
    await this.#database.withOrg(orgId, async (tx) => {
      const ended = await end(tx, id, 'complete');
      if (ended === undefined) return;
      if (ended.kind === 'restriction' && ended.wanted === 'off') {
        await tx
          .updateTable('legal_holds')
          .set({ released_at: sql<Date>`now()` })
          .where('restriction_id', 'is not', null)
          .where('released_at', 'is', null)
          .where(sql<boolean>`subjects && ${ended.subjects}::bytea[]`)
          .where(sql<boolean>`restriction_id in (select id from privacy_changes where (requested_at, id) < (select requested_at, id from privacy_changes where id = ${id}))`)
          .execute();
      }
      await recordAct(tx, act);
    });
  }

  /** An act about a change that changes nothing else. */
  async record(act: Act): Promise<void> {
    await this.#database.withOrg(act.orgId, (tx) => recordAct(tx, act));
  }

  async #move(orgId: string, id: string, state: 'changing' | 'blocked', reasons: readonly string[]): Promise<boolean> {
    return this.#database.withOrg(orgId, async (tx) => {
      const row = await tx.updateTable('privacy_changes').set({ state, reasons: [...reasons] }).where('id', '=', id).where('finished_at', 'is', null).returning('id').executeTakeFirst();
      return row !== undefined;
    });
  }
}

async function end(tx: Tx, id: string, state: 'complete' | 'superseded'): Promise<Selectable<PrivacyChangeTables['privacy_changes']> | undefined> {
  // What is left to do by hand for it is not to be done any more, and whom it was about is not to be known.
  await tx
    .updateTable('privacy_tasks')
    .set({ sealed: null, state: 'refused', note: 'not to be done any more', ended_at: sql<Date>`now()` })
    .where('change_id', '=', id)
    .where('state', '<>', 'done')
    .execute();
  return tx.updateTable('privacy_changes').set({ state, reasons: [], sealed: null, finished_at: sql<Date>`now()` }).where('id', '=', id).where('finished_at', 'is', null).returningAll().executeTakeFirst();
}

function fromRow(row: Selectable<PrivacyChangeTables['privacy_changes']>): PrivacyChangeRecord {
  return {
    id: row.id, kind: row.kind, subjects: row.subjects, topics: row.topics, wanted: row.wanted, state: row.state, verification: row.verification, requestedAt: row.requested_at,
    requestedBy: row.requested_by, dueAt: row.due_at, reasons: row.reasons, sealed: row.sealed, finishedAt: row.finished_at,
  };
}
