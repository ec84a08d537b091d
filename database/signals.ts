import { once } from 'node:events';
import type pg from 'pg';
import { from as copyFrom } from 'pg-copy-streams';
import { copyText } from './copy-text.ts';
import type { Database } from './database.ts';
import { isDuplicateKey } from './failures.ts';

/** A validated signal on its way in. */
export interface SignalRow {
  /** 32 hex digits, see `platform/signals/key.ts`. */
  readonly key: string;
  readonly lane: number;
  readonly source: string;
  readonly type: string;
  /** RFC 3339, within the years 1 to 9999. */
  readonly time: string;
  /** The CloudEvent as JSON text. */
  readonly envelope: string;
  /** Keyed hash of the person it is about, where the sender says so. */
  readonly subject?: Buffer;
}

/** Rows that are committed together: one chunk a lane. */
export interface SignalGroup {
  readonly orgId: string;
  readonly rows: readonly SignalRow[];
  readonly traceparent: string | undefined;
  /** `refresh` takes signals that are there already once more: a dead letter that is replayed. Default `skip`. */
  readonly duplicates?: 'skip' | 'refresh';
}

/** A signal whose sender waits for its decision. */
export interface WaitedSignal {
  readonly orgId: string;
  readonly row: SignalRow;
  readonly traceparent: string | undefined;
  /** The batch that is opened for it alone. */
  readonly batchId: string;
}

export interface CommittedGroup {
  readonly accepted: number;
  /** Positions in `rows` that were there before; empty when all are new. */
  readonly duplicates: ReadonlySet<number>;
  readonly chunks: readonly CommittedChunk[];
}

export interface CommittedChunk {
  readonly id: number;
  readonly lane: number;
  readonly signals: number;
}

/** Reported before each commit, so that a lost connection does not leave the sender's fate unknown. */
export type BeforeCommit = (committing: CommittedGroup) => void;

/** Below this many rows the parameters of one INSERT are cheaper than a COPY. */
const COPY_FROM_ROWS = 100;
/** Milliseconds a statement of the ingest may take before PostgreSQL ends it. */
const STATEMENT_TIMEOUT_MS = 20_000;

const WARY_GROUPS = 20;

/** A transaction that has written nothing does not wait for the disk when it commits; one with an empty message in the write-ahead log does. */
const WRITE_AT_COMMIT = "select pg_logical_emit_message(true, 'hal9', '')";

/** The channel the dispatcher listens on. */
export const CHUNKS_CHANNEL = 'hal9_chunks';

/**
 * Writes signals: staged by COPY (which row-level security forbids on the table itself and which cannot deduplicate), then keys,
 * signals and chunks by INSERT ... SELECT, in one transaction.
 */
export class SignalStore {
  readonly #database: Database;
  /** Groups to come that are taken to hold duplicates, because one lately did: a sender that repeats does so for a while. */
  #wary = 0;

  constructor(database: Database) {
    this.#database = database;
  }

