import type { ClientBase } from 'pg';
import { isOutstanding, type Assignment } from '../../platform/privacy/assignments.ts';
import { columnOf, type AnnotatedTable } from '../../platform/privacy/annotated-schema.ts';
import { quoted, quotedRelation, type Column } from '../../platform/privacy/catalog.ts';
import { SEVERAL_VALUES } from '../../platform/privacy/change-target.ts';
import type { DataMap } from '../../platform/privacy/data-map.ts';
import type { ChangedTable } from '../../platform/privacy/data-source.ts';
import { normalised, type Identities } from '../../platform/privacy/identities.ts';
import { changeDocument, textOf } from '../../platform/privacy/masks.ts';
import type { FlagValue } from '../../schemas/privacy/annotations.ts';
import { findRows, reachRows, RowSet, seedRows } from './postgres-rows.ts';
import { byColumn, rewriteRows, type ColumnRewrite } from './postgres-rewrite.ts';
import { inTransaction, takeFence } from './postgres-transaction.ts';

/** Rows read and written at once. */
const CHUNK = 1_000;

/** What one field holds in one row. */
interface Place {
  readonly oid: number;
  readonly tid: string;
  /** As PostgreSQL writes it. */
  readonly text: string | null;
}

/** What is found of a change before anything is written. */
export interface ChangeFindings {
  /** Rows of the person. */
  readonly rows: number;
  /** Of these, rows of tables that have a field of the change. */
  readonly concerned: number;
  readonly refusals: readonly string[];
  /** Rows that hold something else, by table. */
  readonly tables: readonly { readonly table: string; readonly rows: number }[];
}

/**
 * Finds the person's rows and what of them is to change, writes it and takes it back: constraints, triggers and rights are tried before
 * anything is changed anywhere.
 * @throws {HalError} Conflict naming what refused, without any value.
 */
export async function foreseeChange(client: ClientBase, map: DataMap, assignments: readonly Assignment[], identities: Identities): Promise<ChangeFindings> {
  return inTransaction(client, 'rollback', 'change', async () => {
    const { rows } = await findRows(client, map, identities);
    const outstanding = new Map<string, Set<string>>();
    const refusals: string[] = [];
    for (const assignment of assignments) {
      const table = map.schema.tables.get(assignment.table);
      const found = rows.get(assignment.table);
      if (table === undefined || found === undefined) continue;
      const where = `${table.id} ${assignment.path.join('.')}`;
      const places = await outstandingIn(client, table, assignment, found);
      if (places.length === 0) continue;
      if (assignment.refusal !== undefined) refusals.push(`${where}: ${assignment.refusal}`);
      else if (assignment.corrects && assignment.was === undefined && new Set(places.flatMap(({ values }) => values.map(normalised))).size > 1) refusals.push(`${where} ${SEVERAL_VALUES}`);
      else if (await isTaken(client, table, assignment, found)) refusals.push(`${where}: rows of somebody else hold the new value already, and two people would become one: whoever runs the database must say whose they are`);
      const all = outstanding.get(table.id) ?? new Set();
      for (const { oid, tid } of places) all.add(`${oid} ${tid}`);
      outstanding.set(table.id, all);
    }
    if (refusals.length === 0) {
      await writeTables(client, map, assignments, rows);
      // Deferred constraints would speak at the commit only.
      await client.query('set constraints all immediate');
    }
    const tables = new Set(assignments.map(({ table }) => table));
    const sizes = [...rows].map(([id, set]) => ({ id, size: set.size }));
    return {
      rows: sizes.reduce((sum, { size }) => sum + size, 0),
      concerned: sizes.reduce((sum, { id, size }) => sum + (tables.has(id) ? size : 0), 0),
      refusals,
      tables: [...outstanding].map(([table, places]) => ({ table, rows: places.size })),
    };
  });
}

/**
 * Writes all of a change in one transaction: once an identity is corrected, its old value finds nobody any more.
 * @param fence no two transactions of the same fence run at once.
 * @throws {HalError} Conflict when the database refuses, without any value.
 */
export async function writeChange(client: ClientBase, map: DataMap, assignments: readonly Assignment[], identities: Identities, fence: string): Promise<ChangedTable[]> {
  return inTransaction(client, 'commit', 'change', async () => {
    await takeFence(client, `hal9 change ${fence}`);
    return writeTables(client, map, assignments, (await findRows(client, map, identities)).rows);
  });
}

/**
 * Reads again, rows shared with others included.
 * @param identities the old ones, and corrected ones where the person may go by them by now.
 */
export async function remainingOf(client: ClientBase, map: DataMap, assignments: readonly Assignment[], identities: Identities): Promise<string[]> {
  return inTransaction(client, 'rollback', 'change', async () => {
    const reached = await reachRows(client, map, identities);
    const { shared } = await findRows(client, map, identities);
    const left: string[] = [];
    for (const assignment of assignments) {
      const table = map.schema.tables.get(assignment.table);
      const found = reached.get(assignment.table);
      // A flag on a row that is others' too is not the person's to set.
      if (table === undefined || found === undefined || (!assignment.corrects && shared.has(table.id))) continue;
      const { length: rows } = await outstandingIn(client, table, assignment, found);
      const remedy = assignment.refusal ?? (shared.has(table.id) ? 'rows of others point at them too: whoever runs the database must correct them by hand' : 'somebody wrote them meanwhile: try again');
      if (rows > 0) left.push(`${rows} rows of ${table.id} still hold something else in ${assignment.path.join('.')}: ${remedy}`);
    }
    return left;
  });
}

