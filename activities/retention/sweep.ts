import { setTimeout as delay } from 'node:timers/promises';
import pg, { type ClientBase } from 'pg';
import { quotedRelation, type RelationName } from '../../platform/privacy/catalog.ts';
import type { DataMap } from '../../platform/privacy/data-map.ts';
import type { ExpiringTable } from '../../platform/privacy/retention-plan.ts';
import { HalError } from '../../schemas/errors.ts';
import { ExpiredRows, type HeldRows } from './expired-rows.ts';
import { dropPartition, expiredPartitions } from './partitions.ts';

/** A portion takes about so long, whatever its rows: others wait for no more. Milliseconds. */
const PORTION_MS = 10;
const MOST_PAGES = 64;
/** Bytes of a page. */
const PAGE = 8192;
/** Rows that hold each other go in one statement; more are left and reported. */
const MOST_TOGETHER = 10_000;
/** Times a table is gone through: rows that others changed meanwhile have moved. */
const PASSES = 5;
const ATTEMPTS = 8;
/** Serialization failure, deadlock, lock not available. */
const IN_THE_WAY = new Set(['40001', '40P01', '55P03']);

export interface TableCounts {
  readonly due: number;
  readonly held: number;
  readonly referenced: number;
}

export interface Sweep {
  readonly client: ClientBase;
  readonly map: DataMap;
  /** All tables that are swept in this run. */
  readonly tables: readonly ExpiringTable[];
  /** Rows that holds keep, asked anew in each transaction. */
  readonly held: () => Promise<HeldRows>;
  /** Part of the time that statements may run, 0 to 1. */
  readonly share: number;
  readonly signal: AbortSignal;
  /** Told what was committed. */
  readonly count: (rows: number, partition?: string) => void;
}

/**
 * What would be deleted, in one snapshot.
 * @param work `tables` are counted; `all`: those that are swept in the same run, default the same.
 */
export async function countExpired({ client, map, tables, all = tables, held }: Pick<Sweep, 'client' | 'map' | 'tables' | 'held'> & { readonly all?: readonly ExpiringTable[] }): Promise<Map<string, TableCounts>> {
  await client.query("begin transaction isolation level repeatable read read only; set local time zone 'UTC'");
  try {
    const heldNow = await held();
    const counts = new Map<string, TableCounts>();
    for (const expiring of tables) {
      const rows = new ExpiredRows(map, all, heldNow);
      const [due, kept] = [rows.deletable(expiring, 't'), rows.held(expiring, 't')];
      const answer = await client.query<{ due: number; held: number; expired: number }>(
        `select count(*) filter (where ${due})::int as due, count(*) filter (where ${kept})::int as held, count(*)::int as expired from ${quotedRelation(expiring.table.relation)} t where ${rows.expired(expiring, 't')}`,
        rows.parameters,
      );
      const { due: some = 0, held: protectedRows = 0, expired = 0 } = answer.rows[0] ?? {};
      counts.set(expiring.table.id, { due: some, held: protectedRows, referenced: expired - some - protectedRows });
    }
    return counts;
  } finally {
    await client.query('rollback');
  }
}

/**
 * Deletes what has expired of one table: whole partitions where it can, else page by page in short transactions with pauses in between.
 * May be cut off at any point and called again.
 * @throws {HalError} Conflict when the database refuses.
 */
export async function sweep(work: Sweep, expiring: ExpiringTable): Promise<void> {
  const { client, map } = work;
  await client.query("set time zone 'UTC'; set lock_timeout = '5s'");
  for (const partition of await expiredPartitions(client, map, expiring)) {
    work.signal.throwIfAborted();
    if (await holdsSomeOf(work, partition)) continue;
    const rows = await dropPartition(client, partition);
    if (rows !== undefined) work.count(rows, `${partition.schema}.${partition.name}`);
  }
  const nests = new ExpiredRows(map, work.tables, new Map()).nests(expiring);
  for (let pass = 1; pass <= PASSES; pass += 1) {
    let deleted = 0;
    for (const leaf of await leaves(client, expiring.table.relation)) deleted += await sweepPages(work, expiring, leaf);
    if ((await countExpired({ ...work, tables: [expiring], all: work.tables })).get(expiring.table.id)?.due === 0) return;
    // Of rows that point at rows of their own table, each pass frees the next.
    if (deleted > 0 && nests) pass -= 1;
  }
  if (nests) await deleteTogether(work, expiring);
}