  /** @returns once committed. Throws the driver's error when it is not, or when that cannot be known. */
  async commit(group: SignalGroup, beforeCommit: BeforeCommit = () => undefined): Promise<CommittedGroup> {
    return this.#database.withOrgClient(group.orgId, async (client) => {
      const result = group.rows.length < COPY_FROM_ROWS ? await insertSmall(client, group) : await insertLarge(client, group, this.#wary > 0);
      this.#wary = result.duplicates.size > 0 ? WARY_GROUPS : Math.max(0, this.#wary - 1);
      // What is there already may have been committed a moment ago and be on its way to the disk; the receipt says that it is in.
      if (result.accepted === 0) await client.query(WRITE_AT_COMMIT);
      await noteSubjects(client, group.orgId, group.rows);
      beforeCommit(result);
      return result;
    }, { statementMs: STATEMENT_TIMEOUT_MS });
  }

  /**
   * Commits a signal with a batch of its own, in one statement and one round trip because its sender waits. The dispatcher is not told: it starts the
   * batch only should the sender's process end before it could. The disk has it with the commit of the decision; before the sender is
   * told anything else, call {@link keep}.
   * @returns its chunk; undefined when the signal was there before.
   */
  async commitWaiting({ orgId, row, traceparent, batchId }: WaitedSignal): Promise<CommittedChunk | undefined> {
    const [kept] = await this.#database.oneFlight<{ id: number }>(
      orgId,
      {
        name: 'hal9-ingest-waiting',
        text: `with arrived as materialized (
            select nextval('chunks_id_seq') as chunk_id, (now() at time zone 'utc')::date as day
          ), kept as (
            insert into signal_keys (org_id, key, received_on, chunk_id, ordinal) select $1, $2, day, chunk_id, 0 from arrived on conflict do nothing returning chunk_id, received_on
          ), written as (
            insert into signals (org_id, received_on, chunk_id, ordinal, key, source, type, time, envelope) select $1, received_on, chunk_id, 0, $2, $3, $4, $5, $6 from kept
          ), carried as (
            insert into chunks (org_id, id, lane, signals, received_on, mode, traceparent, batch_id) overriding system value
            select $1, chunk_id, $7, 1, received_on, 'interactive', $8, $9 from kept
          ), opened as (
            insert into batches (org_id, id, lane, mode, signals, traceparent) select $1, $9, $7, 'interactive', 1, $8 from kept
          ), laned as (
            insert into lanes (org_id, lane) select $1, $7 from kept on conflict do nothing
          ), metered as (
            insert into usage_events (org_id, meter, key, quantity) select $1, 'signals', chunk_id::text, 1 from kept
          ), named as (
            insert into signal_subjects (org_id, key, subject, received_on) select $1, $2, $10, day from arrived where $10::bytea is not null on conflict do nothing
          ) select chunk_id::float8 as id from kept`,
        values: [orgId, row.key, row.source, row.type, row.time, row.envelope, row.lane, traceparent ?? null, batchId, row.subject ?? null],
      },
      { statementMs: STATEMENT_TIMEOUT_MS, durable: 'later' },
    );
    return kept === undefined ? undefined : { id: kept.id, lane: row.lane, signals: 1 };
  }

  /** Returns once all that {@link commitWaiting} has committed is on the disk: a commit that waits for it takes earlier ones along. */
  async keep(orgId: string): Promise<void> {
    await this.#database.withOrgClient(orgId, async (client) => client.query(WRITE_AT_COMMIT));
  }

  /** Whether any of these chunks is there: what a lost connection left undecided. */
  async anyChunkExists(orgId: string, chunkIds: readonly number[]): Promise<boolean> {
    if (chunkIds.length === 0) return false;
    return this.#database.withOrgClient(orgId, async (client) => {
      const { rows } = await client.query('select 1 from chunks where org_id = $1 and id = any($2::bigint[]) limit 1', [orgId, chunkIds]);
      return rows.length > 0;
    });
  }
}

/** Of duplicates too: whom a signal is about may be said the second time only. */
async function noteSubjects(client: pg.PoolClient, orgId: string, rows: readonly SignalRow[]): Promise<void> {
  const named = rows.filter(({ subject }) => subject !== undefined);
  if (named.length === 0) return;
  await client.query({
    name: 'hal9-ingest-subjects',
    text: `insert into signal_subjects (org_id, key, subject, received_on) select $1, s.key, s.subject, (now() at time zone 'utc')::date from unnest($2::uuid[], $3::bytea[]) as s (key, subject) on conflict do nothing`,
    values: [orgId, named.map(({ key }) => key), named.map(({ subject }) => subject)],
  });
}

interface ChunkPlan {
  /** UTC day of receipt, `YYYY-MM-DD`. */
  readonly day: string;
  /** Chunk id by lane, for the lanes of the group. */
  readonly idByLane: ReadonlyMap<number, number>;
  /** The same as a PostgreSQL array literal, indexed by lane + 1, null for lanes that are not in the group. */
  readonly idArray: string;
}

/** Takes the chunk numbers inside the transaction: a sender that waited for its receipt always gets higher ones next time. */
async function planChunks(client: pg.PoolClient, group: SignalGroup): Promise<ChunkPlan> {
  const lanes = lanesOf(group.rows);
  const { rows } = await client.query<{ day: string; ids: number[] }>({
    text: `select (now() at time zone 'utc')::date as day, array(select nextval('chunks_id_seq')::float8 from generate_series(1, $1::int)) as ids`,
    values: [lanes.length],
    name: 'hal9-plan-chunks',
  });
  const first = rows[0];
  if (first === undefined) throw new Error('no chunk numbers');
  const idByLane = new Map(lanes.map((lane, index) => [lane, first.ids[index] ?? 0]));
  const highest = lanes.at(-1) ?? 0;
  const idArray = `{${Array.from({ length: highest + 1 }, (_, lane) => idByLane.get(lane) ?? 'null').join(',')}}`;
  return { day: first.day, idByLane, idArray };
}

const ON_CONFLICT = {
  skip: 'on conflict do nothing',
  refresh: 'on conflict (org_id, key) do update set received_on = excluded.received_on, chunk_id = excluded.chunk_id, ordinal = excluded.ordinal',
} as const;

/** Keys in their order, so that the index is filled from left to right and two writers never wait for each other in a circle. */
function keysInsert(source: string, ending: string): string {
  return `insert into signal_keys (org_id, key, received_on, chunk_id, ordinal)
    select $1, s.key, $2, ($3::bigint[])[s.lane + 1], s.n from ${source} s order by s.key, s.n ${ending}`;
}

