import type { LegalHold } from '../../database/legal-holds.ts';
import type { RetentionPolicy } from '../../schemas/privacy/annotations.ts';
import { resolveColumn, type AnnotatedTable } from './annotated-schema.ts';
import type { Column } from './catalog.ts';
import type { DataMap } from './data-map.ts';
import type { Constraint } from './references.ts';

/** A table whose rows go when their time is over. */
export interface ExpiringTable {
  readonly table: AnnotatedTable;
  readonly policy: RetentionPolicy;
  readonly since: Column;
  /** Rows whose time is before it go. */
  readonly cutoff: Date;
}

export interface RetentionPlan {
  /** Those whose rows point at others' first. */
  readonly tables: readonly ExpiringTable[];
  /** Tables with a policy that nothing is deleted from, and why. */
  readonly kept: readonly { readonly table: string; readonly policy: RetentionPolicy; readonly why: string }[];
}

/**
 * What the policies of the annotations ask for at a moment.
 * @param holds in force: those on tables keep them whole.
 * @param only tables as the annotations name them or qualified; default all.
 */
export function planRetention(map: DataMap, source: string, holds: readonly LegalHold[], now: Date, only?: readonly string[]): RetentionPlan {
  const tables: ExpiringTable[] = [];
  const kept: { table: string; policy: RetentionPolicy; why: string }[] = [];
  for (const table of map.schema.tables.values()) {
    const { annotation } = table;
    const policy = annotation?.retention;
    if (annotation === undefined || policy === undefined) continue;
    const named = (name: string): boolean => name === annotation.name || name === table.id || name === `${table.relation.schema}.${table.relation.name}`;
    if (only !== undefined && !only.some(named)) continue;
    const hold = holds.find((one) => one.source === source && one.table !== null && named(one.table) && one.subjects === null);
    const since = resolveColumn(table.relation, [policy.since])?.column;
    const why = hold !== undefined ? `legal hold ${hold.id}: ${hold.reason}` : unusable(table, policy, since);
    if (why !== undefined || since === undefined) kept.push({ table: table.id, policy, why: why ?? '' });
    else tables.push({ table, policy, since, cutoff: cutoffOf(policy.keep, now) });
  }
  const { order, circles } = childrenFirst(tables, map.constraints);
  return { tables: order, kept: [...kept, ...circles.map(({ table, policy }) => ({ table: table.id, policy, why: 'its rows and rows of other tables with a policy hold each other: no order is right; have one of the foreign keys set null on delete' }))] };
}

function unusable(table: AnnotatedTable, { since: name }: RetentionPolicy, since: Column | undefined): string | undefined {
  if (since === undefined) return `the policy counts from ${name}, and the table has no such column: it was renamed or dropped since`;
  if (!['date', 'timestamp', 'timestamptz'].includes(since.baseType)) return `the policy counts from ${name}, which is ${since.type} and no time`;
  return table.relation.kind === 'foreign-table' ? 'its rows are on another server' : undefined;
}

/** Whether the database keeps a row while the other points at it, or would delete the other with it. */
export function holdsParent({ key }: Constraint): boolean {
  return key.onDelete !== 'set null' && key.onDelete !== 'set default';
}

function childrenFirst(tables: readonly ExpiringTable[], constraints: readonly Constraint[]): { order: ExpiringTable[]; circles: ExpiringTable[] } {
  const left = new Set(tables);
  const order: ExpiringTable[] = [];
  for (;;) {
    const next = [...left].find(({ table }) => !constraints.some((constraint) => constraint.parent === table && constraint.child !== table && holdsParent(constraint) && [...left].some((other) => other.table === constraint.child)));
    if (next === undefined) return { order, circles: [...left] };
    left.delete(next);
    order.push(next);
  }
}

/**
 * The moment a duration before another, in UTC. A day that the month does not have is its last.
 * @param keep ISO 8601: years, months, weeks, days.
 */
export function cutoffOf(keep: string, now: Date): Date {
  const [, years, months, weeks, days] = /^P(?:(\d+)Y)?(?:(\d+)M)?(?:(\d+)W)?(?:(\d+)D)?$/.exec(keep) ?? [];
  const number = (text: string | undefined): number => Number(text ?? 0);
  const at = new Date(now);
  const day = at.getUTCDate();
  at.setUTCDate(1);
  at.setUTCMonth(at.getUTCMonth() - number(months) - 12 * number(years));
  const last = new Date(Date.UTC(at.getUTCFullYear(), at.getUTCMonth() + 1, 0)).getUTCDate();
  at.setUTCDate(Math.min(day, last));
  at.setUTCDate(at.getUTCDate() - number(days) - 7 * number(weeks));
  return at;
}
