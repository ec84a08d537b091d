import { type ColumnType, type Generated, type Selectable, sql } from 'kysely';
import type { ScheduleDraft } from '../schemas/schedules/definition.ts';
import { type Act, recordAct } from './audit-acts.ts';
import type { AutomationOwner } from './automations.ts';
import type { Database, Tx } from './database.ts';
import type { Timestamp } from './organisations.ts';

type MaybeTime = ColumnType<Date | null, Date | null | undefined, Date | null>;

/** Announces schedules that Temporal does not have as they are. */
export const SCHEDULES_CHANNEL = 'hal9_schedules';

export type ScheduleFiringState = 'running' | 'done' | 'failed' | 'cancelled' | 'skipped';

export interface ScheduleTables {
  schedules: {
    org_id: string;
    id: string;
    name: string;
    version: Generated<number>;
    applied_version: Generated<number>;
    problem: string | null;
    draft: ColumnType<ScheduleDraft, string, string>;
    owner_kind: string;
    owner_id: string;
    owner_scopes: string[];
    paused_at: MaybeTime;
    paused_by: 'person' | 'hal9' | null;
    note: string | null;
    limit_from: Timestamp;
    deleted_at: MaybeTime;
    created_at: Timestamp;
    updated_at: Timestamp;
  };
  schedule_firings: {
    org_id: string;
    id: string;
    schedule_id: string;
    due_at: ColumnType<Date, Date, never>;
    state: ScheduleFiringState;
    reason: string | null;
    run_id: string | null;
    emitted_key: string | null;
    created_at: Timestamp;
    done_at: MaybeTime;
  };
}

export interface StoredSchedule {
  readonly orgId: string;
  readonly id: string;
  readonly version: number;
  /** Less than `version` while Temporal does not have it. */
  readonly appliedVersion: number;
  /** Why Temporal refuses this version. */
  readonly problem: string | null;
  readonly draft: ScheduleDraft;
  readonly owner: AutomationOwner;
  readonly pausedAt: Date | null;
  readonly pausedBy: 'person' | 'hal9' | null;
  readonly note: string | null;
  readonly limitFrom: Date;
  readonly deletedAt: Date | null;
  readonly createdAt: Date;
  readonly updatedAt: Date;
}

export interface ScheduleFiring {
  readonly id: string;
  readonly scheduleId: string;
  readonly dueAt: Date;
  readonly state: ScheduleFiringState;
  readonly reason: string | null;
  readonly runId: string | null;
  readonly emittedKey: string | null;
  readonly createdAt: Date;
  readonly doneAt: Date | null;
}

export type ScheduleChange =
  | { readonly kind: 'changed'; readonly schedule: StoredSchedule }
  | { readonly kind: 'missing' }
  | { readonly kind: 'stale'; readonly version: number }
  | { readonly kind: 'name-taken' };

/** What a pause says. */
export interface SchedulePause {
  readonly by: 'person' | 'hal9';
  readonly note: string;
}

