import type { ClientBase } from 'pg';
import { columnOf, type AnnotatedTable } from '../../platform/privacy/annotated-schema.ts';
import { quoted, quotedRelation, type Column } from '../../platform/privacy/catalog.ts';
import type { RowSet } from './postgres-rows.ts';

/** Rows read and written at once. */
const CHUNK = 1_000;

/** What becomes of a column: from its text, as PostgreSQL writes it, to another. */
export interface ColumnRewrite {
  readonly column: Column;
  readonly rewrite: (text: string | null) => string | null;
}

/** Fields by the column that holds them: members of a document are written together. */
export function byColumn<Field extends { readonly path: readonly string[] }>(table: AnnotatedTable, fields: readonly Field[]): { readonly column: Column; readonly fields: readonly Field[] }[] {
  return [...Map.groupBy(fields, ({ path }) => path[0] ?? '')].flatMap(([name, of]) => {
    const column = columnOf(table, name);
    return column === undefined ? [] : [{ column, fields: of }];
  });
}

/**
 * Writes columns of one table together: rows move when they are written.
 * @returns rows that hold something else now. One that an earlier attempt wrote is reached again as long as what leads to it stands: it counts once.
 */
export async function rewriteRows(client: ClientBase, table: AnnotatedTable, columns: readonly ColumnRewrite[], found: RowSet): Promise<number> {
  const relation = quotedRelation(table.relation);
  const read = columns.map(({ column }, at) => `${quoted(column.name)}::text as c${at}`).join(', ');
  const write = columns.map(({ column }, at) => `${quoted(column.name)} = v.c${at}::${column.type}`).join(', ');
  let count = 0;
  for (const { oid, tids } of found.chunks(CHUNK)) {
    const { rows } = await client.query<Record<string, string | null>>(`select ctid::text as tid, ${read} from ${relation} where tableoid = $1 and ctid = any ($2::tid[]) for update`, [oid, tids]);
    const next = rows.flatMap((row) => {
      const values = columns.map(({ rewrite }, at) => rewrite(row[`c${at}`] ?? null));
      return values.some((value, at) => value !== (row[`c${at}`] ?? null)) ? [{ tid: row['tid'] ?? '', values }] : [];
    });
    if (next.length === 0) continue;
    const { rowCount } = await client.query(
      `update ${relation} t set ${write} from unnest($2::tid[]${columns.map((_, at) => `, $${at + 3}::text[]`).join('')}) v (tid${columns.map((_, at) => `, c${at}`).join('')}) where t.tableoid = $1 and t.ctid = v.tid`,
      [oid, next.map(({ tid }) => tid), ...columns.map((_, at) => next.map(({ values }) => values[at] ?? null))],
    );
    count += rowCount ?? 0;
  }
  return count;
}
