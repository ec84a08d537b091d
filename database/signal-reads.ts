import { sql } from 'kysely';
import type { Database } from './database.ts';

/** A signal as it was received, and how far it is. */
export interface ReceivedSignal {
  /** HAL9's id: the dedup key as a UUID. */
  readonly key: string;
  readonly envelope: string;
  readonly receivedAt: Date;
  readonly chunkId: number;
  readonly lane: number;
  readonly batchId: string | null;
  readonly batchState: 'open' | 'decided' | 'failed' | null;
  readonly decidedAt: Date | null;
}

export interface SignalFilter {
  readonly type?: string;
  readonly source?: string;
  /** Event time, inclusive. */
  readonly from?: Date;
  /** Event time, exclusive. */
  readonly to?: Date;
}

/** Place of a signal in the order of arrival. */
export interface SignalPosition {
  readonly day: string;
  readonly chunkId: number;
  readonly ordinal: number;
}

export interface SignalListing {
  readonly signals: readonly ReceivedSignal[];
  /** Where the next page starts; undefined at the end. */
  readonly next: SignalPosition | undefined;
}

/** Rows a page may look at before it answers with what it has: bounds a filter that matches little. */
const SCAN_ROWS = 20_000;

/** Reads signals back, newest first. */
export class SignalReadStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /** The latest delivery of a signal; undefined when the organisation has none, or it left the dedup window. */
  async find(orgId: string, key: string): Promise<ReceivedSignal | undefined> {
    return this.#database.withOrg(orgId, (tx) =>
      tx
        .selectFrom('signal_keys as k')
        .innerJoin('signals as s', (join) => join.onRef('s.org_id', '=', 'k.org_id').onRef('s.received_on', '=', 'k.received_on').onRef('s.chunk_id', '=', 'k.chunk_id').onRef('s.ordinal', '=', 'k.ordinal'))
        .innerJoin('chunks as c', (join) => join.onRef('c.org_id', '=', 's.org_id').onRef('c.id', '=', 's.chunk_id'))
        .leftJoin('batches as b', (join) => join.onRef('b.org_id', '=', 'c.org_id').onRef('b.id', '=', 'c.batch_id'))
        .select(['s.key', 's.envelope', 'c.received_at as receivedAt', 'c.id as chunkId', 'c.lane', 'c.batch_id as batchId', 'b.state as batchState', 'b.decided_at as decidedAt'])
        .where('k.org_id', '=', orgId)
        .where('k.key', '=', key)
        .executeTakeFirst(),
    );
  }

  /** A page in order of arrival, newest first. It may hold fewer than `limit` and still have a next one. */
  async list(orgId: string, filter: SignalFilter, limit: number, after: SignalPosition | undefined): Promise<SignalListing> {
    const scan = await this.#database.withOrg(orgId, async (tx) => {
      const { rows } = await sql<ScannedRow>`
        with scanned as (
          select received_on, chunk_id, ordinal, key, type, source, time, row_number() over (order by received_on desc, chunk_id desc, ordinal desc) as place
          from (
            select received_on, chunk_id, ordinal, key, type, source, time from signals
            where org_id = ${orgId} ${after === undefined ? sql`` : sql`and (received_on, chunk_id, ordinal) < (${after.day}::date, ${after.chunkId}::bigint, ${after.ordinal}::integer)`}
            order by received_on desc, chunk_id desc, ordinal desc limit ${SCAN_ROWS}
          ) newest
        ), matching as (
          select * from scanned where true
            ${filter.type === undefined ? sql`` : sql`and type = ${filter.type}`}
            ${filter.source === undefined ? sql`` : sql`and source = ${filter.source}`}
            ${filter.from === undefined ? sql`` : sql`and time >= ${filter.from}`}
            ${filter.to === undefined ? sql`` : sql`and time < ${filter.to}`}
          order by place limit ${limit}
        ), last as (
          select received_on, chunk_id, ordinal, place from scanned order by place desc limit 1
        )
        select m.received_on as day, m.chunk_id as "chunkId", m.ordinal, s.key, s.envelope, c.received_at as "receivedAt", c.lane,
          c.batch_id as "batchId", b.state as "batchState", b.decided_at as "decidedAt",
          (select received_on from last) as "lastDay", (select chunk_id from last) as "lastChunk", (select ordinal from last) as "lastOrdinal", (select place from last)::int as scanned
        from (select true) one left join matching m on true
          left join signals s on s.org_id = ${orgId} and s.received_on = m.received_on and s.chunk_id = m.chunk_id and s.ordinal = m.ordinal
          left join chunks c on c.org_id = ${orgId} and c.id = m.chunk_id
          left join batches b on b.org_id = ${orgId} and b.id = c.batch_id
        order by m.place`.execute(tx);
      return rows;
    });
    return toListing(scan, limit);
  }
}

/** A match, or one row of nulls; each with how far the scan came. */
interface ScannedRow extends Omit<ReceivedSignal, 'key'> {
  readonly key: string | null;
  readonly day: string;
  readonly ordinal: number;
  readonly lastDay: string | null;
  readonly lastChunk: number | null;
  readonly lastOrdinal: number | null;
  readonly scanned: number | null;
}

function toListing(rows: readonly ScannedRow[], limit: number): SignalListing {
  const matches = rows.flatMap((row) => (row.key === null ? [] : [{ ...row, key: row.key }]));
  const signals = matches.map(({ key, envelope, receivedAt, chunkId, lane, batchId, batchState, decidedAt }) => ({ key, envelope, receivedAt, chunkId, lane, batchId, batchState, decidedAt }));
  const last = matches.at(-1);
  if (last !== undefined && matches.length === limit) return { signals, next: { day: last.day, chunkId: last.chunkId, ordinal: last.ordinal } };
  const scan = rows[0];
  if (scan?.scanned === SCAN_ROWS && scan.lastDay !== null && scan.lastChunk !== null && scan.lastOrdinal !== null) {
    return { signals, next: { day: scan.lastDay, chunkId: scan.lastChunk, ordinal: scan.lastOrdinal } };
  }
  return { signals, next: undefined };
}
