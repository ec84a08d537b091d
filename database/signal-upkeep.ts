import { sql } from 'kysely';
import type { Database, Tx } from './database.ts';

/** Any constant: one dispatcher at a time does the upkeep. */
const LOCK = 4_240_000_031;
/** Days of partitions made ahead: two weeks without a dispatcher still find a home for signals. */
const DAYS_AHEAD = 14;
/** Keys removed by one transaction. */
const KEYS_PER_TRANSACTION = 10_000;

/** Keeps the ingest's tables in shape, across all organisations, as hal9_system. */
export class SignalUpkeep {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /** Makes the daily partitions of the next two weeks. Changes nothing where they are. */
  async ensurePartitions(): Promise<void> {
    await this.#exclusively(async (tx) => {
      await sql`select hal9_ensure_signal_partitions(${DAYS_AHEAD})`.execute(tx);
      return 0;
    });
  }

  /**
   * Forgets keys of signals received more than `days` days ago, a bounded number at a time.
   * @returns keys removed; 0 when none is left, or another process is at it.
   */
  async forgetKeys(days: number): Promise<number> {
    return this.#exclusively(async (tx) => {
      const { rows } = await sql<{ removed: number }>`
        with old as (
          select ctid from signal_keys where received_on < (now() at time zone 'utc')::date - ${days}::integer limit ${KEYS_PER_TRANSACTION}
        ), removed as (
          delete from signal_keys where ctid in (select ctid from old) returning 1
        ) select count(*)::int as removed from removed`.execute(tx);
      return rows[0]?.removed ?? 0;
    });
  }

  async #exclusively(work: (tx: Tx) => Promise<number>): Promise<number> {
    return this.#database.system.transaction().execute(async (tx) => {
      const { rows } = await sql<{ mine: boolean }>`select pg_try_advisory_xact_lock(${LOCK}) as mine`.execute(tx);
      return rows[0]?.mine === true ? work(tx) : 0;
    });
  }
}
