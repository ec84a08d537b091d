import pg from 'pg';
import { rounded, Rates, type Probe, type Reading } from './reading.ts';

/** One row that costs a fraction of a millisecond while nobody waits: `pg_blocking_pids` is asked for waiting sessions only. */
const STATISTICS = `
  with activity as (
    select pid, state, wait_event_type, xact_start, backend_type from pg_stat_activity
  ), waiting as (
    select pid, pg_blocking_pids(pid) as blockers from activity where wait_event_type = 'Lock'
  )
  select
    (select count(*) from activity where backend_type = 'client backend')::int as connections,
    (select count(*) from activity where backend_type = 'client backend' and state = 'active' and pid <> pg_backend_pid())::int as active,
    (select count(*) from waiting)::int as blocked,
    (select b from waiting, unnest(blockers) b where b not in (select pid from waiting) group by b order by count(*) desc limit 1) as blocker,
    coalesce((select extract(epoch from clock_timestamp() - min(waitstart)) from pg_locks where not granted), 0)::float8 as lock_wait,
    coalesce((select extract(epoch from clock_timestamp() - min(xact_start)) from activity where state like 'idle in transaction%'), 0)::float8 as idle_in_transaction,
    d.commits, d.rollbacks, d.deadlocks, d.hit, d.read, d.temp_bytes, (select wal_bytes from pg_stat_wal)::float8 as wal_bytes
  from (
    select sum(xact_commit)::float8 as commits, sum(xact_rollback)::float8 as rollbacks, sum(deadlocks)::float8 as deadlocks,
           sum(blks_hit)::float8 as hit, sum(blks_read)::float8 as read, sum(temp_bytes)::float8 as temp_bytes
    from pg_stat_database
  ) d`;

interface Statistics {
  connections: number;
  active: number;
  blocked: number;
  blocker: number | null;
  lock_wait: number;
  idle_in_transaction: number;
  commits: number;
  rollbacks: number;
  deadlocks: number;
  hit: number;
  read: number;
  temp_bytes: number;
  wal_bytes: number;
}

/** PostgreSQL's statistics views. A server that does not answer is a reading too: `postgres.up` is 0. */
export function postgresProbe(source: string, url: string): Probe {
  const pool = new pg.Pool({ connectionString: url, max: 1, connectionTimeoutMillis: 2000, query_timeout: 5000, statement_timeout: 4000, application_name: 'hal9-collector' });
  // An idle connection that breaks is dropped by the pool; the next reading opens a new one.
  pool.on('error', () => undefined);
  const rates = new Rates();
  const one = (metric: string, value: number | undefined, unit: string, facts?: Reading['facts']): Reading[] =>
    value === undefined ? [] : [{ source, metric: `postgres.${metric}`, subject: 'server', value: rounded(value), unit, ...(facts === undefined ? {} : { facts }) }];

  return {
    name: 'postgres',
    intervalMs: 0,
    async read() {
      const answer = await pool.query<Statistics>({ name: 'statistics', text: STATISTICS }).catch(() => undefined);
      const row = answer?.rows[0];
      if (row === undefined) return one('up', 0, 'flag');
      const at = performance.now();
      const hit = rates.perSecond('hit', row.hit, at);
      const read = rates.perSecond('read', row.read, at);
      return [
        ...one('up', 1, 'flag'),
        ...one('connections', row.connections, 'sessions'),
        ...one('active', row.active, 'sessions'),
        ...one('blocked', row.blocked, 'sessions', row.blocker === null ? undefined : { blockerPid: row.blocker }),
        ...one('lockwait', row.lock_wait, 'seconds'),
        ...one('idleintransaction', row.idle_in_transaction, 'seconds'),
        ...one('commits', rates.perSecond('commits', row.commits, at), '1/s'),
        ...one('rollbacks', rates.perSecond('rollbacks', row.rollbacks, at), '1/s'),
        ...one('deadlocks', rates.perSecond('deadlocks', row.deadlocks, at), '1/s'),
        ...one('cachehit', hit === undefined || read === undefined || hit + read === 0 ? undefined : hit / (hit + read), 'ratio'),
        ...one('wal', rates.perSecond('wal', row.wal_bytes, at), 'bytes/s'),
        ...one('temporary', rates.perSecond('temp', row.temp_bytes, at), 'bytes/s'),
      ];
    },
    async close() {
      await pool.end();
    },
  };
}