/** Schedules of an organisation and their firings; what they should be like in Temporal is read across organisations. */
export class ScheduleStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /** By name. `after` is the name of the last one of the page before. */
  async list(orgId: string, limit: number, after?: string): Promise<StoredSchedule[]> {
    return this.#database.withOrg(orgId, async (tx) => {
      let query = tx.selectFrom('schedules').selectAll().where('deleted_at', 'is', null).orderBy('name').limit(limit);
      if (after !== undefined) query = query.where('name', '>', after);
      return (await query.execute()).map(stored);
    });
  }

  async find(orgId: string, id: string): Promise<StoredSchedule | undefined> {
    return this.#database.withOrg(orgId, async (tx) => {
      const row = await tx.selectFrom('schedules').selectAll().where('id', '=', id).where('deleted_at', 'is', null).executeTakeFirst();
      return row === undefined ? undefined : stored(row);
    });
  }

  async findNamed(orgId: string, name: string): Promise<StoredSchedule | undefined> {
    return this.#database.withOrg(orgId, async (tx) => {
      const row = await tx.selectFrom('schedules').selectAll().where('name', '=', name).where('deleted_at', 'is', null).executeTakeFirst();
      return row === undefined ? undefined : stored(row);
    });
  }

  /** @returns undefined when the name is taken. */
  async create(orgId: string, id: string, draft: ScheduleDraft, owner: AutomationOwner, act: Act): Promise<StoredSchedule | undefined> {
    return this.#database.withOrg(orgId, async (tx) => {
      const row = await tx
        .insertInto('schedules')
        .values({ org_id: orgId, id, name: draft.name, draft: JSON.stringify(draft), ...ownerRow(owner) })
        .onConflict((conflict) => conflict.columns(['org_id', 'name']).where('deleted_at', 'is', null).doNothing())
        .returningAll()
        .executeTakeFirst();
      if (row === undefined) return undefined;
      await announce(tx, act);
      return stored(row);
    });
  }

  /**
   * Replaces the draft; the owner is whoever saves it. A pause by HAL9 ends with it, one by a person stays.
   * @param expected the version the change was made from; undefined changes whatever is there.
   */
  async change(orgId: string, id: string, expected: number | undefined, draft: ScheduleDraft, owner: AutomationOwner, act: Act): Promise<ScheduleChange> {
    return this.#database.withOrg(orgId, async (tx) => {
      const current = await tx.selectFrom('schedules').selectAll().where('id', '=', id).where('deleted_at', 'is', null).forUpdate().executeTakeFirst();
      if (current === undefined) return { kind: 'missing' };
      if (expected !== undefined && current.version !== expected) return { kind: 'stale', version: current.version };
      const taken = draft.name === current.name ? undefined : await tx.selectFrom('schedules').select('id').where('name', '=', draft.name).where('deleted_at', 'is', null).executeTakeFirst();
      if (taken !== undefined) return { kind: 'name-taken' };
      const row = await tx
        .updateTable('schedules')
        .set({
          name: draft.name, draft: JSON.stringify(draft), version: current.version + 1, problem: null, updated_at: sql<Date>`now()`, ...ownerRow(owner),
          ...(current.paused_by === 'hal9' ? { paused_at: null, paused_by: null, note: null } : {}),
          ...(current.draft.limit === draft.limit ? {} : { limit_from: sql<Date>`now()` }),
        })
        .where('id', '=', id)
        .returningAll()
        .executeTakeFirstOrThrow();
      await announce(tx, act);
      return { kind: 'changed', schedule: stored(row) };
    });
  }

  /** Temporal paused it by itself after a failure nobody here heard of. @returns whether the row is still that version, and was not paused. */
  async adoptPause(orgId: string, id: string, version: number, note: string, act: Act): Promise<boolean> {
    return this.#database.withOrg(orgId, async (tx) => {
      const row = await tx.selectFrom('schedules').select('id').where('id', '=', id).where('version', '=', version).where('applied_version', '=', version).where('paused_at', 'is', null).where('deleted_at', 'is', null).forUpdate().executeTakeFirst();
      if (row === undefined) return false;
      return (await setPaused(tx, orgId, id, { by: 'hal9', note }, undefined, act)) !== undefined;
    });
  }

  /** Pauses it, or with undefined lets it go on, owned by `owner` from then on if given. @returns undefined when it is not there. */
  async setPaused(orgId: string, id: string, pause: SchedulePause | undefined, owner: AutomationOwner | undefined, act: Act): Promise<StoredSchedule | undefined> {
    return this.#database.withOrg(orgId, (tx) => setPaused(tx, orgId, id, pause, owner, act));
  }

  /** @returns whether it was there. */
  async remove(orgId: string, id: string, act: Act): Promise<boolean> {
    return this.#database.withOrg(orgId, async (tx) => {
      const row = await tx.updateTable('schedules').set({ deleted_at: sql<Date>`now()`, version: sql<number>`version + 1` }).where('id', '=', id).where('deleted_at', 'is', null).returning('id').executeTakeFirst();
      if (row === undefined) return false;
      await announce(tx, act);
      return true;
    });
  }

  /** Firings that count against the limit. */
  async spent(orgId: string, { id, limitFrom }: Pick<StoredSchedule, 'id' | 'limitFrom'>): Promise<number> {
    return this.#database.withOrg(orgId, (tx) => spent(tx, id, limitFrom));
  }

  /** Takes note of a firing, with `missed` as one that is left out for that reason; the second time it answers what the first stored. */
  async begin(orgId: string, { id, scheduleId, dueAt, runId, missed }: { readonly id: string; readonly scheduleId: string; readonly dueAt: Date; readonly runId: string | null; readonly missed: string | undefined }): Promise<ScheduleFiring> {
    const begun = missed === undefined ? { state: 'running' as const, run_id: runId } : { state: 'skipped' as const, run_id: null, reason: missed, done_at: sql<Date>`now()` };
    return this.#database.withOrg(orgId, async (tx) => {
      await tx
        .insertInto('schedule_firings')
        .values({ org_id: orgId, id, schedule_id: scheduleId, due_at: dueAt, ...begun })
        .onConflict((conflict) => conflict.columns(['org_id', 'id']).doNothing())
        .execute();
      return firingOf(await tx.selectFrom('schedule_firings').selectAll().where('org_id', '=', orgId).where('id', '=', id).executeTakeFirstOrThrow());
    });
  }

  /** Firings of the schedule that were not seen to end, oldest first, but for this one. */
  async openBeside(orgId: string, scheduleId: string, id: string): Promise<ScheduleFiring[]> {
    return this.#database.withOrg(orgId, async (tx) => (await tx.selectFrom('schedule_firings').selectAll().where('schedule_id', '=', scheduleId).where('state', '=', 'running').where('id', '<>', id).orderBy('created_at').execute()).map(firingOf));
  }

  /** How a firing ended; with `pause` the schedule pauses in the same transaction. A firing that has ended stays as it is. */
  async settle(
    orgId: string,
    { id, scheduleId }: { readonly id: string; readonly scheduleId: string },
    outcome: { readonly state: Exclude<ScheduleFiringState, 'running'>; readonly reason?: string; readonly emittedKey?: string },
    pause?: { readonly note: string; readonly act: Act },
  ): Promise<void> {
    await this.#database.withOrg(orgId, async (tx) => {
      await tx
        .updateTable('schedule_firings')
        .set({ state: outcome.state, reason: outcome.reason ?? null, emitted_key: outcome.emittedKey ?? null, done_at: sql<Date>`now()` })
        .where('org_id', '=', orgId)
        .where('id', '=', id)
        .where('state', '=', 'running')
        .execute();
      if (pause !== undefined) await setPaused(tx, orgId, scheduleId, { by: 'hal9', note: pause.note }, undefined, pause.act);
    });
  }

  /** Newest first. `before` is the (created, id) of the last one of the page before. */
  async firings(orgId: string, scheduleId: string, limit: number, before?: { createdAt: Date; id: string }): Promise<ScheduleFiring[]> {
    return this.#database.withOrg(orgId, async (tx) => {
      let query = tx.selectFrom('schedule_firings').selectAll().where('schedule_id', '=', scheduleId).orderBy('created_at', 'desc').orderBy('id', 'desc').limit(limit);
      if (before !== undefined) query = query.where(sql<boolean>`(created_at, id) < (${before.createdAt}, ${before.id}::uuid)`);
      return (await query.execute()).map(firingOf);
    });
  }

  /** Schedules that Temporal does not have as they are, deleted ones included. */
  async unappliedAcrossOrganisations(limit: number): Promise<StoredSchedule[]> {
    const rows = await this.#database.system.selectFrom('schedules').selectAll().where((where) => where.or([where('deleted_at', 'is not', null), where.and([where('applied_version', '<', where.ref('version')), where('problem', 'is', null)])])).orderBy('updated_at').limit(limit).execute();
    return rows.map(stored);
  }

  /** Every schedule there should be in Temporal, by organisation and id; `after` continues. */
  async allAcrossOrganisations(limit: number, after?: { readonly orgId: string; readonly id: string }): Promise<StoredSchedule[]> {
    let query = this.#database.system.selectFrom('schedules').selectAll().orderBy('org_id').orderBy('id').limit(limit);
    if (after !== undefined) query = query.where(sql<boolean>`(org_id, id) > (${after.orgId}::uuid, ${after.id}::uuid)`);
    return (await query.execute()).map(stored);
  }

  /**
   * Makes Temporal as the row says, one process at a time for a schedule: whoever comes second finds the row as it is by then, so an older
   * version never lands on a newer one. Holds a transaction while Temporal is asked.
   * @param parts `apply` answers why Temporal refuses the version, or null; `remove` is for a row that is deleted or gone.
   * @returns the schedule as it was applied; undefined when there is none any more.
   */
  async applyAlone(orgId: string, id: string, parts: { readonly apply: (schedule: StoredSchedule, spent: number) => Promise<string | null>; readonly remove: () => Promise<void> }): Promise<StoredSchedule | undefined> {
    return this.#database.withOrg(orgId, async (tx) => {
      await sql`select pg_advisory_xact_lock(hashtextextended(${`schedule/${orgId}/${id}`}, 0))`.execute(tx);
      const row = await tx.selectFrom('schedules').selectAll().where('id', '=', id).executeTakeFirst();
      if (row === undefined || row.deleted_at !== null) {
        await parts.remove();
        await tx.deleteFrom('schedules').where('id', '=', id).where('deleted_at', 'is not', null).execute();
        return undefined;
      }
      const problem = await parts.apply(stored(row), await spent(tx, id, row.limit_from));
      const applied = problem === null ? { applied_version: row.version, problem } : { problem };
      // A change in between is a version of its own, to be applied by whoever made it.
      await tx.updateTable('schedules').set(applied).where('id', '=', id).where('version', '=', row.version).execute();
      return stored({ ...row, ...applied });
    });
  }

  /** Temporal lost it. */
  async forgetApplied(orgId: string, id: string): Promise<void> {
    await this.#database.withOrg(orgId, (tx) => tx.updateTable('schedules').set({ applied_version: 0 }).where('id', '=', id).execute());
  }

  /** Brings back a row that this database lost, from what Temporal kept. @returns false when it is there, its name is taken, or its organisation is gone. */
  async restore(schedule: Pick<StoredSchedule, 'orgId' | 'id' | 'version' | 'draft' | 'owner' | 'pausedBy' | 'note'>, act: Act): Promise<boolean> {
    const { orgId, id, version, draft, owner, pausedBy, note } = schedule;
    return this.#database.withOrg(orgId, async (tx) => {
      const known = await tx.selectFrom('organisations').select('org_id').where('org_id', '=', orgId).executeTakeFirst();
      if (known === undefined) return false;
      const row = await tx
        .insertInto('schedules')
        .values({ org_id: orgId, id, name: draft.name, version, applied_version: 0, draft: JSON.stringify(draft), ...ownerRow(owner), ...(pausedBy === null ? {} : { paused_at: new Date(), paused_by: pausedBy, note }) })
        .onConflict((conflict) => conflict.doNothing())
        .returning('id')
        .executeTakeFirst();
      if (row === undefined) return false;
      await announce(tx, act);
      return true;
    });
  }

  /** Firings that have run for so long that somebody should ask after them. */
  async openFiringsAcrossOrganisations(olderSeconds: number, limit: number): Promise<(ScheduleFiring & { readonly orgId: string })[]> {
    const rows = await this.#database.system.selectFrom('schedule_firings').selectAll().where('state', '=', 'running').where('created_at', '<', sql<Date>`now() - make_interval(secs => ${olderSeconds})`).orderBy('created_at').limit(limit).execute();
    return rows.map((row) => ({ ...firingOf(row), orgId: row.org_id }));
  }

  /** Removes firings that ended before so many days. */
  async forgetFiringsAcrossOrganisations(days: number): Promise<void> {
    await sql`delete from schedule_firings where created_at < now() - make_interval(days => ${days}) and state <> 'running'`.execute(this.#database.system);
  }
}