/** All in one statement: each further one costs a small group more than its rows. */
async function insertSmall(client: pg.PoolClient, { orgId, rows, traceparent, duplicates = 'skip' }: SignalGroup): Promise<CommittedGroup> {
  const lanes = lanesOf(rows);
  const { rows: answers } = await client.query<{ ids: number[]; kept: number[] }>({
    name: `hal9-ingest-small-${duplicates}`,
    text: `with arrived as materialized (
        select array(select nextval('chunks_id_seq') from generate_series(1, $2::int)) as ids, (now() at time zone 'utc')::date as day
      ), staged as materialized (
        select r.*, a.ids[r.place] as chunk_id, a.day
        from unnest($3::int[], $4::int[], $5::smallint[], $6::uuid[], $7::text[], $8::text[], $9::timestamptz[], $10::text[]) as r (n, place, lane, key, source, type, time, envelope), arrived a
      ), kept as (
        insert into signal_keys (org_id, key, received_on, chunk_id, ordinal)
        select $1, s.key, s.day, s.chunk_id, s.n from staged s order by s.key, s.n ${ON_CONFLICT[duplicates]} returning ordinal
      ), fresh as materialized (
        select s.* from staged s join kept on kept.ordinal = s.n
      ), written as (
        insert into signals (org_id, received_on, chunk_id, ordinal, key, source, type, time, envelope)
        select $1, day, chunk_id, n, key, source, type, time, envelope from fresh
      ), cut as materialized (
        select chunk_id, lane, day, count(*)::int as signals from fresh group by chunk_id, lane, day
      ), carried as (
        insert into chunks (org_id, id, lane, signals, received_on, mode, traceparent) overriding system value
        select $1, chunk_id, lane, signals, day, 'batch', $11 from cut
      ), laned as (
        insert into lanes (org_id, lane) select $1, lane from cut order by lane on conflict do nothing
      ), metered as (
        -- A replayed dead letter was counted when it came in.
        insert into usage_events (org_id, meter, key, quantity) select $1, 'signals', min(chunk_id)::text, sum(signals) from cut having $12::boolean and count(*) > 0
      ) select a.ids::float8[] as ids, array(select ordinal from kept) as kept, (select pg_notify('${CHUNKS_CHANNEL}', '') where exists (select from cut))::text as told from arrived a`,
    values: [
      orgId,
      lanes.length,
      rows.map((_, index) => index),
      rows.map((row) => lanes.indexOf(row.lane) + 1),
      rows.map((row) => row.lane),
      rows.map((row) => row.key),
      rows.map((row) => row.source),
      rows.map((row) => row.type),
      rows.map((row) => row.time),
      rows.map((row) => row.envelope),
      traceparent ?? null,
      duplicates !== 'refresh',
    ],
  });
  const [answer] = answers;
  if (answer === undefined) throw new Error('no chunk numbers');
  const kept = answer.kept.length === rows.length ? undefined : answer.kept;
  return committed(rows, new Map(lanes.map((lane, place) => [lane, answer.ids[place] ?? 0])), kept);
}

async function insertLarge(client: pg.PoolClient, group: SignalGroup, expectDuplicates: boolean): Promise<CommittedGroup> {
  const plan = await planChunks(client, group);
  // Made anew in each transaction where it is missing, so that a pooler between may hand out any connection.
  await client.query(
    `set local client_min_messages = error;
     create temp table if not exists hal9_staging (n integer, lane smallint, key uuid, source text, type text, time timestamptz, envelope text) on commit delete rows`,
  );
  await stage(client, group.rows);
  const kept = await insertKeys(client, group, plan, expectDuplicates);
  const columns = `insert into signals (org_id, received_on, chunk_id, ordinal, key, source, type, time, envelope)
      select $1, $2, ($3::bigint[])[s.lane + 1], s.n, s.key, s.source, s.type, s.time, s.envelope from hal9_staging s`;
  if (kept === undefined) await client.query({ name: 'hal9-ingest-signals', text: columns, values: [group.orgId, plan.day, plan.idArray] });
  else if (kept.length > 0) await client.query({ name: 'hal9-ingest-signals-kept', text: `${columns} where s.n = any($4::int[])`, values: [group.orgId, plan.day, plan.idArray, kept] });
  return insertChunks(client, group, plan, kept);
}

/**
 * Takes the keys of the staged rows. A group without a single duplicate, as most are, is inserted plainly, at 60 % of the cost of
 * ON CONFLICT; the first conflict takes that back and asks for each key.
 * @returns positions that are new; undefined for all of them.
 */
