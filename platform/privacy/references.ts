import { columnOf, isPersonalField, resolveColumn, type AnnotatedSchema, type AnnotatedTable } from './annotated-schema.ts';
import type { ForeignKey } from './catalog.ts';
import type { Findings } from './findings.ts';

/** One equality of a step from row to row: a column, or a member of a JSON column. */
export interface Pair {
  readonly from: readonly string[];
  readonly to: readonly string[];
}

/** A way from rows of one table to rows of another (or the same): all pairs are equal. */
export interface Edge {
  readonly from: string;
  readonly to: string;
  readonly pairs: readonly Pair[];
  /** Whether people wrote it down, the database knows it, or both. */
  readonly by: 'annotation' | 'foreign-key' | 'both';
  /** For an edge only the database knows: `down` to rows that point here, `up` to the row pointed at. */
  readonly inferred: 'down' | 'up' | null;
}

/** A foreign key between tables, in the direction of the constraint. */
export interface Constraint {
  readonly child: AnnotatedTable;
  readonly parent: AnnotatedTable;
  readonly key: ForeignKey;
}

export interface References {
  /** Written down. */
  readonly declared: readonly Edge[];
  /** Known to the database only. */
  readonly inferred: readonly Edge[];
  readonly constraints: readonly Constraint[];
}

/** Ways from row to row: those of the annotations, and those of foreign keys that no annotation speaks of. */
export function findReferences(schema: AnnotatedSchema, findings: Findings): References {
  const constraints = [...schema.tables.values()].flatMap((child) =>
    child.relation.foreignKeys.flatMap((key): Constraint[] => {
      const parent = schema.holder(key.target);
      return parent === undefined ? [] : [{ child, parent, key }];
    }),
  );
  const written = [...schema.tables.values()].flatMap((table) => declaredLinks(schema, table, findings));
  const links = joinComposites(written, constraints, findings);
  const declared: Edge[] = [];
  for (const link of links) {
    const known = constraints.some((constraint) => sameLink(link, constraint));
    if (!known && link.pairs.every(({ from, to }) => from.length === 1 && to.length === 1)) {
      findings.note('reference-without-foreign-key', link.table.id, columns(link.pairs, 'from'), `${link.other.id} (${columns(link.pairs, 'to')}): only the annotation knows it; nothing keeps the rows there`);
    }
    const by = known ? 'both' : 'annotation';
    if (link.direction !== 'from') declared.push({ from: link.table.id, to: link.other.id, pairs: link.pairs, by, inferred: null });
    if (link.direction !== 'to') declared.push({ from: link.other.id, to: link.table.id, pairs: link.pairs.map(({ from, to }) => ({ from: to, to: from })), by, inferred: null });
    compareTypes(link, findings);
  }
  const inferred = constraints.filter((constraint) => !links.some((link) => sameLink(link, constraint))).flatMap((constraint) => infer(constraint, findings));
  return { declared: distinct(declared), inferred: distinct(inferred), constraints };
}

interface Link {
  readonly table: AnnotatedTable;
  readonly other: AnnotatedTable;
  readonly pairs: readonly Pair[];
  readonly direction: 'to' | 'from' | 'both';
}

