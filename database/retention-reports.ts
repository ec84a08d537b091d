import { sql, type ColumnType, type Generated, type Selectable } from 'kysely';
import type { RetentionState, RetentionTable } from '../schemas/privacy/retention.ts';
import { recordAct, type Act } from './audit-acts.ts';
import type { Database } from './database.ts';
import type { Timestamp } from './organisations.ts';

export interface RetentionReportTables {
  retention_reports: {
    org_id: string;
    id: string;
    source: string;
    dry_run: boolean;
    state: RetentionState;
    reasons: Generated<string[]>;
    started_at: Timestamp;
    finished_at: ColumnType<Date | null, Date | undefined, Date>;
  };
  retention_tables: {
    org_id: string;
    report_id: string;
    table_name: string;
    place: number;
    keep: string;
    since: string;
    cutoff: ColumnType<Date, Date, never>;
    due: number;
    deleted: Generated<number>;
    partitions: Generated<string[]>;
    held: number;
    referenced: number;
    remaining: number | null;
    why: string | null;
  };
}

export interface RetentionReport {
  readonly id: string;
  readonly source: string;
  readonly dryRun: boolean;
  readonly state: RetentionState;
  readonly reasons: readonly string[];
  readonly startedAt: Date;
  readonly finishedAt: Date | null;
}

/** A table as a run begins with it. */
export type PlannedRetention = Pick<RetentionTable, 'table' | 'keep' | 'since' | 'due' | 'held' | 'referenced' | 'why'> & { readonly cutoff: Date };

/** What runs of `retention` found and deleted. */
export class RetentionReportStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /** Opens the report with what is to be done. One that is there stays as it is: a run counts once. */
  async open(orgId: string, { id, source, dryRun }: Pick<RetentionReport, 'id' | 'source' | 'dryRun'>, tables: readonly PlannedRetention[]): Promise<void> {
    await this.#database.withOrg(orgId, async (tx) => {
      const made = await tx.insertInto('retention_reports').values({ org_id: orgId, id, source, dry_run: dryRun, state: 'running' }).onConflict((conflict) => conflict.columns(['org_id', 'id']).doNothing()).returning('id').executeTakeFirst();
      if (made === undefined || tables.length === 0) return;
      await tx
        .insertInto('retention_tables')
        .values(tables.map(({ table, keep, since, cutoff, due, held, referenced, why }, place) => ({ org_id: orgId, report_id: id, table_name: table, place, keep, since, cutoff, due, held, referenced, remaining: null, why })))
        .execute();
    });
  }

  async find(orgId: string, id: string): Promise<RetentionReport | undefined> {
    return this.#database.withOrg(orgId, async (tx) => {
      const row = await tx.selectFrom('retention_reports').selectAll().where('id', '=', id).executeTakeFirst();
      return row === undefined ? undefined : fromRow(row);
    });
  }

  /** Latest first. @param before (started, id) of the last of the page before. */
  async list(orgId: string, limit: number, before?: { createdAt: Date; id: string }): Promise<RetentionReport[]> {
    return this.#database.withOrg(orgId, async (tx) => {
      let query = tx.selectFrom('retention_reports').selectAll().orderBy('started_at', 'desc').orderBy('id', 'desc').limit(limit);
      if (before !== undefined) query = query.where(sql<boolean>`(date_trunc('milliseconds', started_at), id) < (${before.createdAt}, ${before.id}::uuid)`);
      return (await query.execute()).map(fromRow);
    });
  }

  /** In the order in which they are swept. */
  async tables(orgId: string, id: string): Promise<(Omit<RetentionTable, 'cutoff'> & { readonly cutoff: Date })[]> {
    return this.#database.withOrg(orgId, async (tx) => {
      const rows = await tx.selectFrom('retention_tables').selectAll().where('report_id', '=', id).orderBy('place').execute();
      return rows.map(({ table_name: table, keep, since, cutoff, due, deleted, partitions, held, referenced, remaining, why }) => ({ table, keep, since, cutoff, due, deleted, partitions, held, referenced, left: remaining, why }));
    });
  }

  /** Counts rows as deleted, after they were. */
  async count(orgId: string, id: string, table: string, deleted: number, partitions: readonly string[]): Promise<void> {
    await this.#database.withOrg(orgId, async (tx) => {
      await tx.updateTable('retention_tables').set({ deleted: sql`deleted + ${deleted}`, partitions: sql`partitions || ${[...partitions]}::text[]` }).where('report_id', '=', id).where('table_name', '=', table).execute();
    });
  }

  /**
   * Ends it once. A count that was lost with its process is made up by what was due and is gone.
   * @param left rows that are still there, by table.
   */
  async finish(orgId: string, id: string, state: Exclude<RetentionState, 'running'>, reasons: readonly string[], left: ReadonlyMap<string, number>, act: (deleted: number) => Act): Promise<{ due: number; deleted: number }> {
    return this.#database.withOrg(orgId, async (tx) => {
      const ended = await tx.updateTable('retention_reports').set({ state, reasons: [...reasons], finished_at: sql<Date>`now()` }).where('id', '=', id).where('finished_at', 'is', null).returning('id').executeTakeFirst();
      if (ended !== undefined) {
        for (const [table, remaining] of left) {
          await tx.updateTable('retention_tables').set({ remaining, deleted: sql`greatest(deleted, due - ${remaining})` }).where('report_id', '=', id).where('table_name', '=', table).execute();
        }
      }
      const sums = await tx.selectFrom('retention_tables').select([sql<number>`coalesce(sum(due) filter (where why is null), 0)::int`.as('due'), sql<number>`coalesce(sum(deleted), 0)::int`.as('deleted')]).where('report_id', '=', id).executeTakeFirstOrThrow();
      if (ended !== undefined) await recordAct(tx, act(sums.deleted));
      return sums;
    });
  }
}

function fromRow(row: Selectable<RetentionReportTables['retention_reports']>): RetentionReport {
  return { id: row.id, source: row.source, dryRun: row.dry_run, state: row.state, reasons: row.reasons, startedAt: row.started_at, finishedAt: row.finished_at };
}
