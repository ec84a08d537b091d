import { resolveTable, type Constraint, type Edge } from './references.ts';
import type { AnnotatedSchema } from './annotated-schema.ts';
import type { Findings } from './findings.ts';
import type { Reached, Traversal } from './traversal.ts';
import type { Treatment } from './treatment.ts';

/** Tables that are erased in one transaction. */
export interface ErasureStep {
  /** Steps of the same number do not depend on each other. From 1. */
  readonly step: number;
  /** In the order of the statements. */
  readonly tables: readonly string[];
  /** Why several tables share a transaction; null for one. */
  readonly together: string | null;
}

/** `before` must be erased no later than `after`. */
interface Rule {
  readonly before: string;
  readonly after: string;
  readonly because: 'found-through' | 'held-by' | 'annotated';
}

/**
 * The order of an erasure. Rows are found through other rows, so what was found is erased before what it was found through: an
 * erasure that was cut off finds the rest again. Rows that hold a deleted row by a foreign key go before it. Tables whose
 * rules contradict each other are erased together, in one transaction.
 */
export function orderErasure(schema: AnnotatedSchema, traversal: Traversal, treatments: ReadonlyMap<string, Treatment>, constraints: readonly Constraint[], findings: Findings): ErasureStep[] {
  const annotated = annotatedRules(schema, treatments, findings);
  const rules = [...foundRules(traversal.edges), ...heldRules(constraints, treatments), ...annotated];
  const depth = new Map(traversal.reached.map(({ table, step }: Reached) => [table, step]));
  const nodes = traversal.reached.map(({ table }) => table);
  for (const cycle of components(nodes, annotated).filter(({ length }) => length > 1)) findings.refuse('order-contradicts-itself', cycle[0] ?? null, null, `${cycle.toSorted().join(', ')} are each annotated to be erased after the other`);
  const groups = components(nodes, rules);
  const groupOf = new Map(groups.flatMap((group) => group.map((table) => [table, group] as const)));
  const level = new Map<readonly string[], number>();
  // Tarjan's algorithm hands components out with everything they lead to before them; `before` points forward.
  for (const group of groups.toReversed()) {
    const earlier = rules.filter(({ before, after }) => groupOf.get(after) === group && groupOf.get(before) !== group).map(({ before }) => level.get(groupOf.get(before) ?? group) ?? 0);
    level.set(group, Math.max(0, ...earlier) + 1);
  }
  return groups
    .map((group): ErasureStep => ({ step: level.get(group) ?? 1, tables: inside(group, rules, depth), together: group.length === 1 ? null : whyTogether(group, rules, traversal.edges) }))
    .toSorted((a, b) => a.step - b.step || ((a.tables[0] ?? '') < (b.tables[0] ?? '') ? -1 : 1));
}

function foundRules(edges: readonly Edge[]): Rule[] {
  return edges.filter(({ from, to }) => from !== to).map(({ from, to }) => ({ before: to, after: from, because: 'found-through' }));
}

function heldRules(constraints: readonly Constraint[], treatments: ReadonlyMap<string, Treatment>): Rule[] {
  return constraints.flatMap(({ child, parent }): Rule[] =>
    child !== parent && treatments.get(parent.id)?.method === 'delete' && treatments.has(child.id) ? [{ before: child.id, after: parent.id, because: 'held-by' }] : [],
  );
}

function annotatedRules(schema: AnnotatedSchema, treatments: ReadonlyMap<string, Treatment>, findings: Findings): Rule[] {
  const rules: Rule[] = [];
  for (const table of schema.tables.values()) {
    for (const { dataset, table: name } of table.annotation?.after ?? []) {
      const other = resolveTable(schema, dataset ?? table.annotation?.dataset ?? '', name);
      if (other === undefined) findings.refuse('order-after-nowhere', table.id, null, `is to be erased after ${dataset === undefined ? '' : `${dataset}.`}${name}, which is not there`);
      else if (other !== table && treatments.has(other.id) && treatments.has(table.id)) rules.push({ before: other.id, after: table.id, because: 'annotated' });
    }
  }
  return rules;
}

/** Within one transaction nothing is looked for again, so what holds and what people said count first. */
function inside(group: readonly string[], rules: readonly Rule[], depth: ReadonlyMap<string, number>): string[] {
  const left = new Set(group.toSorted((a, b) => (depth.get(b) ?? 0) - (depth.get(a) ?? 0) || (a < b ? -1 : 1)));
  const order: string[] = [];
  const strict = [['held-by', 'annotated'], ['held-by'], []] as const;
  while (left.size > 0) {
    const next = strict
      .map((kinds) => [...left].find((table) => !rules.some(({ before, after, because }) => after === table && left.has(before) && before !== table && kinds.some((kind) => kind === because))))
      .find((table) => table !== undefined);
    if (next === undefined) break;
    left.delete(next);
    order.push(next);
  }
  return order;
}

function whyTogether(group: readonly string[], rules: readonly Rule[], edges: readonly Edge[]): string {
  const within = (table: string): boolean => group.includes(table);
  const cyclic = components(group, foundRules(edges.filter(({ from, to }) => within(from) && within(to)))).some(({ length }) => length > 1);
  if (cyclic) return 'their rows are found through each other';
  const held = components(group, rules.filter(({ before, after, because }) => because === 'held-by' && within(before) && within(after))).some(({ length }) => length > 1);
  return held ? 'their rows hold each other' : 'rows are found through rows that must be erased before them';
}

/** Strongly connected components (Tarjan 1972), each after those that its rules lead to. */
function components(nodes: readonly string[], rules: readonly Rule[]): string[][] {
  const next = Map.groupBy(rules, ({ before }) => before);
  const index = new Map<string, number>();
  const low = new Map<string, number>();
  const stack: string[] = [];
  const found: string[][] = [];
  // Iterative: a schema may be a chain of thousands of tables.
  for (const root of nodes) {
    if (index.has(root)) continue;
    const work: { node: string; rest: string[] }[] = [];
    const open = (node: string): void => {
      index.set(node, index.size);
      low.set(node, index.size - 1);
      stack.push(node);
      work.push({ node, rest: (next.get(node) ?? []).map(({ after }) => after).filter((after) => nodes.includes(after)) });
    };
    open(root);
    for (let top = work.at(-1); top !== undefined; top = work.at(-1)) {
      const { node } = top;
      const child = top.rest.pop();
      if (child === undefined) {
        work.pop();
        const above = work.at(-1);
        if (above !== undefined) low.set(above.node, Math.min(low.get(above.node) ?? 0, low.get(node) ?? 0));
        if (low.get(node) === index.get(node)) found.push(stack.splice(stack.indexOf(node)));
      } else if (!index.has(child)) open(child);
      else if (stack.includes(child)) low.set(node, Math.min(low.get(node) ?? 0, index.get(child) ?? 0));
    }
  }
  return found;
}
