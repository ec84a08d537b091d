import { isPersonalField, type AnnotatedSchema } from './annotated-schema.ts';
import type { Findings } from './findings.ts';
import type { Edge, References } from './references.ts';

/** Where a person is looked up. */
export interface Seed {
  /** E.g. `email`. */
  readonly identity: string;
  readonly table: string;
  /** A column, then members of the JSON in it. */
  readonly path: readonly string[];
}

export interface Reached {
  readonly table: string;
  /** Steps from a seed: 1 holds one itself. */
  readonly step: number;
  readonly seeds: readonly Seed[];
  /** Ways that lead here from reached tables. */
  readonly via: readonly Edge[];
}

export interface Traversal {
  readonly seeds: readonly Seed[];
  /** In the order of their steps, then by name. */
  readonly reached: readonly Reached[];
  /** All ways between reached tables. */
  readonly edges: readonly Edge[];
}

/** Follows the references from the identities on until nothing new is reached. */
export function traverse(schema: AnnotatedSchema, references: References, findings: Findings): Traversal {
  const seeds = [...schema.tables.values()].flatMap(({ id, fields }) => fields.flatMap(({ identity, path }): Seed[] => (identity === undefined ? [] : [{ identity, table: id, path }])));
  if (seeds.length === 0) findings.refuse('no-identity', null, null, 'no field is annotated with an identity: nobody could be looked up');
  const step = new Map<string, number>(seeds.map(({ table }) => [table, 1]));
  const skipped = (edge: Edge): boolean => !schema.tables.has(edge.from) || !schema.tables.has(edge.to);
  let edges = [...references.declared, ...references.inferred.filter(({ inferred }) => inferred === 'down')].filter((edge) => !skipped(edge));
  spread(step, edges);
  // Rows pointed at come last, and nothing inferred leads down from them again: a household is a person's, its other members are not.
  const before = new Set(step.keys());
  const up = references.inferred.filter((edge) => edge.inferred === 'up' && !before.has(edge.to) && !skipped(edge));
  if (up.length > 0) {
    edges = [...edges.filter((edge) => edge.inferred !== 'down' || before.has(edge.from)), ...up];
    spread(step, edges);
    edges = edges.filter((edge) => edge.inferred !== 'up' || step.has(edge.from));
    for (const edge of edges) {
      if (edge.inferred === 'up' && step.has(edge.from)) findings.note('reference-inferred', edge.from, edge.pairs.map(({ from }) => from.join('.')).join(', '), `no annotation speaks of this foreign key; ${edge.to} holds data of people and nobody is looked up there, so its row is taken for the person's`);
    }
  }
  edges = edges.filter((edge) => step.has(edge.from) && step.has(edge.to));
  const reached = [...step].map(([table, at]): Reached => ({ table, step: at, seeds: seeds.filter((seed) => seed.table === table), via: edges.filter((edge) => edge.to === table) })).toSorted((a, b) => a.step - b.step || (a.table < b.table ? -1 : 1));
  for (const table of schema.tables.values()) {
    if (step.has(table.id) || table.annotation === undefined) continue;
    const personal = table.fields.filter(isPersonalField);
    if (personal.length > 0) findings.refuse('unreachable', table.id, personal.map(({ path }) => path.join('.')).join(', '), 'annotated as data of people, and no identity leads here: an erasure would leave it. Annotate a reference, or the identity it holds');
    else findings.note('unreachable', table.id, null, 'no identity leads here, and nothing in it is annotated as data of people');
  }
  return { seeds, reached, edges };
}

/** Breadth first, so that `step` is the shortest way. */
function spread(step: Map<string, number>, edges: readonly Edge[]): void {
  let front = [...step.keys()];
  while (front.length > 0) {
    const next = new Set<string>();
    for (const edge of edges) {
      const from = step.get(edge.from);
      if (from === undefined || !front.includes(edge.from)) continue;
      const known = step.get(edge.to);
      if (known !== undefined && known <= from + 1) continue;
      step.set(edge.to, from + 1);
      next.add(edge.to);
    }
    front = [...next];
  }
}