function declaredLinks(schema: AnnotatedSchema, table: AnnotatedTable, findings: Findings): Link[] {
  const { annotation } = table;
  if (annotation === undefined) return [];
  const links: Link[] = [];
  for (const field of table.fields) {
    for (const reference of field.references) {
      const dataset = reference.dataset ?? annotation.dataset;
      const written = [reference.table, ...reference.path].join('.');
      const target = resolveTarget(schema, dataset, reference.table, reference.path);
      if (target !== undefined) links.push({ table, other: target.table, pairs: [{ from: field.path, to: target.path }], direction: reference.direction });
      else if (reference.dataset === undefined) findings.refuse('reference-to-nowhere', table.id, field.path.join('.'), `references ${written}, which is not there: rows behind it would be missed`);
      else findings.refuse('reference-to-other-dataset', table.id, field.path.join('.'), `references ${written} of the dataset ${reference.dataset}, which is not given: rows behind it would be missed`);
    }
  }
  for (const reference of annotation.composite) {
    const other = resolveTable(schema, annotation.dataset, reference.table);
    const pairs = reference.columns.map((column, place) => ({ from: [column], to: [reference.targets[place] ?? ''] }));
    const missing = other === undefined || pairs.some(({ from, to }) => columnOf(table, from[0] ?? '') === undefined || columnOf(other, to[0] ?? '') === undefined);
    if (missing) findings.refuse('reference-to-nowhere', table.id, reference.columns.join(', '), `references ${reference.table} (${reference.targets.join(', ')}), which is not there: rows behind it would be missed`);
    else links.push({ table, other, pairs, direction: reference.direction });
  }
  return links;
}

/** `table.column.member`: the table's name may have a dot in it (`schema.table`). */
function resolveTarget(schema: AnnotatedSchema, dataset: string, table: string, path: readonly string[]): { table: AnnotatedTable; path: readonly string[] } | undefined {
  const parts = [table, ...path];
  for (let taken = 1; taken < parts.length; taken += 1) {
    const other = resolveTable(schema, dataset, parts.slice(0, taken).join('.'));
    const found = other === undefined ? undefined : resolveColumn(other.relation, parts.slice(taken));
    if (other !== undefined && found !== undefined) return { table: other, path: found.path };
  }
  return undefined;
}

/** A table by the name of its annotation, else by its own. */
export function resolveTable(schema: AnnotatedSchema, dataset: string, name: string): AnnotatedTable | undefined {
  const named = schema.named(dataset, name);
  if (named !== undefined) return named;
  const found = [...schema.tables.values()].filter(({ relation }) => relation.name === name || `${relation.schema}.${relation.name}` === name);
  return found.length === 1 ? found[0] : found.find(({ relation }) => relation.schema === 'public');
}

/**
 * References are written column by column; where several make up one key they are one: each alone would reach the rows of
 * everybody who shares that part.
 */
function joinComposites(links: readonly Link[], constraints: readonly Constraint[], findings: Findings): Link[] {
  const rest = new Set(links);
  const joined: Link[] = [];
  for (const { child, parent, key } of constraints) {
    if (key.columns.length < 2) continue;
    const pairs = key.columns.map((column, place): Pair => ({ from: [column], to: [key.targetColumns[place] ?? ''] }));
    const parts = [...rest].filter((link) => link.pairs.length === 1 && pairs.some((pair) => (link.table === child && link.other === parent && samePair(link.pairs[0], pair)) || (link.table === parent && link.other === child && samePair(flip(link.pairs[0]), pair))));
    const [first] = parts;
    if (first === undefined) continue;
    for (const part of parts) rest.delete(part);
    if (parts.length < pairs.length) findings.warn('partial-reference', first.table.id, columns(parts.flatMap((part) => part.pairs), 'from'), `part of the foreign key ${key.name} (${key.columns.join(', ')}): alone it would reach rows of others, so the whole key is followed`);
    const directions = new Set(parts.map(({ direction }) => direction));
    const [direction] = directions;
    joined.push({ table: first.table, other: first.other, pairs: first.table === child ? pairs : pairs.map((pair) => ({ from: pair.to, to: pair.from })), direction: directions.size === 1 && direction !== undefined ? direction : 'both' });
  }
  const groups = Map.groupBy(rest, ({ table, other, direction, pairs }) => JSON.stringify([table.id, other.id, direction, pairs.length === 1]));
  for (const group of groups.values()) {
    const pairs = group.flatMap((link) => link.pairs);
    const [first] = group;
    const isKey = (table: AnnotatedTable, side: 'from' | 'to'): boolean => table.relation.uniqueKeys.some((key) => key.length === pairs.length && pairs.every((pair) => pair[side].length === 1 && key.includes(pair[side][0] ?? '')) && new Set(pairs.map((pair) => pair[side][0])).size === key.length);
    if (first !== undefined && group.length > 1 && (isKey(first.other, 'to') || isKey(first.table, 'from')) && new Set(pairs.map(({ from }) => from.join('.'))).size === pairs.length) joined.push({ ...first, pairs });
    else joined.push(...group);
  }
  return joined;
}

