import { sql } from 'kysely';
import type { Database } from './database.ts';

/** What a process let through since it last said so. */
export interface CountedUse {
  readonly key: string;
  readonly points: number;
  /** Length of the window that begins with the first use, milliseconds. */
  readonly windowMs: number;
}

export interface CounterStanding {
  readonly key: string;
  /** Of all processes together, in the running window. */
  readonly points: number;
  /** Time until the window ends, milliseconds. */
  readonly endsInMs: number;
}

/** Counters of rate limits that all processes share. They cross organisations. */
export class RateCounterStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /** Adds the uses of many counters in one statement and answers how each stands. A window that has ended begins anew. */
  async addAcrossOrganisations(uses: readonly CountedUse[]): Promise<CounterStanding[]> {
    // In one order everywhere, so that two processes cannot wait for each other.
    const sorted = [...uses].sort((a, b) => (a.key < b.key ? -1 : 1));
    const { rows } = await sql<CounterStanding>`
      insert into rate_counters as c (key, points, ends_at)
      select key, points, clock_timestamp() + make_interval(secs => ms / 1000.0)
      from unnest(${sorted.map(({ key }) => key)}::text[], ${sorted.map(({ points }) => points)}::bigint[], ${sorted.map(({ windowMs }) => windowMs)}::bigint[]) as used (key, points, ms)
      on conflict (key) do update set
        points = excluded.points + case when c.ends_at > clock_timestamp() then c.points else 0 end,
        ends_at = case when c.ends_at > clock_timestamp() then c.ends_at else excluded.ends_at end
      returning key, points, greatest(0, extract(epoch from ends_at - clock_timestamp()) * 1000)::float8 as "endsInMs"`.execute(this.#database.system);
    return rows;
  }

  /** Forgets windows that have ended. */
  async removeEndedAcrossOrganisations(): Promise<void> {
    await sql`delete from rate_counters where ends_at < now() - interval '1 minute'`.execute(this.#database.system);
  }
}
