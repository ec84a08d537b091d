import { sql, type ColumnType, type Generated } from 'kysely';
import type { ErasureState, KeptValue } from '../schemas/privacy/erasure.ts';
import { recordAct, type Act } from './audit-acts.ts';
import type { Database } from './database.ts';
import type { Timestamp } from './organisations.ts';
import { RequestRows, type UnendedRequest } from './request-rows.ts';

type MaybeTime = ColumnType<Date | null, Date | string | null | undefined, Date | string | null>;

export interface ErasureTables {
  privacy_policies: { org_id: string; approvals: number; deadline_days: number; remind_days: number[]; connection: string | null; updated_at: Timestamp; updated_by: string };
  erasures: {
    org_id: string;
    id: string;
    subjects: Buffer[];
    state: ErasureState;
    verification: string;
    requested_at: Timestamp;
    requested_by: string;
    due_at: ColumnType<Date, Date | string, never>;
    reasons: Generated<string[]>;
    kept: ColumnType<KeptValue[], string | undefined, string>;
    finished_at: MaybeTime;
    receipt: string | null;
  };
  erasure_subjects: { org_id: string; erasure_id: string; sealed: Buffer };
  erasure_tables: { org_id: string; erasure_id: string; source: string; table_name: string; method: 'mask' | 'delete' | 'none'; why: string; planned: number; changed: Generated<number>; shared: number };
}

export interface PrivacyPolicy {
  /** People who must agree before anything is destroyed. */
  readonly approvals: number;
  /** Days from the request on. */
  readonly deadlineDays: number;
  /** Days before the deadline. */
  readonly remindDays: readonly number[];
  readonly connection: string | null;
}

export interface ErasureRecord {
  readonly id: string;
  /** Keyed hashes of the identities. */
  readonly subjects: readonly Buffer[];
  readonly state: ErasureState;
  readonly verification: string;
  readonly requestedAt: Date;
  readonly requestedBy: string;
  readonly dueAt: Date;
  readonly reasons: readonly string[];
  readonly kept: readonly KeptValue[];
  readonly finishedAt: Date | null;
  readonly receipt: string | null;
}

export interface ErasedTable {
  readonly source: string;
  readonly table: string;
  readonly method: 'mask' | 'delete' | 'none';
  readonly why: string;
  /** Rows of the person. */
  readonly rows: number;
  /** Rows that stay because rows of others need them. */
  readonly shared: number;
}

/** The ledger of erasures: no row of it names a person. */
export class ErasureStore {
  readonly #database: Database;
  readonly #rows: RequestRows<Parameters<typeof fromRow>[0], ErasureRecord>;

  constructor(database: Database) {
    this.#database = database;
    this.#rows = new RequestRows(database, 'erasures', fromRow);
  }

