import { sql } from 'kysely';
import type { Database } from './database.ts';
import type { RunStatus } from './run-tables.ts';

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
}

export interface RunQuery {
  /** Undefined for all. */
  operations: readonly string[] | undefined;
  status?: RunStatus;
  tag?: string;
  startedFrom?: Date;
  startedTo?: Date;
  limit: number;
  /** The last run of the page before. */
  after?: { startedAt: Date; runId: string };
}

/** The read model of runs: written for all organisations by background work, read by one. */
export class RunStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /**
   * Adds or refreshes runs of any organisation in one statement. A later execution under the same id replaces an earlier one;
   * for the same execution what is known is kept and what is new is added, in whatever order the rows arrive.
   */
  async recordOfAllOrganisations(rows: readonly RunRow[]): Promise<void> {
    if (rows.length === 0) return;
    // One statement cannot touch a row twice.
    const latest = new Map(rows.map((row) => [`${row.orgId} ${row.runId}`, row]));
    const list = [...latest.values()];
    const column = (pick: (row: RunRow) => unknown): unknown[] => list.map(pick);
    await sql`
      insert into runs as known (org_id, run_id, operation, origin, status, tags, actor, request_id, traceparent, started_at, closed_at, failure)
      select org_id, run_id, operation, origin, status, array(select jsonb_array_elements_text(tags)), actor, request_id, traceparent, started_at, closed_at, failure
      from unnest(
        ${column((row) => row.orgId)}::uuid[], ${column((row) => row.runId)}::text[], ${column((row) => row.operation)}::text[],
        ${column((row) => row.origin)}::text[], ${column((row) => row.status)}::text[], ${column((row) => JSON.stringify(row.tags))}::jsonb[],
        ${column((row) => row.actor)}::text[], ${column((row) => row.requestId)}::text[], ${column((row) => row.traceparent)}::text[],
        ${column((row) => row.startedAt)}::timestamptz[], ${column((row) => row.closedAt)}::timestamptz[], ${column((row) => row.failure)}::text[]
      ) as fresh (org_id, run_id, operation, origin, status, tags, actor, request_id, traceparent, started_at, closed_at, failure)
      on conflict (org_id, run_id) do update set
        status = case when excluded.status = 'running' and not ${isLater} then known.status else excluded.status end,
        closed_at = case when excluded.status = 'running' and not ${isLater} then known.closed_at else excluded.closed_at end,
        failure = case when ${isLater} then excluded.failure else coalesce(excluded.failure, known.failure) end,
        origin = excluded.origin,
        tags = case when excluded.tags = '{}' then known.tags else excluded.tags end,
        actor = coalesce(excluded.actor, known.actor),
        request_id = coalesce(excluded.request_id, known.request_id),
        traceparent = coalesce(excluded.traceparent, known.traceparent),
        started_at = greatest(excluded.started_at, known.started_at)
      where excluded.started_at >= known.started_at - interval '1 minute'
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
    const { operations, status, tag, startedFrom, startedTo, after } = query;
    if (operations?.length === 0) return [];
    const rows = await this.#database.withOrg(orgId, (tx) => {
      let select = tx.selectFrom('runs').selectAll().where('org_id', '=', orgId);
      if (operations !== undefined) select = select.where('operation', 'in', [...operations]);
      if (status !== undefined) select = select.where('status', '=', status);
      if (tag !== undefined) select = select.where(sql<boolean>`tags @> array[${tag}]::text[]`);
      if (startedFrom !== undefined) select = select.where('started_at', '>=', startedFrom);
      if (startedTo !== undefined) select = select.where('started_at', '<', startedTo);
      if (after !== undefined) select = select.where(sql<boolean>`(started_at, run_id) < (${after.startedAt}, ${after.runId})`);
      return select.orderBy('started_at', 'desc').orderBy('run_id', 'desc').limit(query.limit).execute();
    });
    return rows.map(fromRow);
  }

  /** Open runs of all organisations that started before; the projector checks whether they still exist. */
  async openOfAllOrganisations(startedBefore: Date, limit: number): Promise<RunRow[]> {
    const rows = await this.#database.system.selectFrom('runs').selectAll().where('status', '=', 'running').where('started_at', '<', startedBefore).orderBy('started_at').limit(limit).execute();
    return rows.map(fromRow);
  }
}

/** Another, later execution under the same id: starts are at least this far apart, clocks of the two writers nearer. */
const isLater = sql<boolean>`(excluded.started_at > known.started_at + interval '1 minute' or (known.closed_at is not null and excluded.started_at >= known.closed_at))`;

function fromRow(row: {
  org_id: string; run_id: string; operation: string; origin: string; status: RunStatus; tags: string[]; actor: string | null;
  request_id: string | null; traceparent: string | null; started_at: Date; closed_at: Date | null; failure: string | null;
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
  };
}