async function insertKeys(client: pg.PoolClient, group: SignalGroup, plan: ChunkPlan, expectDuplicates: boolean): Promise<readonly number[] | undefined> {
  const { orgId, rows, duplicates = 'skip' } = group;
  if (duplicates === 'skip' && !expectDuplicates) {
    await client.query('savepoint hal9_keys');
    try {
      await client.query({ name: 'hal9-ingest-keys-new', text: keysInsert('hal9_staging', ''), values: [orgId, plan.day, plan.idArray] });
      return undefined;
    } catch (error) {
      if (!isDuplicateKey(error)) throw error;
      await client.query('rollback to savepoint hal9_keys');
    }
  }
  const answer = await client.query<{ kept: number[] | null }>({
    name: `hal9-ingest-keys-${duplicates}`,
    text: `with kept as (${keysInsert('hal9_staging', `${ON_CONFLICT[duplicates]} returning ordinal`)})
      select case when count(*) < $4::int then coalesce(array_agg(ordinal), '{}') end as kept from kept`,
    values: [orgId, plan.day, plan.idArray, rows.length],
  });
  return answer.rows[0]?.kept ?? undefined;
}

/** Text of this length goes to the server in one piece: V8 flattens a long text that was put together of very many parts slowly. */
const COPY_PIECE = 64 * 1024;

/** Streams the rows into the staging table. */
async function stage(client: pg.PoolClient, rows: readonly SignalRow[]): Promise<void> {
  const copy = client.query(copyFrom('copy hal9_staging from stdin'));
  const finished = once(copy, 'finish');
  // A breaking connection may report itself twice; the first report is the one that counts.
  copy.on('error', () => undefined);
  let text = '';
  for (const [n, row] of rows.entries()) {
    text += `${n}\t${row.lane}\t${row.key}\t${copyText(row.source)}\t${copyText(row.type)}\t${row.time}\t${copyText(row.envelope)}\n`;
    if (text.length < COPY_PIECE) continue;
    copy.write(Buffer.from(text, 'utf8'));
    text = '';
  }
  copy.end(Buffer.from(text, 'utf8'));
  await finished;
}

/**
 * Announces what was kept to the dispatcher.
 * @param kept positions that are new; undefined for all of them.
 */
async function insertChunks(client: pg.PoolClient, group: SignalGroup, plan: ChunkPlan, kept: readonly number[] | undefined): Promise<CommittedGroup> {
  const result = committed(group.rows, plan.idByLane, kept);
  const { chunks } = result;
  if (chunks.length > 0) {
    await client.query({
      name: 'hal9-ingest-chunks',
      text: `with written as (
          insert into chunks (org_id, id, lane, signals, received_on, mode, traceparent) overriding system value
          select $1, c.id, c.lane, c.signals, $2, 'batch', $3 from unnest($4::bigint[], $5::smallint[], $6::int[]) as c (id, lane, signals) returning 1
        ), laned as (
          insert into lanes (org_id, lane) select $1, lane from unnest($5::smallint[]) as l (lane) order by lane on conflict do nothing
        ), metered as (
          -- A replayed dead letter was counted when it came in.
          insert into usage_events (org_id, meter, key, quantity) select $1, 'signals', ($4::bigint[])[1]::text, $7 where $7::bigint > 0
        ) select pg_notify('${CHUNKS_CHANNEL}', '') where exists (select from written)`,
      values: [group.orgId, plan.day, group.traceparent ?? null, chunks.map((chunk) => chunk.id), chunks.map((chunk) => chunk.lane), chunks.map((chunk) => chunk.signals), group.duplicates === 'refresh' ? 0 : chunks.reduce((sum, chunk) => sum + chunk.signals, 0)],
    });
  }
  return result;
}

function lanesOf(rows: readonly SignalRow[]): number[] {
  return [...new Set(rows.map((row) => row.lane))].sort((a, b) => a - b);
}

/** @param kept positions that are new; undefined for all of them. */
function committed(rows: readonly SignalRow[], idByLane: ReadonlyMap<number, number>, kept: readonly number[] | undefined): CommittedGroup {
  const counts = new Map<number, number>();
  const count = (row: SignalRow | undefined): void => {
    if (row !== undefined) counts.set(row.lane, (counts.get(row.lane) ?? 0) + 1);
  };
  if (kept === undefined) for (const row of rows) count(row);
  else for (const position of kept) count(rows[position]);
  const duplicates = new Set<number>();
  if (kept !== undefined) {
    const fresh = new Set(kept);
    for (let position = 0; position < rows.length; position++) if (!fresh.has(position)) duplicates.add(position);
  }
  return { accepted: rows.length - duplicates.size, duplicates, chunks: [...counts].map(([lane, signals]) => ({ id: idByLane.get(lane) ?? 0, lane, signals })) };
}
