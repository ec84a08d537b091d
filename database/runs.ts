import { sql } from 'kysely';
import { v7 } from 'uuid';
import { storablePersonal, type Act } from './audit-acts.ts';
import type { Database } from './database.ts';
import type { Progress } from '../schemas/names/messages.ts';
import type { RunStatus } from './run-tables.ts';
import { KEY_DAYS } from './usage.ts';

export interface RunRow {
  orgId: string;
  runId: string;
  operation: string;
  origin: string;
  status: RunStatus;
  tags: readonly string[];
  actor: string | null;
  requestId: string | null;
  traceparent: string | null;
  startedAt: Date;
  closedAt: Date | null;
  failure: string | null;
  /** The run whose input it was started with again. */
  retryOf?: string | null;
  /** Read only: written by what happens to the run. */
  state?: { readonly pausedAt: Date | null; readonly progress: Progress | null; readonly retriedBy: string | null; readonly epoch: number };
  /** What its start's act says besides; left out where it is not known any more. */
  startAct?: { readonly impersonatorId: string | null; readonly risk: number; readonly personal: Act['personal'] } | undefined;
}

/** Which runs somebody may see. */
export interface VisibleRuns {
  /** Of these operations; undefined for all. */
  readonly operations: readonly string[] | undefined;
  /** And these, whatever their operation. */
  readonly runIds?: readonly string[];
}

export interface RunQuery extends VisibleRuns {
  status?: RunStatus;
  tag?: string;
  /** Part of the failure's type, upper and lower case alike. */
  failure?: string;
  /** `<kind>:<id>`. */
  actor?: string;
  /** One or several, with commas between. */
  origin?: string;
  startedFrom?: Date;
  startedTo?: Date;
  limit: number;
  /** The last run of the page before. */
  after?: { startedAt: Date; runId: string };
}

/** Runs that failed in the same way. */
export interface FailureGroup {
  readonly operation: string;
  readonly failure: string;
  readonly count: number;
  readonly firstAt: Date;
  readonly lastAt: Date;
  /** Ids of the latest of them. */
  readonly samples: readonly string[];
}

