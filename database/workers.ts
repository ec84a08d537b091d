import { sql } from 'kysely';
import type { Database } from './database.ts';

export interface WorkerRow {
  /** `<host>/<pid>/<start time in ms>`. */
  id: string;
  process: string;
  host: string;
  pid: number;
  queues: readonly string[];
  build: string;
  startedAt: Date;
  lastSeen: Date;
}

/** Background processes of the installation and when they were last alive. */
export class WorkerStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /** Writes that the process is alive, by the database's clock. */
  async beat(worker: Omit<WorkerRow, 'lastSeen'>): Promise<void> {
    await this.#database.system
      .insertInto('workers')
      .values({
        id: worker.id,
        process: worker.process,
        host: worker.host,
        pid: worker.pid,
        queues: [...worker.queues],
        build: worker.build,
        started_at: worker.startedAt,
        last_seen: sql`now()`,
      })
      .onConflict((conflict) => conflict.column('id').doUpdateSet({ last_seen: sql`now()` }))
      .execute();
  }

  /** Takes a process off the list that ended by itself. */
  async remove(id: string): Promise<void> {
    await this.#database.system.deleteFrom('workers').where('id', '=', id).execute();
  }

  /** Forgets processes silent for longer; answers how many. */
  async deleteSilent(seconds: number): Promise<number> {
    const result = await this.#database.system.deleteFrom('workers').where('last_seen', '<', sql<Date>`now() - make_interval(secs => ${seconds})`).executeTakeFirst();
    return Number(result.numDeletedRows);
  }

  /** The clock that heartbeats are written by. */
  async now(): Promise<Date> {
    const { rows } = await sql<{ now: Date }>`select now() as now`.execute(this.#database.system);
    return rows[0]?.now ?? new Date();
  }

  /** All processes known, the one silent for longest first. */
  async list(): Promise<WorkerRow[]> {
    const rows = await this.#database.system.selectFrom('workers').selectAll().orderBy('last_seen').execute();
    return rows.map((row) => ({
      id: row.id,
      process: row.process,
      host: row.host,
      pid: row.pid,
      queues: row.queues,
      build: row.build,
      startedAt: row.started_at,
      lastSeen: row.last_seen,
    }));
  }
}