function flip(pair: Pair | undefined): Pair | undefined {
  return pair === undefined ? undefined : { from: pair.to, to: pair.from };
}

function samePair(one: Pair | undefined, other: Pair): boolean {
  return one !== undefined && one.from.join('\0') === other.from.join('\0') && one.to.join('\0') === other.to.join('\0');
}

/** Whether a written reference speaks of the same columns as the constraint, in whichever direction. */
function sameLink(link: Link, { child, parent, key }: Constraint): boolean {
  if (link.pairs.length !== key.columns.length) return false;
  const pairs = key.columns.map((column, place): Pair => ({ from: [column], to: [key.targetColumns[place] ?? ''] }));
  return (
    (link.table === child && link.other === parent && pairs.every((pair) => link.pairs.some((own) => samePair(own, pair)))) ||
    (link.table === parent && link.other === child && pairs.every((pair) => link.pairs.some((own) => samePair(flip(own), pair))))
  );
}

/**
 * What a foreign key says that nobody annotated: rows that point at a person's row are theirs too, unless they are a person's
 * row of their own; and the row pointed at is theirs where it holds data of people and nobody is looked up by it.
 */
function infer({ child, parent, key }: Constraint, findings: Findings): Edge[] {
  if (child.annotation?.skip === true || parent.annotation?.skip === true) return [];
  const where = key.columns.join(', ');
  if (child === parent) {
    findings.note('self-reference', child.id, where, `foreign key ${key.name} within the table is not followed: rows that point at a person's row may be another person's; annotate it with a direction to follow it`);
    return [];
  }
  const pairs = key.columns.map((column, place): Pair => ({ from: [column], to: [key.targetColumns[place] ?? ''] }));
  const edges: Edge[] = [];
  const names = (table: AnnotatedTable): boolean => table.fields.some(({ identity }) => identity !== undefined);
  if (names(child)) findings.warn('reference-not-followed', child.id, where, `foreign key ${key.name} to ${parent.id}: people are looked up in ${child.id} itself, so its rows may be of others; annotate the reference with a direction to follow it`);
  else edges.push({ from: parent.id, to: child.id, pairs: pairs.map(({ from, to }) => ({ from: to, to: from })), by: 'foreign-key', inferred: 'down' });
  const personal = parent.fields.some((field) => isPersonalField(field) && parent.relation.primaryKey?.includes(field.path[0] ?? '') !== true);
  if (personal && !names(parent)) edges.push({ from: child.id, to: parent.id, pairs, by: 'foreign-key', inferred: 'up' });
  return edges;
}

function compareTypes(link: Link, findings: Findings): void {
  for (const { from, to } of link.pairs) {
    const one = columnOf(link.table, from[0] ?? '');
    const other = columnOf(link.other, to[0] ?? '');
    if (one === undefined || other === undefined || from.length > 1 || to.length > 1) continue;
    if (one.typeCategory !== other.typeCategory) findings.warn('reference-types-differ', link.table.id, from.join('.'), `${one.type}, and ${link.other.id} has ${to.join('.')} as ${other.type}: they are compared as text`);
  }
}

function columns(pairs: readonly Pair[], side: 'from' | 'to'): string {
  return pairs.map((pair) => pair[side].join('.')).join(', ');
}

function distinct(edges: readonly Edge[]): Edge[] {
  return [...new Map(edges.map((edge) => [JSON.stringify([edge.from, edge.to, edge.pairs]), edge])).values()];
}

