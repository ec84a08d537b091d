import { sql, type ColumnType, type Generated } from 'kysely';
import { recordAct, type Act } from './audit-acts.ts';
import type { Database } from './database.ts';
import type { Timestamp } from './organisations.ts';
import type { BulkActionName } from '../schemas/operations/bulk.ts';

export type BulkItemState = 'waiting' | 'doing' | 'done' | 'failed' | 'aborted';

export interface BulkTables {
  bulk_actions: { org_id: string; id: string; action: BulkActionName; actor_kind: string; actor_id: string; scopes: string[]; created_at: Timestamp; start_sealed: Buffer | null };
  bulk_items: { org_id: string; bulk_id: string; n: number; run_id: string; state: Generated<BulkItemState>; failure: string | null; new_run_id: string | null; at: ColumnType<Date | null, Date | null | undefined, Date | null> };
}

/** Milliseconds after which an action whose run is not there was left behind by a process that died. */
const LEFT_MS = 5_000;

export interface BulkAction {
  readonly orgId: string;
  readonly id: string;
  readonly action: BulkActionName;
  readonly actor: { readonly kind: string; readonly id: string };
  readonly scopes: readonly string[];
}

/** Which runs an action is for. */
export type BulkSelection =
  | { readonly runIds: readonly string[] }
  | { readonly operations: readonly string[] | undefined; readonly status?: string | undefined; readonly tag?: string | undefined; readonly failure?: string | undefined; readonly from?: Date | undefined; readonly to?: Date | undefined; readonly limit: number };

export interface BulkItem {
  readonly n: number;
  readonly runId: string;
  readonly state: BulkItemState;
  readonly failure: string | null;
  readonly newRunId: string | null;
  readonly at: Date | null;
}

export type BulkCounts = Readonly<Record<BulkItemState, number>>;

