import type { ClientBase } from 'pg';
import { quotedRelation, type RelationName } from '../../platform/privacy/catalog.ts';
import type { DataMap } from '../../platform/privacy/data-map.ts';
import type { ExpiringTable } from '../../platform/privacy/retention-plan.ts';

/** Longest wait for the lock of a partition, which others wait behind, milliseconds. */
const LOCK_MS = 500;
const ATTEMPTS = 5;

/**
 * Partitions of which every row has expired: the table is partitioned by ranges of the column the policy counts from, and the upper end is not
 * after the cutoff. None where rows that go with the partition would not be heard of: triggers, foreign keys that point here.
 */
export async function expiredPartitions(client: ClientBase, map: DataMap, { table, since, cutoff }: ExpiringTable): Promise<RelationName[]> {
  if (table.relation.kind !== 'partitioned-table' || table.relation.triggers.length > 0 || map.constraints.some(({ parent }) => parent === table)) return [];
  const { rows } = await client.query<RelationName>(
    `select n.nspname as schema, c.relname as name
     from pg_partitioned_table p join pg_attribute a on a.attrelid = p.partrelid and a.attnum = p.partattrs[0] and a.attname = $2
       join pg_inherits i on i.inhparent = p.partrelid join pg_class c on c.oid = i.inhrelid join pg_namespace n on n.oid = c.relnamespace,
       substring(pg_get_expr(c.relpartbound, c.oid) from $4) upper_end
     where p.partrelid = $1::regclass and p.partstrat = 'r' and p.partnatts = 1 and upper_end is not null
       and not exists (select from pg_trigger g where g.tgrelid = c.oid and not g.tgisinternal)
       and upper_end::${since.baseType} <= $3::timestamptz::${since.baseType}
     order by c.relname`,
    [quotedRelation(table.relation), since.name, cutoff.toISOString(), "^FOR VALUES FROM .* TO \\('(.*)'\\)$"],
  );
  return rows;
}

/**
 * Drops a partition, unless others hold it for long, another object needs it, or the account may not.
 * @returns its rows, counted under a lock that keeps more from coming; undefined when it could not be dropped: its rows are deleted instead.
 */
export async function dropPartition(client: ClientBase, partition: RelationName): Promise<number | undefined> {
  const relation = quotedRelation(partition);
  for (let attempt = 1; attempt <= ATTEMPTS; attempt += 1) {
    await client.query(`begin; set local lock_timeout = '${LOCK_MS}ms'`);
    try {
      await client.query(`lock table ${relation} in share mode`);
      const { rows } = await client.query<{ count: number }>(`select count(*)::int as count from ${relation}`);
      await client.query(`drop table ${relation}`);
      await client.query('commit');
      return rows[0]?.count ?? 0;
    } catch (error) {
      await client.query('rollback');
      const code = error instanceof Error && 'code' in error ? error.code : undefined;
      // Not the owner, or something depends on it.
      if (code === '42501' || code === '2BP01') return undefined;
      // Lock timeout, deadlock.
      if (code !== '55P03' && code !== '40P01') throw error;
    }
  }
  return undefined;
}
