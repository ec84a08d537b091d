import type { Annotations, Masking } from '../../schemas/privacy/annotations.ts';
import { annotate, type AnnotatedSchema } from './annotated-schema.ts';
import { qualified, type Catalog, type Relation, type RelationName } from './catalog.ts';
import { orderErasure, type ErasureStep } from './erasure-order.ts';
import { Findings, type Finding } from './findings.ts';
import { findReferences, type Constraint, type Edge } from './references.ts';
import { suggest, type Suggestion } from './suggestions.ts';
import { traverse, type Traversal } from './traversal.ts';
import { treat, type Treatment } from './treatment.ts';

/** Everything known before the first row is read: where people are found, what becomes of their rows, and in which order. */
export interface DataMap {
  readonly schema: AnnotatedSchema;
  readonly constraints: readonly Constraint[];
  readonly traversal: Traversal;
  readonly treatments: ReadonlyMap<string, Treatment>;
  readonly order: readonly ErasureStep[];
  /** Materialized views over erased tables: refreshed at the end, for they are copies. */
  readonly refreshes: readonly RelationName[];
  /** Reached by an identity through each other, or through themselves. */
  readonly cycles: readonly (readonly string[])[];
  readonly findings: readonly Finding[];
  readonly suggestions: readonly Suggestion[];
}

/** Values of columns nobody annotated, by table and column; for suggestions. */
export type Samples = ReadonlyMap<string, ReadonlyMap<string, readonly string[]>>;

/** Lays annotations over a schema and plans what an erasure does. Contradictions are findings, never exceptions. */
export function makeDataMap(catalog: Catalog, annotations: Annotations, samples: Samples = new Map()): DataMap {
  const findings = new Findings();
  const schema = annotate(catalog, annotations, findings);
  const references = findReferences(schema, findings);
  const traversal = traverse(schema, references, findings);
  const reached = new Set(traversal.reached.map(({ table }) => table));
  const treatments = treat(schema, reached, references.constraints, findings);
  const order = orderErasure(schema, traversal, treatments, references.constraints, findings);
  const refreshes = findCopies(catalog, schema, treatments, findings);
  const suggestions = [...schema.tables.values()].flatMap((table) => {
    const known = new Set(table.fields.map(({ path }) => path[0]));
    return table.relation.columns.filter(({ name, generated }) => !known.has(name) && !generated).flatMap((column) => suggest(table.id, column, samples.get(table.id)?.get(column.name) ?? []) ?? []);
  });
  for (const table of schema.tables.values()) {
    if (table.annotation !== undefined || reached.has(table.id)) continue;
    const words = suggestions.filter((suggestion) => suggestion.table === table.id).map(({ column, category }) => `${column} (${category}?)`);
    findings.warn('unannotated-table', table.id, null, `nobody says what it holds${words.length === 0 ? '' : `; ${words.join(', ')}`}: an erasure does not look here`);
  }
  return { schema, constraints: references.constraints, traversal, treatments, order, refreshes, cycles: cyclesOf(traversal), findings: findings.sorted(), suggestions };
}

/** Copies of personal data that no annotation names: materialized views, and tables made like annotated ones. */
function findCopies(catalog: Catalog, schema: AnnotatedSchema, treatments: ReadonlyMap<string, Treatment>, findings: Findings): RelationName[] {
  const refreshes: RelationName[] = [];
  for (const relation of catalog.relations) {
    if (relation.kind !== 'view' && relation.kind !== 'materialized-view') continue;
    const over = relation.reads.flatMap((name) => schema.holder(name)?.id ?? []).filter((id) => ['mask', 'delete'].includes(treatments.get(id)?.method ?? ''));
    const id = qualified(relation);
    if (over.length === 0) continue;
    if (relation.kind === 'view') findings.note('view', id, null, `shows ${[...new Set(over)].join(', ')}: erased with them`);
    else {
      refreshes.push(relation);
      findings.note('materialized-view', id, null, `a copy of ${[...new Set(over)].join(', ')}: refreshed after they are erased`);
    }
  }
  const annotated = [...schema.tables.values()].filter(({ annotation }) => annotation !== undefined);
  for (const { id, relation, annotation } of schema.tables.values()) {
    const original = annotation === undefined ? annotated.find((other) => sameShape(relation, other.relation)) : undefined;
    if (original !== undefined) findings.warn('copy', id, null, `has the columns of ${original.id}, and is not annotated: people whose rows were copied here stay here`);
  }
  return refreshes;
}

