import type { ClientBase } from 'pg';
import { quoted, quotedRelation, type Catalog, type Column, type ForeignKey, type Relation, type RelationKind, type RelationName } from '../../platform/privacy/catalog.ts';

/**
 * Reads tables, columns, keys, references, partitions, views and triggers of a PostgreSQL database, in one snapshot.
 * Schemas of PostgreSQL itself and of extensions are left out.
 * @param client needs no more than to connect: the catalog is readable for everyone.
 */
export async function readCatalog(client: ClientBase): Promise<Catalog> {
  await client.query('begin transaction isolation level repeatable read read only');
  try {
    const { rows } = await client.query<RelationRow>(RELATIONS);
    return { relations: rows.map(relation) };
  } finally {
    await client.query('rollback');
  }
}

interface RelationRow {
  schema: string;
  name: string;
  kind: string;
  parent: RelationName | null;
  columns: Column[] | null;
  primary_key: string[] | null;
  unique_keys: string[][] | null;
  foreign_keys: ForeignKey[] | null;
  reads: RelationName[] | null;
  triggers: string[] | null;
  row_security: boolean;
}

const KINDS: Readonly<Record<string, RelationKind>> = { r: 'table', p: 'partitioned-table', v: 'view', m: 'materialized-view', f: 'foreign-table' };

function relation(row: RelationRow): Relation {
  const kind = KINDS[row.kind];
  if (kind === undefined) throw new TypeError(`pg_class.relkind ${row.kind} was not asked for`);
  return {
    schema: row.schema,
    name: row.name,
    kind,
    parent: row.parent,
    columns: row.columns ?? [],
    primaryKey: row.primary_key,
    uniqueKeys: row.unique_keys ?? [],
    foreignKeys: row.foreign_keys ?? [],
    reads: row.reads ?? [],
    triggers: row.triggers ?? [],
    rowSecurity: row.row_security,
  };
}

const ACTION = (column: string): string => `case ${column} when 'r' then 'restrict' when 'c' then 'cascade' when 'n' then 'set null' when 'd' then 'set default' else 'no action' end`;
const NAMES = (relid: string, attnums: string): string =>
  `(select json_agg(a.attname::text order by listed.place) from unnest(${attnums}) with ordinality listed (attnum, place) join pg_attribute a on a.attrelid = ${relid} and a.attnum = listed.attnum)`;

/** pg_catalog, PostgreSQL 13 and later. Constraints that partitions inherit are named by the partitioned table only. */
const RELATIONS = `
with recursive mine as (
  select c.oid, n.nspname::text as schema, c.relname::text as name, c.relkind, c.relrowsecurity
  from pg_class c join pg_namespace n on n.oid = c.relnamespace
  where c.relkind in ('r', 'p', 'v', 'm', 'f')
    and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
    and not exists (select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e')
), base_type as (
  select oid as type, oid as base from pg_type where typtype <> 'd'
  union all
  select t.oid, b.base from pg_type t join base_type b on b.type = t.typbasetype where t.typtype = 'd'
), reads as (
  select distinct r.ev_class as view, d.refobjid as read
  from pg_rewrite r join pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = r.oid and d.refclassid = 'pg_class'::regclass and d.refobjid <> r.ev_class
  where r.ev_class in (select oid from mine where relkind in ('v', 'm'))
), all_reads as (
  select view, read from reads
  union
  select a.view, r.read from all_reads a join reads r on r.view = a.read
)
select m.schema, m.name, m.relkind as kind, m.relrowsecurity as row_security,
  (select json_build_object('schema', pn.nspname, 'name', p.relname)
   from pg_inherits i join pg_class p on p.oid = i.inhparent join pg_namespace pn on pn.oid = p.relnamespace where i.inhrelid = m.oid order by i.inhseqno limit 1) as parent,
  (select json_agg(json_build_object(
      'name', a.attname, 'type', format_type(a.atttypid, a.atttypmod), 'baseType', t.typname, 'typeCategory', t.typcategory,
      'length', case when t.typname in ('varchar', 'bpchar') and coalesce(nullif(a.atttypmod, -1), nullif(own.typtypmod, -1)) is not null then coalesce(nullif(a.atttypmod, -1), own.typtypmod) - 4 end,
      'nullable', not (a.attnotnull or own.typnotnull), 'generated', a.attgenerated <> '', 'identityAlways', a.attidentity = 'a',
      'checked', exists (select from pg_constraint k where k.contype = 'c' and (k.conrelid = m.oid and a.attnum = any (k.conkey) or k.contypid = a.atttypid))
    ) order by a.attnum)
   from pg_attribute a join pg_type own on own.oid = a.atttypid join base_type bt on bt.type = own.oid join pg_type t on t.oid = bt.base
   where a.attrelid = m.oid and a.attnum > 0 and not a.attisdropped) as columns,
  (select ${NAMES('m.oid', 'k.conkey')} from pg_constraint k where k.conrelid = m.oid and k.contype = 'p') as primary_key,
  (select json_agg(${NAMES('m.oid', '(i.indkey::int2[])[0:i.indnkeyatts - 1]')}) from pg_index i
   where i.indrelid = m.oid and i.indisunique and i.indisvalid and i.indpred is null and i.indexprs is null) as unique_keys,
  (select json_agg(json_build_object(
      'name', k.conname, 'columns', ${NAMES('m.oid', 'k.conkey')}, 'target', json_build_object('schema', tn.nspname, 'name', t.relname),
      'targetColumns', ${NAMES('k.confrelid', 'k.confkey')}, 'onDelete', ${ACTION('k.confdeltype')}, 'onUpdate', ${ACTION('k.confupdtype')}, 'deferrable', k.condeferrable
    ) order by k.conname)
   from pg_constraint k join pg_class t on t.oid = k.confrelid join pg_namespace tn on tn.oid = t.relnamespace
   where k.conrelid = m.oid and k.contype = 'f' and k.conparentid = 0) as foreign_keys,
  (select json_agg(json_build_object('schema', r.schema, 'name', r.name) order by r.schema, r.name) from all_reads v join mine r on r.oid = v.read where v.view = m.oid) as reads,
  (select json_agg(g.tgname order by g.tgname) from pg_trigger g where g.tgrelid = m.oid and not g.tgisinternal and g.tgparentid = 0) as triggers
from mine m
order by m.schema, m.name`;

/** Values looked at in a column. */
const SAMPLED_ROWS = 200;

/**
 * Some values of columns that nobody annotated, as text, for suggestions: text and JSON only, up to 200 rows a table, none of
 * which is kept.
 * @param tables with the columns that are asked about; those of other types are left out.
 */
export async function sampleColumns(client: ClientBase, tables: readonly { id: string; relation: Relation; columns: readonly Column[] }[]): Promise<Map<string, Map<string, string[]>>> {
  const samples = new Map<string, Map<string, string[]>>();
  for (const { id, relation: table, columns } of tables) {
    const readable = columns.filter(({ baseType, generated }) => !generated && ['text', 'varchar', 'bpchar', 'json', 'jsonb', 'inet'].includes(baseType));
    if (readable.length === 0 || table.kind === 'foreign-table') continue;
    const list = readable.map(({ name }, place) => `left(${quoted(name)}::text, 1000) as c${place}`).join(', ');
    const { rows } = await client.query<Record<string, string | null>>(`select ${list} from ${quotedRelation(table)} limit ${SAMPLED_ROWS}`);
    samples.set(id, new Map(readable.map(({ name }, place) => [name, rows.flatMap((row) => row[`c${place}`] ?? [])])));
  }
  return samples;
}