/** Actions on many runs, and what became of each. */
export class BulkActionStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /**
   * Writes the action with its items and what its run is to be started with, all or nothing.
   * @param startSealed kept until {@link begun} or {@link abort}.
   * @returns how many runs it is for; with none nothing is written.
   */
  async create(action: BulkAction, selection: BulkSelection, startSealed: Buffer, act: (items: number) => Act): Promise<number> {
    const { orgId, id, actor, scopes } = action;
    return this.#database.withOrg(orgId, async (tx) => {
      await tx.insertInto('bulk_actions').values({ org_id: orgId, id, action: action.action, actor_kind: actor.kind, actor_id: actor.id, scopes: [...scopes], start_sealed: startSealed }).execute();
      const chosen =
        'runIds' in selection
          ? sql`select distinct run_id from unnest(${selection.runIds}::text[]) as given (run_id)`
          : sql`select run_id from runs where org_id = ${orgId}
              and (${selection.operations === undefined} or operation = any (${selection.operations ?? []}::text[]))
              and (${selection.status ?? null}::text is null or status = ${selection.status ?? null})
              and (${selection.tag ?? null}::text is null or tags @> array[${selection.tag ?? null}]::text[])
              and (${selection.failure ?? null}::text is null or failure = ${selection.failure ?? null})
              and (${selection.from ?? null}::timestamptz is null or started_at >= ${selection.from ?? null})
              and (${selection.to ?? null}::timestamptz is null or started_at < ${selection.to ?? null})
            order by started_at, run_id limit ${selection.limit}`;
      const { numAffectedRows = 0n } = await sql`insert into bulk_items (org_id, bulk_id, n, run_id) select ${orgId}, ${id}, row_number() over (), run_id from (${chosen}) as chosen`.execute(tx);
      if (numAffectedRows === 0n) await tx.deleteFrom('bulk_actions').where('org_id', '=', orgId).where('id', '=', id).execute();
      else await recordAct(tx, act(Number(numAffectedRows)));
      return Number(numAffectedRows);
    });
  }

  async get(orgId: string, id: string): Promise<(BulkAction & { createdAt: Date }) | undefined> {
    const row = await this.#database.withOrg(orgId, (tx) => tx.selectFrom('bulk_actions').selectAll().where('org_id', '=', orgId).where('id', '=', id).executeTakeFirst());
    return row === undefined ? undefined : { orgId, id, action: row.action, actor: { kind: row.actor_kind, id: row.actor_id }, scopes: row.scopes, createdAt: row.created_at };
  }

  /** Its run is there. */
  async begun(orgId: string, id: string): Promise<void> {
    await this.#database.withOrg(orgId, (tx) => tx.updateTable('bulk_actions').set({ start_sealed: null }).where('org_id', '=', orgId).where('id', '=', id).execute());
  }

  /** Actions that were written seconds ago and whose run is not known to be there, the oldest first. */
  async leftAcrossOrganisations(limit: number): Promise<(BulkAction & { startSealed: Buffer })[]> {
    const rows = await this.#database.system.selectFrom('bulk_actions').selectAll().where('start_sealed', 'is not', null).where('created_at', '<', new Date(Date.now() - LEFT_MS)).orderBy('created_at').limit(limit).execute();
    return rows.flatMap((row) => (row.start_sealed === null ? [] : [{ orgId: row.org_id, id: row.id, action: row.action, actor: { kind: row.actor_kind, id: row.actor_id }, scopes: row.scopes, startSealed: row.start_sealed }]));
  }

  async counts(orgId: string, id: string): Promise<BulkCounts> {
    const rows = await this.#database.withOrg(orgId, (tx) =>
      tx.selectFrom('bulk_items').select(['state', sql<number>`count(*)::int`.as('count')]).where('org_id', '=', orgId).where('bulk_id', '=', id).groupBy('state').execute(),
    );
    return { waiting: 0, doing: 0, done: 0, failed: 0, aborted: 0, ...Object.fromEntries(rows.map(({ state, count }) => [state, count])) };
  }

  async items(orgId: string, id: string, query: { state?: BulkItemState | undefined; after: number; limit: number }): Promise<BulkItem[]> {
    return this.#database.withOrg(orgId, (tx) => {
      let select = tx.selectFrom('bulk_items').select(['n', 'run_id as runId', 'state', 'failure', 'new_run_id as newRunId', 'at']).where('org_id', '=', orgId).where('bulk_id', '=', id).where('n', '>', query.after);
      if (query.state !== undefined) select = select.where('state', '=', query.state);
      return select.orderBy('n').limit(query.limit).execute();
    });
  }

  /** Takes the next items; those that a crash left under way come first and say so. */
  async take(orgId: string, id: string, limit: number): Promise<{ n: number; runId: string; again: boolean }[]> {
    return this.#database.withOrg(orgId, async (tx) => {
      const { rows } = await sql<{ n: number; runId: string; again: boolean }>`
        with next as materialized (select n from bulk_items where org_id = ${orgId} and bulk_id = ${id} and state in ('waiting', 'doing') order by n limit ${limit} for update)
        update bulk_items i set state = 'doing', at = now() from next where i.org_id = ${orgId} and i.bulk_id = ${id} and i.n = next.n
        returning i.n, i.run_id as "runId", old.state = 'doing' as again`.execute(tx);
      return rows.sort((a, b) => a.n - b.n);
    });
  }

  async finish(orgId: string, id: string, n: number, outcome: { failure: string | null; newRunId: string | null }): Promise<void> {
    await this.#database.withOrg(orgId, (tx) =>
      tx.updateTable('bulk_items').set({ state: outcome.failure === null ? 'done' : 'failed', failure: outcome.failure, new_run_id: outcome.newRunId, at: new Date() }).where('org_id', '=', orgId).where('bulk_id', '=', id).where('n', '=', n).execute(),
    );
  }

  /** Gives up what has not begun. */
  async abort(orgId: string, id: string): Promise<void> {
    await this.#database.withOrg(orgId, async (tx) => {
      await tx.updateTable('bulk_actions').set({ start_sealed: null }).where('org_id', '=', orgId).where('id', '=', id).execute();
      await tx.updateTable('bulk_items').set({ state: 'aborted', at: new Date() }).where('org_id', '=', orgId).where('bulk_id', '=', id).where('state', '=', 'waiting').execute();
    });
  }
}