function sameShape(one: Relation, other: Relation): boolean {
  const shape = ({ columns }: Relation): string => JSON.stringify(columns.map(({ name, type }) => [name, type]));
  return one.columns.length > 1 && shape(one) === shape(other);
}

/** Groups of tables that lead back to themselves. */
function cyclesOf(traversal: Traversal): string[][] {
  const leadsTo = (from: string): Set<string> => {
    const seen = new Set<string>();
    const stack = [from];
    for (let table = stack.pop(); table !== undefined; table = stack.pop()) {
      for (const edge of traversal.edges) {
        if (edge.from !== table || seen.has(edge.to)) continue;
        seen.add(edge.to);
        stack.push(edge.to);
      }
    }
    return seen;
  };
  const reach = new Map(traversal.reached.map(({ table }) => [table, leadsTo(table)]));
  const cycles = new Map<string, string[]>();
  for (const [table, onward] of reach) {
    if (!onward.has(table)) continue;
    const cycle = [...onward].filter((other) => reach.get(other)?.has(table) === true).toSorted();
    cycles.set(cycle.join('\0'), cycle);
  }
  return [...cycles.values()];
}

/** The map as people and programs read it. */
export interface DataMapReport {
  /** Whether an erasure would begin: nothing is refused. */
  readonly ok: boolean;
  readonly seeds: readonly { identity: string; table: string; column: string }[];
  /** Steps from row to row, in the order in which tables are first reached. */
  readonly traversal: readonly { step: number; table: string; identities: readonly string[]; from: readonly { table: string; on: string; by: Edge['by'] }[] }[];
  /** Tables in the order in which they are erased; those with the method `none` are only passed. */
  readonly erasureOrder: readonly string[];
  readonly erasure: readonly {
    step: number;
    together: string | null;
    tables: readonly { table: string; method: Treatment['method']; why: string; mask: readonly { column: string; categories: readonly string[]; masking: Masking }[]; keep: readonly { column: string; why: string }[] }[];
  }[];
  readonly refresh: readonly string[];
  readonly cycles: readonly (readonly string[])[];
  readonly unreached: readonly { table: string; annotated: boolean }[];
  readonly refused: readonly Finding[];
  readonly findings: readonly Finding[];
  readonly suggestions: readonly Suggestion[];
}

export function reportOf(map: DataMap): DataMapReport {
  const { traversal, treatments } = map;
  const reached = new Set(traversal.reached.map(({ table }) => table));
  return {
    ok: map.findings.every(({ severity }) => severity !== 'refusal'),
    seeds: traversal.seeds.map(({ identity, table, path }) => ({ identity, table, column: path.join('.') })),
    traversal: traversal.reached.map(({ step, table, seeds, via }) => ({
      step,
      table,
      identities: seeds.map(({ identity, path }) => `${path.join('.')}: ${identity}`),
      from: via.map(({ from, pairs, by }) => ({ table: from, on: pairs.map((pair) => `${from}.${pair.from.join('.')} = ${table}.${pair.to.join('.')}`).join(' and '), by })),
    })),
    erasureOrder: map.order.flatMap(({ tables }) => tables),
    erasure: map.order.map(({ step, together, tables }) => ({
      step,
      together,
      tables: tables.flatMap((table) => {
        const treatment = treatments.get(table);
        if (treatment === undefined) return [];
        return [{ table, method: treatment.method, why: treatment.why, mask: treatment.columns.map(({ path, categories, masking }) => ({ column: path.join('.'), categories, masking })), keep: treatment.kept.map(({ path, why }) => ({ column: path.join('.'), why })) }];
      }),
    })),
    refresh: map.refreshes.map(qualified),
    cycles: map.cycles,
    unreached: [...map.schema.tables.values()].filter(({ id }) => !reached.has(id)).map(({ id, annotation }) => ({ table: id, annotated: annotation !== undefined })),
    refused: map.findings.filter(({ severity }) => severity === 'refusal'),
    findings: map.findings,
    suggestions: map.suggestions,
  };
}
