import { sql, type ColumnType, type Selectable } from 'kysely';
import { recordAct, type Act } from './audit-acts.ts';
import type { Database } from './database.ts';
import type { Timestamp } from './organisations.ts';

export type PrivacyTaskState = 'open' | 'taken' | 'done' | 'refused';

export interface PrivacyTaskTables {
  privacy_tasks: {
    org_id: string;
    id: string;
    erasure_id: string;
    source: string;
    name: string;
    instructions: string;
    state: PrivacyTaskState;
    sealed: Buffer | null;
    due_at: ColumnType<Date, Date, never>;
    taken_by: string | null;
    note: string | null;
    created_at: Timestamp;
    ended_at: ColumnType<Date | null, Date | undefined, Date | null>;
  };
}

export interface PrivacyTask {
  readonly id: string;
  readonly erasureId: string;
  readonly source: string;
  readonly name: string;
  readonly instructions: string;
  readonly state: PrivacyTaskState;
  /** Opens under (organisation, id) only; null once it is done. */
  readonly sealed: Buffer | null;
  readonly dueAt: Date;
  /** `<kind>:<id>`. */
  readonly takenBy: string | null;
  readonly note: string | null;
  readonly createdAt: Date;
  readonly endedAt: Date | null;
}

/** What people must do by hand for an erasure. */
export class PrivacyTaskStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /** Makes those that are not there yet, due with their erasure. @returns all of the source, by name. */
  async ensure(orgId: string, erasureId: string, source: string, tasks: readonly { id: string; name: string; instructions: string; sealed: Buffer }[]): Promise<PrivacyTask[]> {
    return this.#database.withOrg(orgId, async (tx) => {
      const { due_at: dueAt } = await tx.selectFrom('erasures').select('due_at').where('id', '=', erasureId).executeTakeFirstOrThrow();
      for (const { id, name, instructions, sealed } of tasks) {
        await tx
          .insertInto('privacy_tasks')
          .values({ org_id: orgId, id, erasure_id: erasureId, source, name, instructions, state: 'open', sealed, due_at: dueAt, taken_by: null, note: null })
          .onConflict((conflict) => conflict.columns(['org_id', 'erasure_id', 'source', 'name']).doNothing())
          .execute();
      }
      return (await tx.selectFrom('privacy_tasks').selectAll().where('erasure_id', '=', erasureId).where('source', '=', source).orderBy('name').execute()).map(fromRow);
    });
  }

  /** Of one source of an erasure, by name. */
  async ofErasure(orgId: string, erasureId: string, source: string): Promise<PrivacyTask[]> {
    return this.#database.withOrg(orgId, async (tx) => (await tx.selectFrom('privacy_tasks').selectAll().where('erasure_id', '=', erasureId).where('source', '=', source).orderBy('name').execute()).map(fromRow));
  }

  async find(orgId: string, id: string): Promise<PrivacyTask | undefined> {
    return this.#database.withOrg(orgId, async (tx) => {
      const row = await tx.selectFrom('privacy_tasks').selectAll().where('id', '=', id).executeTakeFirst();
      return row === undefined ? undefined : fromRow(row);
    });
  }

  /** Latest first. @param before (created, id) of the last of the page before. */
  async list(orgId: string, limit: number, before?: { createdAt: Date; id: string }): Promise<PrivacyTask[]> {
    return this.#database.withOrg(orgId, async (tx) => {
      let query = tx.selectFrom('privacy_tasks').selectAll().orderBy('created_at', 'desc').orderBy('id', 'desc').limit(limit);
      if (before !== undefined) query = query.where(sql<boolean>`(date_trunc('milliseconds', created_at), id) < (${before.createdAt}, ${before.id}::uuid)`);
      return (await query.execute()).map(fromRow);
    });
  }

  /** Hands it to somebody; whoever takes it last has it. @returns undefined when it is done or not there. */
  async take(orgId: string, id: string, takenBy: string, act: Act): Promise<PrivacyTask | undefined> {
    return this.#database.withOrg(orgId, async (tx) => {
      const row = await tx.updateTable('privacy_tasks').set({ state: 'taken', taken_by: takenBy, ended_at: null }).where('id', '=', id).where('state', '<>', 'done').returningAll().executeTakeFirst();
      if (row === undefined) return undefined;
      await recordAct(tx, act);
      return fromRow(row);
    });
  }

  /** Ends it; a refusal may be taken up again, and keeps who it is about. @returns undefined when it is done already or not there. */
  async end(orgId: string, id: string, state: 'done' | 'refused', note: string, endedBy: string, act: Act): Promise<PrivacyTask | undefined> {
    return this.#database.withOrg(orgId, async (tx) => {
      const row = await tx
        .updateTable('privacy_tasks')
        .set({ state, note, taken_by: endedBy, ended_at: sql<Date>`now()`, ...(state === 'done' ? { sealed: null } : {}) })
        .where('id', '=', id)
        .where('state', '<>', 'done')
        .returningAll()
        .executeTakeFirst();
      if (row === undefined) return undefined;
      await recordAct(tx, act);
      return fromRow(row);
    });
  }
}

function fromRow(row: Selectable<PrivacyTaskTables['privacy_tasks']>): PrivacyTask {
  return { id: row.id, erasureId: row.erasure_id, source: row.source, name: row.name, instructions: row.instructions, state: row.state, sealed: row.sealed, dueAt: row.due_at, takenBy: row.taken_by, note: row.note, createdAt: row.created_at, endedAt: row.ended_at };
}