async function spent(tx: Tx, id: string, limitFrom: Date): Promise<number> {
  const { count } = await tx.selectFrom('schedule_firings').select(sql<number>`count(*)::int`.as('count')).where('schedule_id', '=', id).where('created_at', '>=', limitFrom).executeTakeFirstOrThrow();
  return count;
}

async function setPaused(tx: Tx, orgId: string, id: string, pause: SchedulePause | undefined, owner: AutomationOwner | undefined, act: Act): Promise<StoredSchedule | undefined> {
  const row = await tx
    .updateTable('schedules')
    .set({
      version: sql<number>`version + 1`, updated_at: sql<Date>`now()`, ...(owner === undefined ? {} : ownerRow(owner)),
      ...(pause === undefined ? { paused_at: null, paused_by: null, note: null } : { paused_at: sql<Date>`coalesce(paused_at, now())`, paused_by: pause.by, note: pause.note }),
    })
    .where('org_id', '=', orgId)
    .where('id', '=', id)
    .where('deleted_at', 'is', null)
    .returningAll()
    .executeTakeFirst();
  if (row === undefined) return undefined;
  await announce(tx, act);
  return stored(row);
}

async function announce(tx: Tx, act: Act): Promise<void> {
  await recordAct(tx, act);
  await sql`select pg_notify(${SCHEDULES_CHANNEL}, '')`.execute(tx);
}

function ownerRow({ kind, id, scopes }: AutomationOwner) {
  return { owner_kind: kind, owner_id: id, owner_scopes: [...scopes] };
}

function stored(row: Selectable<ScheduleTables['schedules']>): StoredSchedule {
  return {
    orgId: row.org_id,
    id: row.id,
    version: row.version,
    appliedVersion: row.applied_version,
    problem: row.problem,
    draft: row.draft,
    owner: { kind: row.owner_kind, id: row.owner_id, scopes: row.owner_scopes },
    pausedAt: row.paused_at,
    pausedBy: row.paused_by,
    note: row.note,
    limitFrom: row.limit_from,
    deletedAt: row.deleted_at,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
  };
}

function firingOf(row: Selectable<ScheduleTables['schedule_firings']>): ScheduleFiring {
  return { id: row.id, scheduleId: row.schedule_id, dueAt: row.due_at, state: row.state, reason: row.reason, runId: row.run_id, emittedKey: row.emitted_key, createdAt: row.created_at, doneAt: row.done_at };
}