/** The read model of runs: written for all organisations by background work, read by one. */
export class RunStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /**
   * Adds or refreshes runs of any organisation in one statement. A later execution under the same id replaces an earlier one;
   * for the same execution what is known is kept and what is new is added, in whatever order the rows arrive. Whoever writes an
   * execution first writes the act of its start too.
   */
  async recordOfAllOrganisations(rows: readonly RunRow[]): Promise<void> {
    if (rows.length === 0) return;
    // One statement cannot touch a row twice.
    const latest = new Map<string, RunRow>();
    for (const row of rows) {
      const key = `${row.orgId} ${row.runId}`;
      const other = latest.get(key);
      if (other === undefined || row.startedAt >= other.startedAt) latest.set(key, row);
    }
    // Always in one order: two writers that share rows wait for each other instead of deadlocking.
    const list = [...latest].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, row]) => row);
    const column = (pick: (row: RunRow) => unknown): unknown[] => list.map(pick);
    await sql`
      with written as (insert into runs as known (org_id, run_id, operation, origin, status, tags, actor, request_id, traceparent, started_at, closed_at, failure, retry_of)
      select org_id, run_id, operation, origin, status, array(select jsonb_array_elements_text(tags)), actor, request_id, traceparent, started_at, closed_at, failure, retry_of
      from unnest(
        ${column((row) => row.orgId)}::uuid[], ${column((row) => row.runId)}::text[], ${column((row) => row.operation)}::text[],
        ${column((row) => row.origin)}::text[], ${column((row) => row.status)}::text[], ${column((row) => JSON.stringify(row.tags))}::jsonb[],
        ${column((row) => row.actor)}::text[], ${column((row) => row.requestId)}::text[], ${column((row) => row.traceparent)}::text[],
        ${column((row) => row.startedAt)}::timestamptz[], ${column((row) => row.closedAt)}::timestamptz[], ${column((row) => row.failure)}::text[], ${column((row) => row.retryOf ?? null)}::text[]
      ) as fresh (org_id, run_id, operation, origin, status, tags, actor, request_id, traceparent, started_at, closed_at, failure, retry_of)
      on conflict (org_id, run_id) do update set
        status = case when ${isStale} then known.status else excluded.status end,
        closed_at = case when ${isStale} then known.closed_at else excluded.closed_at end,
        failure = case when ${isStale} then known.failure else excluded.failure end,
        origin = excluded.origin,
        tags = case when excluded.tags = '{}' then known.tags else excluded.tags end,
        actor = coalesce(excluded.actor, known.actor),
        request_id = coalesce(excluded.request_id, known.request_id),
        traceparent = coalesce(excluded.traceparent, known.traceparent),
        retry_of = coalesce(excluded.retry_of, known.retry_of),
        paused_at = case when excluded.closed_at is null or ${isStale} then known.paused_at end,
        -- While a run is open it may go on under a new history; its start stays the first one.
        started_at = case when known.closed_at is null or ${isStale} then least(known.started_at, excluded.started_at) else excluded.started_at end
        -- A row that was inserted, not updated, has no transaction that ended it. One that had ended begins anew.
        returning new.*, old.run_id is null as is_new, old.run_id is null or (old.closed_at is not null and new.started_at > old.closed_at) as is_start),
      acts as (insert into audit_acts (org_id, id, action, result, actor_kind, actor_id, impersonator_id, resource_kind, resource_id, request_id, risk, details, personal)
      select w.org_id, a.id, 'run.start', 'succeeded', split_part(w.actor, ':', 1), substr(w.actor, strpos(w.actor, ':') + 1), a.impersonator_id, 'run', w.run_id,
        coalesce(w.request_id, ''), a.risk, jsonb_build_object('operation', w.operation, 'origin', w.origin), a.personal
      from written w join organisations o on o.org_id = w.org_id
      join unnest(
        ${column((row) => row.orgId)}::uuid[], ${column((row) => row.runId)}::text[], ${column(() => v7())}::uuid[], ${column((row) => row.startAct?.impersonatorId ?? null)}::text[],
        ${column((row) => row.startAct?.risk ?? 0)}::smallint[], ${column((row) => JSON.stringify(storablePersonal(row.startAct?.personal ?? {})))}::jsonb[]
      ) as a (org_id, run_id, id, impersonator_id, risk, personal) on a.org_id = w.org_id and a.run_id = w.run_id
      -- Cascades are the data plane's own record. A read model that is rebuilt meets starts that were written down long ago.
      where w.is_start and w.actor is not null and w.origin <> 'dispatcher' and w.started_at > now() - interval '1 hour'
        and not exists (select 1 from audit_entries e where e.org_id = w.org_id and e.resource_id = w.run_id and e.action = 'run.start' and e.at >= w.started_at - interval '1 minute'))
      insert into usage_events (org_id, meter, key, quantity)
      select w.org_id, 'runs', w.run_id, 1 from written w join organisations o on o.org_id = w.org_id
      -- Cascades are paid as signals. A read model that is rebuilt meets runs whose keys of usage may be forgotten.
      where w.is_new and w.origin <> 'dispatcher' and w.started_at > now() - make_interval(days => ${KEY_DAYS})
      on conflict do nothing
    `.execute(this.#database.system);
  }

  /** One run of the organisation, or undefined. */
  async get(orgId: string, runId: string): Promise<RunRow | undefined> {
    const row = await this.#database.withOrg(orgId, (tx) =>
      tx.selectFrom('runs').selectAll().where('org_id', '=', orgId).where('run_id', '=', runId).executeTakeFirst(),
    );
    return row === undefined ? undefined : fromRow(row);
  }

  /** Newest first. */
  async list(orgId: string, query: RunQuery): Promise<RunRow[]> {
    const { status, tag, failure, actor, origin, startedFrom, startedTo, after } = query;
    const rows = await this.#database.withOrg(orgId, (tx) => {
      let select = tx.selectFrom('runs').selectAll().where('org_id', '=', orgId).where(visible(query));
      if (status !== undefined) select = select.where('status', '=', status);
      if (tag !== undefined) select = select.where(sql<boolean>`tags @> array[${tag}]::text[]`);
      if (failure !== undefined) select = select.where('failure', 'ilike', `%${failure.replace(/[\\%_]/g, '\\$&')}%`);
      if (actor !== undefined) select = select.where('actor', '=', actor);
      if (origin !== undefined) select = select.where('origin', 'in', origin.split(','));
      if (startedFrom !== undefined) select = select.where('started_at', '>=', startedFrom);
      if (startedTo !== undefined) select = select.where('started_at', '<', startedTo);
      if (after !== undefined) select = select.where(sql<boolean>`(started_at, run_id) < (${after.startedAt}, ${after.runId})`);
      return select.orderBy('started_at', 'desc').orderBy('run_id', 'desc').limit(query.limit).execute();
    });
    return rows.map(fromRow);
  }

  /** Runs that failed or timed out, by operation and type of failure, the latest first. */
  async failures(orgId: string, query: VisibleRuns & { from: Date; to: Date; limit: number }): Promise<FailureGroup[]> {
    const { from, to, limit } = query;
    return this.#database.withOrg(orgId, (tx) => {
      const select = tx
        .selectFrom('runs')
        .select([
          'operation',
          sql<string>`coalesce(failure, case status when 'timed-out' then 'Timeout' else 'Internal' end)`.as('failure'),
          sql<number>`count(*)::int`.as('count'),
          sql<Date>`min(closed_at)`.as('firstAt'),
          sql<Date>`max(closed_at)`.as('lastAt'),
          sql<string[]>`(array_agg(run_id order by closed_at desc))[1:5]`.as('samples'),
        ])
        .where('org_id', '=', orgId)
        .where('status', 'in', ['failed', 'timed-out'])
        .where('closed_at', '>=', from)
        .where('closed_at', '<', to)
        .where(visible(query));
      return select.groupBy([sql`1`, sql`2`]).orderBy(sql`5 desc`).orderBy(sql`1`).orderBy(sql`2`).limit(limit).execute();
    });
  }

  /**
   * Runs `work` with the time up to which Temporal was read, unless another process is at it, and keeps the time it answers.
   * @returns whether it ran.
   */
  async projectOfAllOrganisations(name: string, work: (watermark: Date | undefined) => Promise<Date | undefined>): Promise<boolean> {
    return this.#database.system.transaction().execute(async (tx) => {
      const lock = await sql<{ taken: boolean }>`select pg_try_advisory_xact_lock(hashtextextended(${`hal9 projection ${name}`}, 0)) as taken`.execute(tx);
      if (lock.rows[0]?.taken !== true) return false;
      const row = await tx.selectFrom('run_projections').select('watermark').where('name', '=', name).executeTakeFirst();
      const watermark = await work(row?.watermark);
      if (watermark !== undefined && watermark.getTime() !== row?.watermark.getTime()) {
        await tx.insertInto('run_projections').values({ name, watermark }).onConflict((conflict) => conflict.column('name').doUpdateSet({ watermark })).execute();
      }
      return true;
    });
  }

  /** Open runs of all organisations that started before; the projector checks whether they still exist. */
  async openOfAllOrganisations(startedBefore: Date, limit: number): Promise<RunRow[]> {
    const rows = await this.#database.system.selectFrom('runs').selectAll().where('status', '=', 'running').where('started_at', '<', startedBefore).orderBy('started_at').limit(limit).execute();
    return rows.map(fromRow);
  }
}

