import { sql, type RawBuilder } from 'kysely';
import type { Database, Tx } from './database.ts';

/** Any constant: one dispatcher at a time removes. */
const LOCK = 4_240_000_042;
/** Rows removed by one transaction. */
const ROWS = 2_000;

/** What is kept, by what it says; times are days. */
export interface RetentionDays {
  /** What cascades left: emissions, decisions, dead letters, batches, effects that are done, what agents did. */
  readonly history: number;
  /** Calls of neurons with their contexts, and what single cascades spent. */
  readonly calls: number;
  /** Messages that were delivered or have failed. */
  readonly messages: number;
  /** Approvals that were answered or ran out. */
  readonly approvals: number;
}

/** Organisations whose plan keeps less than the installation. */
export interface ShorterRetention {
  readonly orgIds: readonly string[];
  /** Of every kind of rows, unless the installation keeps that for less. */
  readonly days: number;
}

/** A stored context of a call: a reference into the blob store. */
export interface CallContext {
  readonly orgId: string;
  readonly context: string;
}

/** A kind of rows with the age at which they go. Open work never goes, whatever its age. */
interface Rule {
  readonly table: string;
  readonly keep: keyof RetentionDays;
  readonly at: string;
  /** What must hold for a row besides its age. */
  readonly closed?: RawBuilder<unknown>;
}

const OPEN_BATCH = sql`exists (select from batches b where b.org_id = old.org_id and b.id = old.batch_id and b.state = 'open')`;

/** In this order: what refers to a batch goes before it. Sums of days and months stay, they are what budgets are judged by. */
const RULES: readonly Rule[] = [
  { table: 'external_calls', keep: 'calls', at: 'created_at', closed: sql`not ${OPEN_BATCH}` },
  { table: 'budget_spends', keep: 'calls', at: 'created_at', closed: sql`old.account like 'cascade/%' and reserved_calls = 0` },
  { table: 'notifications', keep: 'messages', at: 'created_at', closed: sql`old.state in ('delivered', 'failed')` },
  { table: 'approvals', keep: 'approvals', at: 'created_at', closed: sql`old.closed_at is not null` },
  { table: 'outbox', keep: 'history', at: 'created_at', closed: sql`old.done_at is not null` },
  { table: 'rollouts', keep: 'history', at: 'created_at', closed: sql`not exists (select from runs r where r.org_id = old.org_id and r.run_id = old.run_id and r.status = 'running')` },
  { table: 'remediation_actions', keep: 'history', at: 'created_at', closed: sql`old.state <> 'started'` },
  { table: 'dead_letters', keep: 'history', at: 'created_at' },
  { table: 'emissions', keep: 'history', at: 'created_at', closed: sql`not ${OPEN_BATCH}` },
  { table: 'decisions', keep: 'history', at: 'created_at', closed: sql`old.state not in ('pending', 'awaiting-approval')` },
  { table: 'layer_results', keep: 'history', at: 'committed_at', closed: sql`not ${OPEN_BATCH}` },
  { table: 'batches', keep: 'history', at: 'opened_at', closed: sql`old.state <> 'open'` },
];

/** Removes what has had its time, across all organisations, as hal9_system. */
export class RetentionStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /**
   * Removes a bounded part of every kind of rows.
   * @param shorter by days, each organisation once.
   * @param removeContexts removes stored contexts that no call refers to any more; runs before the rows are gone for good, so that a crash
   *   in between leaves a row that is removed again and never a context that nobody knows.
   * @returns rows removed by table; a table that reached the bound may have more. Empty when another process is at it.
   */
  async removeOfAllOrganisations(days: RetentionDays, shorter: readonly ShorterRetention[], removeContexts: (contexts: readonly CallContext[]) => Promise<void>): Promise<Readonly<Record<string, number>>> {
    const removed: Record<string, number> = {};
    const note = (table: string, rows: number): void => {
      if (rows > 0) removed[table] = Math.max(rows, removed[table] ?? 0);
    };
    const passes = [{ whose: sql`true`, most: Number.POSITIVE_INFINITY }, ...shorter.map(({ orgIds, days: most }) => ({ whose: sql`old.org_id = any(${[...orgIds]}::uuid[])`, most }))];
    for (const { whose, most } of passes) {
      for (const rule of RULES) note(rule.table, await this.#exclusively((tx) => remove(tx, rule, Math.min(most, days[rule.keep]), whose)));
      note('neuron_calls', await this.#exclusively((tx) => removeCalls(tx, Math.min(most, days.calls), whose, removeContexts)));
    }
    return removed;
  }

  /** Whether one pass may have left more to remove. */
  static mayHaveMore(removed: Readonly<Record<string, number>>): boolean {
    return Object.values(removed).some((rows) => rows >= ROWS);
  }

  async #exclusively(work: (tx: Tx) => Promise<number>): Promise<number> {
    return this.#database.system.transaction().execute(async (tx) => {
      const { rows } = await sql<{ mine: boolean }>`select pg_try_advisory_xact_lock(${LOCK}) as mine`.execute(tx);
      return rows[0]?.mine === true ? work(tx) : 0;
    });
  }
}

async function remove(tx: Tx, { table, at, closed }: Rule, days: number, whose: RawBuilder<unknown>): Promise<number> {
  const { rows } = await sql<{ removed: number }>`
    with past as (
      select old.ctid from ${sql.table(table)} as old
      where old.${sql.ref(at)} < now() - make_interval(days => ${days}) and ${closed ?? sql`true`} and ${whose}
      limit ${ROWS}
    ), gone as (
      delete from ${sql.table(table)} where ctid in (select ctid from past) returning 1
    ) select count(*)::int as removed from gone`.execute(tx);
  return rows[0]?.removed ?? 0;
}

async function removeCalls(tx: Tx, days: number, whose: RawBuilder<unknown>, removeContexts: (contexts: readonly CallContext[]) => Promise<void>): Promise<number> {
  const { rows } = await sql<{ org_id: string; context: string }>`
    delete from neuron_calls where ctid in (
      select old.ctid from neuron_calls as old
      where old.created_at < now() - make_interval(days => ${days}) and not ${OPEN_BATCH} and ${whose}
      limit ${ROWS}
    ) returning org_id, context`.execute(tx);
  if (rows.length === 0) return 0;
  const { rows: unused } = await sql<{ org_id: string; context: string }>`
    select distinct org_id, context from unnest(${rows.map((row) => row.org_id)}::uuid[], ${rows.map((row) => row.context)}::text[]) as gone (org_id, context)
    where not exists (select from neuron_calls kept where kept.org_id = gone.org_id and kept.context = gone.context)`.execute(tx);
  await removeContexts(unused.map((row) => ({ orgId: row.org_id, context: row.context })));
  return rows.length;
}
