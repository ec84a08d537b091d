import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';

/** What the database says became of the signals. */
export interface Outcome {
  /** Signals stored. */
  readonly stored: number;
  /** Signals with a decision. */
  readonly decided: number;
  /** Signals in the dead-letter list, and not decided. */
  readonly deadLettered: number;
  /** Signals with neither. */
  readonly lost: number;
  /** Decisions beyond one a signal, and rows beyond one a signal. */
  readonly duplicated: number;
  /** Chunks no batch has taken, and batches that are open. */
  readonly waiting: number;
}

/** Each signal's decision carries the signal's own id as its summary. */
const OUTCOME = `
  with stored as (select envelope::jsonb ->> 'id' as id, count(*) as times, min(key::text)::uuid as key from signals group by 1),
    decided as (select summary as id, count(*) as decisions from decisions group by 1),
    dead as (select distinct coalesce(s.id, e.subject) as id from dead_letters d left join stored s on s.key = d.ref left join emissions e on e.id = d.ref),
    each as (select s.id, s.times, d.decisions, dead.id is not null as dead from stored s left join decided d on d.id = s.id left join dead on dead.id = s.id)
  select count(*)::int as stored, count(decisions)::int as decided, (count(*) filter (where dead and decisions is null))::int as "deadLettered",
    (count(*) filter (where not dead and decisions is null))::int as lost,
    (coalesce(sum(decisions - 1), 0) + coalesce(sum(times - 1), 0))::int as duplicated,
    (select count(*)::int from chunks where batch_id is null) + (select count(*)::int from batches where state = 'open') as waiting
  from each`;
const WAITING = `select (select count(*)::int from chunks where batch_id is null) + (select count(*)::int from batches where state = 'open') as waiting`;

/** Waits until nothing waits any more, then counts. @throws {Error} when that takes longer than `timeoutMs`. */
export async function settledOutcome(url: string, options: { timeoutMs: number; signal: AbortSignal; progress: (message: string) => void }): Promise<Outcome> {
  const deadline = Date.now() + options.timeoutMs;
  let quiet = 0;
  for (let round = 0; ; round++) {
    const waiting = await ask<{ waiting: number }>(url, WAITING);
    quiet = waiting.waiting === 0 ? quiet + 1 : 0;
    if (quiet === 2) return ask<Outcome>(url, OUTCOME);
    if (round % 10 === 0) options.progress(`waiting for ${waiting.waiting} chunks and batches`);
    if (Date.now() > deadline) throw new Error(`after ${options.timeoutMs / 1000} s still waiting: ${JSON.stringify(await ask<Outcome>(url, OUTCOME))}`);
    await sleep(500, undefined, { signal: options.signal });
  }
}

async function ask<Row extends object>(url: string, query: string): Promise<Row> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 10_000 });
  await client.connect();
  try {
    const { rows } = await client.query<Row>(query);
    const [row] = rows;
    if (row === undefined) throw new Error('no answer');
    return row;
  } finally {
    await client.end();
  }
}
