import { sql } from 'kysely';
import type { Progress } from '../schemas/names/messages.ts';
import type { Database } from './database.ts';
import type { RunEventType } from './run-tables.ts';

/** PostgreSQL channel that carries `<organisation> <run>` of each run whose row changed. */
export const RUN_CHANNEL = 'hal9_runs';
/** PostgreSQL channel that says that runs have ended, so that the read model need not wait to be told by Temporal's visibility. */
export const RUN_ENDED_CHANNEL = 'hal9_runs_ended';
/** Events of one run in one answer. */
const PAGE = 500;

export interface RunEvent {
  /** From 1, without gaps in a run. */
  readonly seq: number;
  readonly type: RunEventType;
  readonly at: Date;
  readonly data: Readonly<Record<string, unknown>>;
}

export interface ProgressReport {
  readonly orgId: string;
  readonly runId: string;
  readonly progress: Progress;
}

/**
 * What happens to runs between their start and their end. Events are changes of the row in `runs` (a trigger numbers them), so a
 * method that changes the row is all it takes.
 */
export class RunEventStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /** For each run what came after `seq`, in order; at most 500 events a run. */
  async after(orgId: string, wanted: readonly { runId: string; seq: number }[]): Promise<Map<string, RunEvent[]>> {
    const { rows } = await this.#database.withOrg(orgId, (tx) =>
      sql<RunEvent & { run_id: string }>`
        select wanted.run_id, event.* from unnest(${wanted.map(({ runId }) => runId)}::text[], ${wanted.map(({ seq }) => seq)}::bigint[]) as wanted (run_id, seq),
          lateral (select e.seq, e.type, e.at, e.data from run_events e where e.org_id = ${orgId} and e.run_id = wanted.run_id and e.seq > wanted.seq order by e.seq limit ${PAGE}) as event
        order by wanted.run_id, event.seq`.execute(tx),
    );
    const byRun = new Map<string, RunEvent[]>();
    for (const { run_id: runId, seq, type, at, data } of rows) {
      const list = byRun.get(runId) ?? [];
      list.push({ seq, type, at, data });
      byRun.set(runId, list);
    }
    return byRun;
  }

  /**
   * Writes how far open runs are.
   * @returns those whose run is not in the read model yet, to be written later.
   */
  async reportOfAllOrganisations(reports: readonly ProgressReport[]): Promise<ProgressReport[]> {
    if (reports.length === 0) return [];
    const list = [...reports].sort((a, b) => (`${a.orgId} ${a.runId}` < `${b.orgId} ${b.runId}` ? -1 : 1));
    const { rows } = await sql<{ org_id: string; run_id: string }>`
      with fresh as (select * from unnest(${list.map((report) => report.orgId)}::uuid[], ${list.map((report) => report.runId)}::text[], ${list.map((report) => JSON.stringify(report.progress))}::jsonb[]) as f (org_id, run_id, progress)),
      locked as (select r.org_id, r.run_id, r.closed_at, f.progress from runs r join fresh f on f.org_id = r.org_id and f.run_id = r.run_id order by r.org_id, r.run_id for no key update of r),
      -- A run that has ended needs no progress any more.
      written as (update runs r set progress = l.progress from locked l where r.org_id = l.org_id and r.run_id = l.run_id and l.closed_at is null)
      select org_id, run_id from locked`.execute(this.#database.system);
    const known = new Set(rows.map((row) => `${row.org_id} ${row.run_id}`));
    return list.filter((report) => !known.has(`${report.orgId} ${report.runId}`));
  }

  /** Tells the projector that runs of some organisation ended. */
  async announceEndsOfAllOrganisations(): Promise<void> {
    await sql`select pg_notify(${RUN_ENDED_CHANNEL}, '')`.execute(this.#database.system);
  }

  /** Notes that a run was paused or goes on. */
  async pause(orgId: string, runId: string, paused: boolean): Promise<void> {
    await this.#database.withOrg(orgId, async (tx) => {
      await tx.updateTable('runs').set({ paused_at: paused ? new Date() : null }).where('org_id', '=', orgId).where('run_id', '=', runId).where('closed_at', 'is', null).where('paused_at', paused ? 'is' : 'is not', null).execute();
    });
  }

  /** Notes which run took over the input of this one. */
  async retry(orgId: string, runId: string, retriedBy: string): Promise<void> {
    await this.#database.withOrg(orgId, async (tx) => {
      await tx.updateTable('runs').set({ retried_by: retriedBy }).where('org_id', '=', orgId).where('run_id', '=', runId).execute();
    });
  }

  /** Opens a run again in the next epoch. */
  async replay(orgId: string, runId: string, epoch: number): Promise<void> {
    await this.#database.withOrg(orgId, async (tx) => {
      await tx.updateTable('runs').set({ status: 'running', closed_at: null, failure: null, progress: null, paused_at: null, epoch }).where('org_id', '=', orgId).where('run_id', '=', runId).execute();
    });
  }
}