async function holdsSomeOf({ client, held }: Sweep, partition: RelationName): Promise<boolean> {
  await client.query('begin transaction isolation level repeatable read read only');
  try {
    const parameters = [...(await held()).values()].map((rows) => rows.parameters);
    if (parameters.length === 0) return false;
    const { rows } = await client.query<{ oid: number }>('select relid::int8 as oid from pg_partition_tree($1::regclass)', [quotedRelation(partition)]);
    const inside = new Set(rows.map(({ oid }) => Number(oid)));
    return parameters.some(([oids]) => oids.some((oid) => inside.has(Number(oid))));
  } finally {
    await client.query('rollback');
  }
}

/** The tables that hold the rows: itself, its partitions, its heirs. */
async function leaves(client: ClientBase, relation: RelationName): Promise<RelationName[]> {
  const { rows } = await client.query<RelationName>(
    `with recursive below (oid) as (select $1::regclass::oid union select i.inhrelid from pg_inherits i join below b on i.inhparent = b.oid)
     select n.nspname as schema, c.relname as name from below join pg_class c on c.oid = below.oid join pg_namespace n on n.oid = c.relnamespace where c.relkind = 'r' order by 1, 2`,
    [quotedRelation(relation)],
  );
  return rows;
}

/** From the first page to the last: no index is needed, and pages that were emptied are not read again. */
async function sweepPages(work: Sweep, expiring: ExpiringTable, leaf: RelationName): Promise<number> {
  const { client, map, tables, held, share, signal, count } = work;
  const { rows } = await client.query<{ pages: number }>('select ceil(pg_relation_size($1::regclass) / $2::float)::int as pages', [quotedRelation(leaf), PAGE]);
  const last = rows[0]?.pages ?? 0;
  let [deleted, pages] = [0, 4];
  for (let page = 0; page < last; ) {
    signal.throwIfAborted();
    const until = Math.min(page + pages, last);
    const began = performance.now();
    const gone = await portion(client, async () => {
      const expired = new ExpiredRows(map, tables, await held());
      const condition = expired.free(expiring, 't');
      // Rows that somebody is changing now are left for the next pass.
      const { rowCount } = await client.query(
        `with gone as materialized (select t.ctid from only ${quotedRelation(leaf)} t where t.ctid >= '(${page},0)' and t.ctid < '(${until},0)' and ${condition} for update skip locked)
         delete from only ${quotedRelation(leaf)} t using gone where t.ctid = gone.ctid`,
        expired.parameters,
      );
      return rowCount ?? 0;
    });
    const took = performance.now() - began;
    if (gone > 0) count(gone);
    deleted += gone;
    page = until;
    pages = took > 2 * PORTION_MS ? Math.max(1, Math.floor(pages / 2)) : took < PORTION_MS / 2 ? Math.min(MOST_PAGES, pages * 2) : pages;
    await delay((took * (1 - share)) / share, undefined, { signal });
  }
  return deleted;
}

/** Rows of one table that point at each other in circles. */
async function deleteTogether({ client, map, tables, held, count }: Sweep, expiring: ExpiringTable): Promise<void> {
  const gone = await portion(client, async () => {
    const expired = new ExpiredRows(map, tables, await held());
    const condition = expired.deletable(expiring, 't');
    const { rowCount } = await client.query(
      `with gone as materialized (select t.tableoid, t.ctid from ${quotedRelation(expiring.table.relation)} t where ${condition})
       delete from ${quotedRelation(expiring.table.relation)} t using gone where t.tableoid = gone.tableoid and t.ctid = gone.ctid and (select count(*) from gone) <= ${MOST_TOGETHER}`,
      expired.parameters,
    );
    return rowCount ?? 0;
  });
  if (gone > 0) count(gone);
}

/**
 * One short transaction. Its commit is not waited for on the disk, where it would stand in the way of others: what a crash of the database
 * brings back is found by the next look.
 */
async function portion(client: ClientBase, work: () => Promise<number>): Promise<number> {
  for (let attempt = 1; ; attempt += 1) {
    await client.query("begin transaction isolation level repeatable read; set local synchronous_commit = 'off'");
    try {
      const rows = await work();
      await client.query('commit');
      return rows;
    } catch (error) {
      await client.query('rollback').catch((failure: unknown) => {
        // The connection is gone, and the transaction with it.
        if (!(failure instanceof Error)) throw failure;
      });
      if (!(error instanceof pg.DatabaseError)) throw error;
      const code = error.code ?? '';
      if (IN_THE_WAY.has(code) && attempt < ATTEMPTS) {
        await delay(20 * attempt);
        continue;
      }
      if (code.startsWith('23') || code.startsWith('42') || code.startsWith('P0') || code === '25006') throw new HalError('Conflict', `the database refuses the deletion${error.constraint === undefined ? '' : ` (${error.constraint})`}: SQLSTATE ${code}`);
      throw error;
    }
  }
}
