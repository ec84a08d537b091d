import type { ClientBase } from 'pg';
import { type AnnotatedTable } from '../../platform/privacy/annotated-schema.ts';
import { quoted, quotedRelation, type Column } from '../../platform/privacy/catalog.ts';
import type { DataMap } from '../../platform/privacy/data-map.ts';
import type { ErasureStep } from '../../platform/privacy/erasure-order.ts';
import type { Identities } from '../../platform/privacy/identities.ts';
import { maskDocument, maskValue, type MaskContext } from '../../platform/privacy/masks.ts';
import type { MaskedField, Treatment } from '../../platform/privacy/treatment.ts';
import { HalError } from '../../schemas/errors.ts';
import { findRows, type FoundRows } from './postgres-rows.ts';
import { byColumn, rewriteRows } from './postgres-rewrite.ts';
import { inTransaction, takeFence } from './postgres-transaction.ts';

/** What happened, or would happen, to a person's rows of one table. */
export interface TableOutcome {
  readonly table: string;
  readonly method: Treatment['method'];
  /** Rows of the person. */
  readonly found: number;
  /** Masked or deleted. */
  readonly changed: number;
  /** Rows that stay because rows of others point at them too. */
  readonly shared: number;
}


/**
 * Does the whole erasure in one transaction and takes it back: constraints, triggers and rights are tried before anything is destroyed.
 * @throws {HalError} Conflict naming what refused, without any value.
 */
export async function rehearse(client: ClientBase, map: DataMap, identities: Identities, context: MaskContext): Promise<TableOutcome[]> {
  return inTransaction(client, 'rollback', 'erasure', async () => {
    const found = await findRows(client, map, identities);
    const outcomes: TableOutcome[] = [];
    for (const step of map.order) outcomes.push(...(await eraseTables(client, map, step, found, context)));
    // Deferred constraints would speak at the commit only.
    await client.query('set constraints all immediate');
    return outcomes;
  });
}

/**
 * One step in one transaction: finds what is left of the person, and erases the tables of the step.
 * @param fence no two transactions of the same fence run at once.
 * @throws {HalError} Conflict as {@link rehearse}; `pg` errors when the database is away.
 */
export async function eraseStep(client: ClientBase, map: DataMap, step: ErasureStep, identities: Identities, context: MaskContext, fence: string): Promise<TableOutcome[]> {
  return inTransaction(client, 'commit', 'erasure', async () => {
    await takeFence(client, `hal9 erasure ${fence}`);
    return eraseTables(client, map, step, await findRows(client, map, identities), context);
  });
}

/** Masks first: a reference that is emptied no longer holds what is deleted. Deletes are one statement, so that rows that hold each other go together. */
async function eraseTables(client: ClientBase, map: DataMap, step: ErasureStep, found: FoundRows, context: MaskContext): Promise<TableOutcome[]> {
  const changed = new Map<string, number>();
  const doomed: AnnotatedTable[] = [];
  for (const id of step.tables) {
    const table = map.schema.tables.get(id);
    const treatment = map.treatments.get(id);
    if (table === undefined || treatment === undefined) continue;
    if (treatment.method === 'mask') changed.set(id, await maskRows(client, table, treatment.columns, found, context));
    if (treatment.method === 'delete' && (found.rows.get(id)?.size ?? 0) > 0) doomed.push(table);
  }
  for (const [id, count] of await deleteRows(client, map, doomed, found)) changed.set(id, count);
  return step.tables.map((table) => ({
    table,
    method: map.treatments.get(table)?.method ?? 'none',
    found: found.rows.get(table)?.size ?? 0,
    changed: changed.get(table) ?? 0,
    shared: found.shared.get(table) ?? 0,
  }));
}

async function maskRows(client: ClientBase, table: AnnotatedTable, masked: readonly MaskedField[], found: FoundRows, context: MaskContext): Promise<number> {
  const rows = found.rows.get(table.id);
  if (rows === undefined) return 0;
  return rewriteRows(client, table, byColumn(table, masked).map(({ column, fields }) => ({ column, rewrite: (text) => maskColumn(column, fields, text, context) })), rows);
}

function maskColumn(column: Column, fields: readonly MaskedField[], value: string | null, context: MaskContext): string | null {
  const whole = fields.find(({ path }) => path.length === 1);
  if (whole !== undefined) return maskValue(whole.masking, value, column.length, context);
  return maskDocument(value, fields.map(({ path, masking }) => ({ path: path.slice(1), masking })), context);
}

async function deleteRows(client: ClientBase, map: DataMap, tables: readonly AnnotatedTable[], found: FoundRows): Promise<Map<string, number>> {
  if (tables.length === 0) return new Map();
  for (const table of tables) await refuseCascades(client, map, table, found);
  const parameters = tables.flatMap(({ id }) => found.rows.get(id)?.parameters ?? [[], []]);
  const deletes = tables.map(({ relation }, at) => `d${at} as (delete from ${quotedRelation(relation)} where (tableoid, ctid) in (select * from unnest($${at * 2 + 1}::oid[], $${at * 2 + 2}::tid[])) returning 1)`);
  const { rows } = await client.query<Record<string, number>>(`with ${deletes.join(', ')} select ${tables.map((_, at) => `(select count(*)::int from d${at}) as n${at}`).join(', ')}`, parameters);
  return new Map(tables.map(({ id }, at) => [id, rows[0]?.[`n${at}`] ?? 0]));
}

/** A cascade would take rows of others along. */
async function refuseCascades(client: ClientBase, map: DataMap, table: AnnotatedTable, found: FoundRows): Promise<void> {
  for (const { child, parent, key } of map.constraints) {
    if (parent !== table || key.onDelete !== 'cascade') continue;
    const join = key.columns.map((column, at) => `c.${quoted(column)} = t.${quoted(key.targetColumns[at] ?? '')}`).join(' and ');
    const { rows } = await client.query<{ others: number }>(
      `select count(*)::int as others from ${quotedRelation(child.relation)} c join ${quotedRelation(parent.relation)} t on ${join}
       where (t.tableoid, t.ctid) in (select * from unnest($1::oid[], $2::tid[])) and (c.tableoid, c.ctid) not in (select * from unnest($3::oid[], $4::tid[]))`,
      [...(found.rows.get(table.id)?.parameters ?? [[], []]), ...(found.rows.get(child.id)?.parameters ?? [[], []])],
    );
    const others = rows[0]?.others ?? 0;
    if (others > 0) throw new HalError('Conflict', `${others} rows of ${child.id} that are not the person's would be deleted with rows of ${table.id} (${key.name}, on delete cascade)`);
  }
}