  async policy(orgId: string): Promise<PrivacyPolicy | undefined> {
    return this.#database.withOrg(orgId, async (tx) => {
      const row = await tx.selectFrom('privacy_policies').selectAll().executeTakeFirst();
      return row === undefined ? undefined : { approvals: row.approvals, deadlineDays: row.deadline_days, remindDays: row.remind_days, connection: row.connection };
    });
  }

  async setPolicy(orgId: string, policy: PrivacyPolicy, updatedBy: string, act: Act): Promise<void> {
    await this.#database.withOrg(orgId, async (tx) => {
      const values = { approvals: policy.approvals, deadline_days: policy.deadlineDays, remind_days: [...policy.remindDays], connection: policy.connection, updated_by: updatedBy };
      await tx.insertInto('privacy_policies').values({ org_id: orgId, ...values }).onConflict((conflict) => conflict.column('org_id').doUpdateSet({ ...values, updated_at: sql<Date>`now()` })).execute();
      await recordAct(tx, act);
    });
  }

  /** The row that is there before anything is destroyed. @param sealed who it is. */
  async insert(orgId: string, erasure: Pick<ErasureRecord, 'id' | 'subjects' | 'verification' | 'requestedBy' | 'dueAt'>, sealed: Buffer, act: Act): Promise<ErasureRecord> {
    return this.#database.withOrg(orgId, async (tx) => {
      const { id, subjects, verification, requestedBy, dueAt } = erasure;
      const row = await tx.insertInto('erasures').values({ org_id: orgId, id, subjects: [...subjects], state: 'requested', verification, requested_by: requestedBy, due_at: dueAt, receipt: null }).returningAll().executeTakeFirstOrThrow();
      await tx.insertInto('erasure_subjects').values({ org_id: orgId, erasure_id: id, sealed }).execute();
      await recordAct(tx, act);
      return fromRow(row);
    });
  }

  async find(orgId: string, id: string): Promise<ErasureRecord | undefined> {
    return this.#rows.find(orgId, id);
  }

  /** Latest first. @param before (requested, id) of the last of the page before. */
  async list(orgId: string, limit: number, before?: { createdAt: Date; id: string }): Promise<ErasureRecord[]> {
    return this.#rows.list(orgId, limit, before);
  }

  /** Erasures that have not come to their end and its receipt, by the time they were asked for. @param after time of the last of the page before. */
  async unendedAcrossOrganisations(limit: number, after: Date): Promise<UnendedRequest[]> {
    return this.#rows.unendedAcrossOrganisations(sql`(finished_at is null or (state = 'complete' and receipt is null))`, limit, after);
  }

  /** Who it is; undefined once the erasure has ended. */
  async sealedSubject(orgId: string, id: string): Promise<Buffer | undefined> {
    return this.#database.withOrg(orgId, async (tx) => (await tx.selectFrom('erasure_subjects').select('sealed').where('erasure_id', '=', id).executeTakeFirst())?.sealed);
  }

  /** Says where it stands; an erasure that has ended stays as it is. */
  async move(orgId: string, id: string, state: Exclude<ErasureState, 'complete' | 'denied'>, reasons: readonly string[]): Promise<void> {
    await this.#database.withOrg(orgId, async (tx) => {
      await tx.updateTable('erasures').set({ state, reasons: [...reasons] }).where('id', '=', id).where('finished_at', 'is', null).execute();
    });
  }

  /** What the rehearsal foretells. What was changed already stays counted; rows planned before and gone since were changed. */
  async plan(orgId: string, id: string, source: string, tables: readonly ErasedTable[]): Promise<void> {
    if (tables.length === 0) return;
    await this.#database.withOrg(orgId, async (tx) => {
      await tx
        .insertInto('erasure_tables')
        .values(tables.map(({ table, method, why, rows, shared }) => ({ org_id: orgId, erasure_id: id, source, table_name: table, method, why, planned: rows, shared })))
        .onConflict((conflict) =>
          conflict.columns(['org_id', 'erasure_id', 'source', 'table_name']).doUpdateSet({
            method: sql`excluded.method`,
            why: sql`excluded.why`,
            shared: sql`excluded.shared`,
            planned: sql`greatest(erasure_tables.planned, excluded.planned)`,
          }),
        )
        .execute();
    });
  }

  /** Counts rows as changed, after they were. */
  async count(orgId: string, id: string, source: string, changed: readonly { table: string; changed: number }[]): Promise<void> {
    const some = changed.filter((table) => table.changed > 0);
    if (some.length === 0) return;
    await this.#database.withOrg(orgId, async (tx) => {
      for (const { table, changed: rows } of some) {
        await tx.updateTable('erasure_tables').set({ changed: sql`changed + ${rows}` }).where('erasure_id', '=', id).where('source', '=', source).where('table_name', '=', table).execute();
      }
    });
  }

  async tables(orgId: string, id: string): Promise<ErasedTable[]> {
    return this.#database.withOrg(orgId, async (tx) => {
      const rows = await tx.selectFrom('erasure_tables').selectAll().where('erasure_id', '=', id).orderBy('source').orderBy('table_name').execute();
      // A count that was lost with its process is made up by the plan: nothing of it was found again.
      return rows.map((row) => ({ source: row.source, table: row.table_name, method: row.method, why: row.why, rows: Math.max(row.planned, row.changed), shared: row.shared }));
    });
  }

  /** What another look found that is allowed to stay. */
  async keep(orgId: string, id: string, kept: readonly KeptValue[]): Promise<void> {
    await this.#database.withOrg(orgId, async (tx) => {
      await tx.updateTable('erasures').set({ kept: JSON.stringify(kept) }).where('id', '=', id).where('finished_at', 'is', null).execute();
    });
  }

  /** Ends it once, forgets who it was, and says so in the audit log. @returns whether this call ended it. */
  async finish(orgId: string, id: string, state: 'complete' | 'denied', end: { reasons: readonly string[]; at: Date }, act: Act): Promise<boolean> {
    return this.#database.withOrg(orgId, async (tx) => {
      const ended = await tx
        .updateTable('erasures')
        .set({ state, reasons: [...end.reasons], finished_at: end.at })
        .where('id', '=', id)
        .where('finished_at', 'is', null)
        .returning('id')
        .executeTakeFirst();
      if (ended === undefined) return false;
      await tx.deleteFrom('erasure_subjects').where('erasure_id', '=', id).execute();
      await recordAct(tx, act);
      return true;
    });
  }

  /** Keeps the first receipt. */
  async keepReceipt(orgId: string, id: string, receipt: string): Promise<void> {
    await this.#database.withOrg(orgId, async (tx) => {
      await tx.updateTable('erasures').set({ receipt }).where('id', '=', id).where('receipt', 'is', null).execute();
    });
  }

  /** An act about an erasure that changes nothing else, e.g. a reminder. */
  async record(act: Act): Promise<void> {
    await this.#database.withOrg(act.orgId, (tx) => recordAct(tx, act));
  }
}

function fromRow(row: { id: string; subjects: Buffer[]; state: ErasureState; verification: string; requested_at: Date; requested_by: string; due_at: Date; reasons: string[]; kept: KeptValue[]; finished_at: Date | null; receipt: string | null }): ErasureRecord {
  return { id: row.id, subjects: row.subjects, state: row.state, verification: row.verification, requestedAt: row.requested_at, requestedBy: row.requested_by, dueAt: row.due_at, reasons: row.reasons, kept: row.kept, finishedAt: row.finished_at, receipt: row.receipt };
}