/** News of an execution whose end is known already: it started before that end. */
const isStale = sql<boolean>`(known.closed_at is not null and excluded.started_at < known.closed_at and (excluded.closed_at is null or excluded.closed_at < known.closed_at))`;

function visible({ operations, runIds = [] }: VisibleRuns) {
  return operations === undefined ? sql<boolean>`true` : sql<boolean>`(operation = any(${[...operations]}::text[]) or run_id = any(${[...runIds]}::text[]))`;
}

function fromRow(row: {
  org_id: string; run_id: string; operation: string; origin: string; status: RunStatus; tags: string[]; actor: string | null;
  request_id: string | null; traceparent: string | null; started_at: Date; closed_at: Date | null; failure: string | null;
  paused_at: Date | null; progress: Progress | null; retry_of: string | null; retried_by: string | null; epoch: number;
}): RunRow {
  return {
    orgId: row.org_id,
    runId: row.run_id,
    operation: row.operation,
    origin: row.origin,
    status: row.status,
    tags: row.tags,
    actor: row.actor,
    requestId: row.request_id,
    traceparent: row.traceparent,
    startedAt: row.started_at,
    closedAt: row.closed_at,
    failure: row.failure,
    retryOf: row.retry_of,
    state: { pausedAt: row.paused_at, progress: row.progress, retriedBy: row.retried_by, epoch: row.epoch },
  };
}
