import type { ClientBase } from 'pg';
import { isPersonal } from '../../platform/privacy/annotated-schema.ts';
import { qualified, quoted, quotedRelation, type Catalog, type Relation } from '../../platform/privacy/catalog.ts';
import type { DataMap } from '../../platform/privacy/data-map.ts';
import type { Remainder } from '../../platform/privacy/data-source.ts';
import { normalised, type Identities } from '../../platform/privacy/identities.ts';

/** Shorter values are found by chance: rows of everybody would be counted. Characters. */
const SHORTEST = 4;

/**
 * Looks for the identities again, knowing nothing of the map's ways: in every column of every table that can hold text, annotated or
 * not, materialized views included. Reads whole tables.
 */
export async function scanFor(client: ClientBase, catalog: Catalog, map: DataMap, identities: Identities): Promise<Remainder[]> {
  const values = Object.values(identities).flat().map(normalised).filter((value) => value.length >= SHORTEST);
  const left: Remainder[] = [];
  for (const relation of catalog.relations) {
    if (relation.kind === 'view' || relation.kind === 'foreign-table' || (relation.parent !== null && map.schema.holder(relation) !== map.schema.tables.get(qualified(relation)))) continue;
    const columns = relation.columns.filter(({ typeCategory, baseType }) => ['S', 'A', 'U'].includes(typeCategory) && !['uuid', 'macaddr', 'macaddr8'].includes(baseType));
    if (columns.length === 0 || values.length === 0) continue;
    const counts = columns.map(({ name, baseType }, at) => `count(*) filter (where ${holds(quoted(name), baseType)})::int as c${at}`);
    const { rows } = await client.query<Record<string, number>>(`select ${counts.join(', ')} from ${quotedRelation(relation)} t`, [values]);
    for (const [at, { name }] of columns.entries()) {
      const count = rows[0]?.[`c${at}`] ?? 0;
      if (count > 0) left.push({ table: qualified(relation), column: name, rows: count, kept: reasonFor(map, relation, name) });
    }
  }
  return left;
}

function holds(column: string, baseType: string): string {
  return baseType === 'bytea'
    ? `exists (select from unnest($1::text[]) w (w) where position(convert_to(w.w, 'UTF8') in ${column}) > 0)`
    : `exists (select from unnest($1::text[]) w (w) where position(w.w in lower(${column}::text)) > 0)`;
}

/** What people said that lets a value stay. */
function reasonFor(map: DataMap, relation: Relation, column: string): string | null {
  const id = qualified(relation);
  if (map.findings.some(({ code, table }) => code === 'skipped' && table === id)) return 'the annotation leaves the table out';
  const table = map.schema.tables.get(id);
  if (table?.annotation?.erase === 'keep') return table.annotation.keepBecause ?? null;
  const kept = map.treatments.get(id)?.kept.find(({ path }) => path[0] === column);
  if (kept !== undefined) return kept.why;
  const fields = table?.fields.filter(({ path }) => path[0] === column) ?? [];
  const categories = fields.flatMap((field) => field.categories);
  return categories.length > 0 && !categories.some(isPersonal) ? `annotated as ${categories.join(', ')}` : null;
}
