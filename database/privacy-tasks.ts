import { sql, type ColumnType, type Selectable } from 'kysely';
import { recordAct, type Act } from './audit-acts.ts';
import type { Database, Tx } from './database.ts';
import type { Timestamp } from './organisations.ts';

export type PrivacyTaskState = 'open' | 'taken' | 'done' | 'refused';

export interface PrivacyTaskTables {
  privacy_tasks: {
    org_id: string;
    id: string;
    erasure_id: string | null;
    change_id: string | null;
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
  /** The erasure or the change that it is a part of; the other is null. */
  readonly erasureId: string | null;
  readonly changeId: string | null;
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

/** What a task is a part of. */
export type TaskOwner = { readonly erasureId: string } | { readonly changeId: string };

/** What people must do by hand for an erasure, or for a change. */
export class PrivacyTaskStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /** Makes those that are not there yet, due with what they are a part of. @returns all of the source, by name. */
  async ensure(orgId: string, owner: TaskOwner, source: string, tasks: readonly { id: string; name: string; instructions: string; sealed: Buffer }[]): Promise<PrivacyTask[]> {
    return this.#database.withOrg(orgId, async (tx) => {
      const isErasure = 'erasureId' in owner;
      const { due_at: dueAt } = isErasure
        ? await tx.selectFrom('erasures').select('due_at').where('id', '=', owner.erasureId).executeTakeFirstOrThrow()
        : await tx.selectFrom('privacy_changes').select('due_at').where('id', '=', owner.changeId).executeTakeFirstOrThrow();
      for (const { id, name, instructions, sealed } of tasks) {
        await tx
          .insertInto('privacy_tasks')
          .values({ org_id: orgId, id, erasure_id: isErasure ? owner.erasureId : null, change_id: isErasure ? null : owner.changeId, source, name, instructions, state: 'open', sealed, due_at: dueAt, taken_by: null, note: null })
          .onConflict((conflict) => conflict.columns(['org_id', isErasure ? 'erasure_id' : 'change_id', 'source', 'name']).doNothing())
          .execute();
      }
      return ofOwner(tx, owner, source);
    });
  }

  /** Of one source of an erasure or a change, by name. */
  async of(orgId: string, owner: TaskOwner, source: string): Promise<PrivacyTask[]> {
    return this.#database.withOrg(orgId, (tx) => ofOwner(tx, owner, source));
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
      const row = await tx.updateTable('privacy_tasks').set({ state: 'taken', taken_by: takenBy, ended_at: null }).where('id', '=', id).where('state', '<>', 'done').where('sealed', 'is not', null).returningAll().executeTakeFirst();
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

async function ofOwner(tx: Tx, owner: TaskOwner, source: string): Promise<PrivacyTask[]> {
  const query = tx.selectFrom('privacy_tasks').selectAll().where('source', '=', source).orderBy('name');
  return (await ('erasureId' in owner ? query.where('erasure_id', '=', owner.erasureId) : query.where('change_id', '=', owner.changeId)).execute()).map(fromRow);
}

function fromRow(row: Selectable<PrivacyTaskTables['privacy_tasks']>): PrivacyTask {
  return { id: row.id, erasureId: row.erasure_id, changeId: row.change_id, source: row.source, name: row.name, instructions: row.instructions, state: row.state, sealed: row.sealed, dueAt: row.due_at, takenBy: row.taken_by, note: row.note, createdAt: row.created_at, endedAt: row.ended_at };
}