async function writeTables(client: ClientBase, map: DataMap, assignments: readonly Assignment[], rows: ReadonlyMap<string, RowSet>): Promise<ChangedTable[]> {
  const changed: ChangedTable[] = [];
  const writable = assignments.filter(({ refusal }) => refusal === undefined);
  for (const [id, all] of Map.groupBy(writable, ({ table }) => table)) {
    const table = map.schema.tables.get(id);
    const found = rows.get(id);
    if (table !== undefined && found !== undefined) changed.push({ table: id, changed: await writeTable(client, table, all, found) });
  }
  return changed;
}

async function writeTable(client: ClientBase, table: AnnotatedTable, assignments: readonly Assignment[], found: RowSet): Promise<number> {
  const columns: ColumnRewrite[] = [];
  for (const { column, fields } of byColumn(table, assignments)) {
    const wanted = new Map<Assignment, string | null>();
    for (const assignment of fields) wanted.set(assignment, await writtenAs(client, column, assignment));
    columns.push({ column, rewrite: (before) => fields.reduce((text, assignment) => rewritten(assignment, text, wanted.get(assignment) ?? null), before) });
  }
  return rewriteRows(client, table, columns, found);
}

/** Rows in which a field is not as it is to be, with what it holds instead. */
async function outstandingIn(client: ClientBase, table: AnnotatedTable, assignment: Assignment, found: RowSet): Promise<{ oid: number; tid: string; values: string[] }[]> {
  const column = columnOf(table, assignment.path[0] ?? '');
  if (column === undefined) return [];
  const wanted = await writtenAs(client, column, assignment);
  const outstanding: { oid: number; tid: string; values: string[] }[] = [];
  for (const { oid, tid, text } of await placesIn(client, table, column, found)) {
    const values = leavesOf(assignment, text).filter((leaf) => isOutstanding(assignment, leaf, wanted));
    if (values.length > 0) outstanding.push({ oid, tid, values: values.filter((value) => value !== null) });
  }
  return outstanding;
}

async function placesIn(client: ClientBase, table: AnnotatedTable, column: Column, found: RowSet): Promise<Place[]> {
  const places: Place[] = [];
  for (const { oid, tids } of found.chunks(CHUNK)) {
    const { rows } = await client.query<{ tid: string; text: string | null }>(`select ctid::text as tid, ${quoted(column.name)}::text as text from ${quotedRelation(table.relation)} where tableoid = $1 and ctid = any ($2::tid[])`, [oid, tids]);
    places.push(...rows.map(({ tid, text }) => ({ oid, tid, text })));
  }
  return places;
}

/** As the column writes it back: a date in its form, a number with its digits. */
async function writtenAs(client: ClientBase, column: Column, { path, value, refusal }: Assignment): Promise<string | null> {
  if (value === null) return null;
  if (path.length > 1 || refusal !== undefined) return String(value);
  const { rows } = await client.query<{ text: string | null }>(`select $1::text::${column.type}::text as text`, [String(value)]);
  return rows[0]?.text ?? null;
}

/** What a field holds: the column's text, or members of the document that are there and not null. */
function leavesOf({ path }: Assignment, text: string | null): (string | null)[] {
  if (path.length === 1) return [text];
  const leaves: string[] = [];
  const note = (node: unknown): unknown => {
    if (node !== null) leaves.push(textOf(node));
    return node;
  };
  changeDocument(text, [{ path: path.slice(1), change: note }]);
  return leaves;
}

function rewritten(assignment: Assignment, text: string | null, wanted: string | null): string | null {
  if (assignment.path.length === 1) return isOutstanding(assignment, text, wanted) ? wanted : text;
  if (!leavesOf(assignment, text).some((leaf) => isOutstanding(assignment, leaf, wanted))) return text;
  return changeDocument(text, [{ path: assignment.path.slice(1), change: (node) => (node === null || !isOutstanding(assignment, textOf(node), wanted) ? node : likeBefore(node, assignment.value)) }]);
}

/** A number stays a number, where the new value is one. */
function likeBefore(node: unknown, value: FlagValue): unknown {
  if (typeof value !== 'string' || typeof node === 'string') return value;
  return String(Number(value)) === value ? Number(value) : value;
}

/** Whether rows that are not the person's go by the new value already. */
async function isTaken(client: ClientBase, table: AnnotatedTable, { identity, path, value }: Assignment, own: RowSet): Promise<boolean> {
  if (identity === undefined || value === null) return false;
  const rest = new RowSet();
  rest.add(await seedRows(client, table, path, [String(value)]));
  for (const { oid, tids } of own.chunks(Number.MAX_SAFE_INTEGER)) rest.remove(tids.map((tid) => ({ oid, tid })));
  return rest.size > 0;
}
