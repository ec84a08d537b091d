import type { ClientBase } from 'pg';
import { columnOf, type AnnotatedTable } from '../../platform/privacy/annotated-schema.ts';
import { quoted, quotedRelation } from '../../platform/privacy/catalog.ts';
import type { DataMap } from '../../platform/privacy/data-map.ts';
import { normalised, type Identities } from '../../platform/privacy/identities.ts';
import type { Edge, Pair } from '../../platform/privacy/references.ts';

/** Rows of one table, named by partition and place: good for the transaction they were found in. */
export class RowSet {
  readonly #rows = new Map<string, { oid: number; tid: string }>();

  get size(): number {
    return this.#rows.size;
  }

  /** @returns those that were not in it. */
  add(rows: readonly { oid: number; tid: string }[]): { oid: number; tid: string }[] {
    const fresh = rows.filter(({ oid, tid }) => !this.#rows.has(`${oid} ${tid}`));
    for (const row of fresh) this.#rows.set(`${row.oid} ${row.tid}`, row);
    return fresh;
  }

  remove(rows: readonly { oid: number; tid: string }[]): void {
    for (const { oid, tid } of rows) this.#rows.delete(`${oid} ${tid}`);
  }

  /** As parameters for `unnest($1::oid[], $2::tid[])`. */
  get parameters(): [number[], string[]] {
    const rows = [...this.#rows.values()];
    return [rows.map(({ oid }) => oid), rows.map(({ tid }) => tid)];
  }

  /** By partition, in chunks of at most so many. */
  *chunks(most: number): Generator<{ oid: number; tids: string[] }> {
    for (const [oid, rows] of Map.groupBy(this.#rows.values(), (row) => row.oid)) {
      for (let at = 0; at < rows.length; at += most) yield { oid, tids: rows.slice(at, at + most).map(({ tid }) => tid) };
    }
  }
}

export interface FoundRows {
  /** By table; tables without rows are left out. */
  readonly rows: ReadonlyMap<string, RowSet>;
  /** Rows that others' rows point at too, by table: they stay. */
  readonly shared: ReadonlyMap<string, number>;
}

type Place = { oid: number; tid: string };

/**
 * All rows of a person: from the identities on along the edges of the map, until no row is new. Run in a transaction that sees one
 * snapshot (REPEATABLE READ).
 */
export async function findRows(client: ClientBase, map: DataMap, identities: Identities): Promise<FoundRows> {
  const rows = await reachRows(client, map, identities);
  const shared = new Map<string, number>();
  for (const [id, set] of rows) {
    const others = await sharedRows(client, map, rows, id);
    if (others.length === 0) continue;
    set.remove(others);
    shared.set(id, others.length);
  }
  return { rows, shared };
}

/** As {@link findRows}, with the rows that rows of others point at too. */
export async function reachRows(client: ClientBase, map: DataMap, identities: Identities): Promise<Map<string, RowSet>> {
  const rows = new Map<string, RowSet>();
  let front = new Map<string, Place[]>();
  const take = (into: Map<string, Place[]>, table: string, found: readonly Place[]): void => {
    const set = rows.get(table) ?? new RowSet();
    const fresh = set.add(found);
    if (fresh.length === 0) return;
    rows.set(table, set);
    into.set(table, [...(into.get(table) ?? []), ...fresh]);
  };
  for (const { identity, table: id, path } of map.traversal.seeds) {
    const values = identities[identity] ?? [];
    const table = map.schema.tables.get(id);
    if (values.length > 0 && table !== undefined) take(front, id, await seedRows(client, table, path, values));
  }
  while (front.size > 0) {
    const next = new Map<string, Place[]>();
    for (const [from, places] of front) {
      for (const edge of map.traversal.edges) if (edge.from === from) take(next, edge.to, await rowsAlong(client, map, edge, places));
    }
    front = next;
  }
  return rows;
}

/** All values by which people are looked up at a seed, in portions; read in a transaction. */
export async function* seedValues(client: ClientBase, table: AnnotatedTable, path: readonly string[]): AsyncGenerator<string[]> {
  const [name = '', ...members] = path;
  const column = columnOf(table, name);
  const whole = `t.${quoted(name)}`;
  const relation = quotedRelation(table.relation);
  const from = members.length > 0 ? `${relation} t, ${membersOf(whole, column?.baseType ?? '', members)} v (v)` : column?.typeCategory === 'A' ? `${relation} t, unnest(${whole}) v (v)` : `${relation} t`;
  const text = members.length > 0 ? "v.v #>> '{}'" : column?.typeCategory === 'A' ? 'v.v::text' : `${whole}::text`;
  await client.query(`declare hal9_seed_values no scroll cursor for select distinct ${text} as value from ${from} where ${text} is not null`);
  for (;;) {
    const { rows } = await client.query<{ value: string }>('fetch 5000 from hal9_seed_values');
    if (rows.length === 0) break;
    yield rows.map(({ value }) => value);
  }
  await client.query('close hal9_seed_values');
}

/** Rows in which a person is looked up by one of these values. */
export async function seedRows(client: ClientBase, table: AnnotatedTable, path: readonly string[], values: readonly string[]): Promise<Place[]> {
  const wanted = values.map(normalised);
  const { rows } = await client.query<Place>(`select t.tableoid::int8 as oid, t.ctid::text as tid from ${quotedRelation(table.relation)} t where ${matches(table, path, (text) => `lower(${text}) = any ($1::text[])`)}`, [wanted]);
  return rows;
}

/** A condition on what is at a path: the column's text, each element of an array, each member of JSON. */
function matches(table: AnnotatedTable, path: readonly string[], condition: (text: string) => string): string {
  const [name = '', ...members] = path;
  const column = columnOf(table, name);
  const whole = `t.${quoted(name)}`;
  if (members.length > 0) return `exists (select from ${membersOf(whole, column?.baseType ?? '', members)} v (v) where ${condition("v.v #>> '{}'")})`;
  if (column?.typeCategory === 'A') return `exists (select from unnest(${whole}) v (v) where ${condition('v.v::text')})`;
  return condition(`${whole}::text`);
}

/** Lax paths go through arrays on the way. Text that is no JSON has no members. */
function membersOf(column: string, baseType: string, members: readonly string[]): string {
  const document = ['json', 'jsonb'].includes(baseType) ? `${column}::jsonb` : `case when ${column} is json then ${column}::jsonb end`;
  const path = `lax $${members.map((member) => `.${JSON.stringify(member)}`).join('')}[*]`;
  return `jsonb_path_query(${document}, '${path.replaceAll("'", "''")}')`;
}

async function rowsAlong(client: ClientBase, map: DataMap, edge: Edge, places: readonly Place[]): Promise<Place[]> {
  const [from, to] = [map.schema.tables.get(edge.from), map.schema.tables.get(edge.to)];
  if (from === undefined || to === undefined) return [];
  const values = edge.pairs.map((pair, at) => `${valueAt(from, pair.from, 's')} as v${at}`).join(', ');
  const equal = edge.pairs.map((pair, at) => equals(from, to, pair, at)).join(' and ');
  const { rows } = await client.query<Place>(
    `select distinct t.tableoid::int8 as oid, t.ctid::text as tid
     from (select distinct ${values} from ${quotedRelation(from.relation)} s where (s.tableoid, s.ctid) in (select * from unnest($1::oid[], $2::tid[]))) s, ${quotedRelation(to.relation)} t
     where ${equal}`,
    [places.map(({ oid }) => oid), places.map(({ tid }) => tid)],
  );
  return rows;
}

/** A column as it is, or a JSON member's text. */
function valueAt(table: AnnotatedTable, path: readonly string[], alias: string): string {
  const [name = '', ...members] = path;
  const column = `${alias}.${quoted(name)}`;
  const baseType = columnOf(table, name)?.baseType ?? '';
  // json and xml know no equality.
  if (members.length === 0) return ['json', 'xml'].includes(baseType) ? `${column}::text` : column;
  const document = ['json', 'jsonb'].includes(baseType) ? `${column}::jsonb` : `case when ${column} is json then ${column}::jsonb end`;
  return `(${document}) #>> array[${members.map((member) => `'${member.replaceAll("'", "''")}'`).join(', ')}]::text[]`;
}

/** Types of one category are compared as they are, so that an index serves; others as text. */
function equals(from: AnnotatedTable, to: AnnotatedTable, pair: Pair, at: number): string {
  const [one, other] = [columnOf(from, pair.from[0] ?? ''), columnOf(to, pair.to[0] ?? '')];
  if (pair.to.length > 1) return matches(to, pair.to, (text) => `${text} = s.v${at}::text`);
  const plain = pair.from.length === 1 && one !== undefined && other !== undefined && one.typeCategory === other.typeCategory && one.typeCategory !== 'U' && one.typeCategory !== 'E';
  const same = plain || one?.baseType === other?.baseType;
  return same && pair.from.length === 1 && !['json', 'xml'].includes(one?.baseType ?? '') ? `t.${quoted(pair.to[0] ?? '')} = s.v${at}` : `t.${quoted(pair.to[0] ?? '')}::text = s.v${at}::text`;
}

/** Of the rows found in a table nobody is looked up in: those that a row of others points at too. */
async function sharedRows(client: ClientBase, map: DataMap, found: ReadonlyMap<string, RowSet>, id: string): Promise<Place[]> {
  const table = map.schema.tables.get(id);
  const own = found.get(id);
  if (table === undefined || own === undefined || table.fields.some(({ identity }) => identity !== undefined)) return [];
  const method = map.treatments.get(id)?.method;
  if (method !== 'mask' && method !== 'delete') return [];
  const shared: Place[] = [];
  for (const { child, pairs } of pointers(map, table)) {
    const others = found.get(child.id) ?? new RowSet();
    const { rows } = await client.query<Place>(
      `select t.tableoid::int8 as oid, t.ctid::text as tid from ${quotedRelation(table.relation)} t
       where (t.tableoid, t.ctid) in (select * from unnest($1::oid[], $2::tid[]))
         and exists (select from ${quotedRelation(child.relation)} c where ${pairs.map(({ from, to }) => `c.${quoted(from)}::text = t.${quoted(to)}::text`).join(' and ')} and (c.tableoid, c.ctid) not in (select * from unnest($3::oid[], $4::tid[])))`,
      [...own.parameters, ...others.parameters],
    );
    shared.push(...rows);
  }
  return shared;
}

/** Columns of other tables that name a row of this one by a key of it, annotated or not. */
function pointers(map: DataMap, table: AnnotatedTable): { child: AnnotatedTable; pairs: { from: string; to: string }[] }[] {
  const key = (columns: readonly string[]): boolean => table.relation.uniqueKeys.some((unique) => unique.length === columns.length && unique.every((column) => columns.includes(column)));
  const found = new Map<string, { child: AnnotatedTable; pairs: { from: string; to: string }[] }>();
  const add = (child: AnnotatedTable | undefined, pairs: { from: string; to: string }[]): void => {
    if (child === undefined || child === table || !key(pairs.map(({ to }) => to))) return;
    found.set(JSON.stringify([child.id, pairs]), { child, pairs });
  };
  for (const edge of map.traversal.edges) {
    if (edge.to === table.id && edge.pairs.every(({ from, to }) => from.length === 1 && to.length === 1)) add(map.schema.tables.get(edge.from), edge.pairs.map(({ from, to }) => ({ from: from[0] ?? '', to: to[0] ?? '' })));
  }
  // A child that is found through this very row is the person's with it.
  for (const { child, parent, key: constraint } of map.constraints) {
    if (parent !== table || map.traversal.edges.some(({ from, to }) => from === table.id && to === child.id)) continue;
    add(child, constraint.columns.map((from, at) => ({ from, to: constraint.targetColumns[at] ?? '' })));
  }
  return [...found.values()];
}
