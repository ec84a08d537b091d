import pg from 'pg';

/** A PostgreSQL session that others wait for and that waits for nobody itself: the root of a lock pile-up. */
export interface BlockingSession {
  readonly pid: number;
  /** With the pid the identity of a session; PostgreSQL's own text form, to the microsecond. */
  readonly backendStart: string;
  readonly applicationName: string;
  /** `idle in transaction`, `active`, ... */
  readonly state: string;
  /** Sessions that wait for it, directly or through others. */
  readonly waiting: number;
  /** Longest of their waits, seconds. */
  readonly longestWaitSeconds: number;
  /** Its last statement without literals, at most 200 characters. */
  readonly statement: string;
}

const ROOT_BLOCKERS = `
  with recursive edges as (
    select a.pid as waiter, b.blocker
    from pg_stat_activity a cross join lateral unnest(pg_blocking_pids(a.pid)) as b(blocker)
    where a.wait_event_type = 'Lock'
  ), reach as (
    select waiter, blocker from edges
    union
    select r.waiter, e.blocker from reach r join edges e on e.waiter = r.blocker
  ), waits as (
    select pid, extract(epoch from clock_timestamp() - min(waitstart))::float8 as seconds from pg_locks where not granted group by pid
  )
  select s.pid, s.backend_start::text as backend_start, s.application_name, coalesce(s.state, '') as state,
         count(distinct r.waiter)::int as waiting, coalesce(max(w.seconds), 0) as seconds, coalesce(s.query, '') as query
  from reach r
  join pg_stat_activity s on s.pid = r.blocker
  left join waits w on w.pid = r.waiter
  where not exists (select from edges e where e.waiter = r.blocker)
  group by s.pid, s.backend_start, s.application_name, s.state, s.query
  order by waiting desc, seconds desc
  limit 10`;

/** The agent's door to PostgreSQL's statistics views: one short-lived question at a time, each bounded. */
export class Sessions {
  readonly #pool: pg.Pool;

  constructor(url: string) {
    this.#pool = new pg.Pool({
      connectionString: url,
      max: 2,
      connectionTimeoutMillis: 5000,
      statement_timeout: 10_000,
      query_timeout: 12_000,
      application_name: 'hal9-host-agent',
    });
    // An idle connection that breaks is dropped by the pool; the next question opens a new one.
    this.#pool.on('error', () => undefined);
  }

  async rootBlockers(): Promise<BlockingSession[]> {
    const { rows } = await this.#pool.query<{ pid: number; backend_start: string; application_name: string; state: string; waiting: number; seconds: number; query: string }>(ROOT_BLOCKERS);
    return rows.map((row) => ({
      pid: row.pid,
      backendStart: row.backend_start,
      applicationName: row.application_name,
      state: row.state,
      waiting: row.waiting,
      longestWaitSeconds: row.seconds,
      statement: withoutLiterals(row.query),
    }));
  }

  /** Whether this very session (not another with its pid) still exists. */
  async exists(session: { pid: number; backendStart: string }): Promise<boolean> {
    const { rowCount } = await this.#pool.query('select from pg_stat_activity where pid = $1 and backend_start::text = $2', [session.pid, session.backendStart]);
    return rowCount === 1;
  }

  /**
   * Ends this very session and waits up to 5 s for it to be gone.
   * @returns whether it is gone.
   */
  async terminate(session: { pid: number; backendStart: string }): Promise<boolean> {
    const { rows } = await this.#pool.query<{ gone: boolean }>('select pg_terminate_backend(pid, 5000) as gone from pg_stat_activity where pid = $1 and backend_start::text = $2', [session.pid, session.backendStart]);
    return rows[0]?.gone ?? true;
  }

  async close(): Promise<void> {
    await this.#pool.end();
  }
}

/** Replaces quoted texts and numbers by `?`: literals may be personal data. */
export function withoutLiterals(statement: string): string {
  return statement
    .replace(/\$([A-Za-z_]*)\$[\s\S]*?\$\1\$/g, '?')
    .replace(/'(?:[^']|'')*'?/g, '?')
    .replace(/\b\d+(?:\.\d+)?\b/g, '?')
    .replace(/\s+/g, ' ')
    .slice(0, 200);
}
