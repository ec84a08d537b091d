import type { FieldAnnotation, FlagValue } from '../../schemas/privacy/annotations.ts';
import type { SubjectChange } from '../../schemas/privacy/change.ts';
import { columnOf, type AnnotatedTable } from './annotated-schema.ts';
import type { DataMap } from './data-map.ts';
import { normalised } from './identities.ts';

/** What a field of the person's rows is to hold. */
export interface Assignment {
  readonly table: string;
  /** A column, then members of the JSON in it. */
  readonly path: readonly string[];
  readonly value: FlagValue;
  /** Only where it holds this, whatever its case. */
  readonly was: string | undefined;
  /** Kind of identity by which people are looked up in this field. */
  readonly identity: string | undefined;
  /** It takes the place of what people said, not of a flag: which of several values is wrong must be clear. */
  readonly corrects: boolean;
  /** Why HAL9 does not write it, and who must. */
  readonly refusal: string | undefined;
}

/** What a change comes to in one database: fields found through the same map as an erasure's. */
export function assignmentsOf(map: DataMap, source: string, change: SubjectChange): { readonly assignments: readonly Assignment[]; readonly knows: readonly string[] } {
  const assignments: Assignment[] = [];
  const knows = new Set<string>();
  for (const { table: id } of map.traversal.reached) {
    const table = map.schema.tables.get(id);
    if (table === undefined) continue;
    for (const field of table.fields) {
      for (const wanted of wantedIn(field, table, source, change)) {
        knows.add(wanted.topic);
        // Computed by the database: it follows.
        if (columnOf(table, field.path[0] ?? '')?.generated === true) continue;
        const { value, was } = wanted;
        const corrects = change.kind === 'rectification';
        assignments.push({ table: id, path: field.path, value, was, identity: field.identity, corrects, refusal: refusalOf(map, table, field, value) });
      }
    }
  }
  return { assignments, knows: [...knows] };
}

function wantedIn(field: FieldAnnotation, table: AnnotatedTable, source: string, change: SubjectChange): { readonly topic: string; readonly value: FlagValue; readonly was: string | undefined }[] {
  switch (change.kind) {
    case 'rectification':
      return change.corrections
        .filter((one) => field.categories.includes(one.category) && (one.source ?? source) === source && (one.table === undefined || namesOf(table).includes(one.table)) && (one.column === undefined || one.column === field.path.join('.')))
        .map(({ category, value, was }) => ({ topic: category, value, was }));
    case 'consent':
      return field.consent?.purpose === change.purpose ? [{ topic: change.purpose, value: field.consent[change.state], was: undefined }] : [];
    case 'restriction':
      return field.restriction === undefined ? [] : [{ topic: 'processing', value: field.restriction[change.state], was: undefined }];
    default:
      return change satisfies never;
  }
}

/** As people may write it. */
export function namesOf({ id, relation, annotation }: AnnotatedTable): string[] {
  return [id, `${relation.schema}.${relation.name}`, ...(annotation === undefined ? [] : [annotation.name])];
}

function refusalOf(map: DataMap, table: AnnotatedTable, field: FieldAnnotation, value: FlagValue): string | undefined {
  const [name = ''] = field.path;
  const column = columnOf(table, name);
  if (column === undefined) return undefined;
  if (field.readOnly) return 'it is annotated as readOnly: whoever writes it must correct it';
  if (field.path.length > 1) return undefined;
  const linked = map.traversal.edges.some(({ from, to, pairs }) => pairs.some((pair) => (from === table.id && pair.from[0] === name) || (to === table.id && pair.to[0] === name)));
  if (column.identityAlways || table.relation.primaryKey?.includes(name) === true || (linked && field.identity === undefined)) return 'it is a key that other rows go by: whoever runs the database must change it';
  if (column.typeCategory === 'A' || ['json', 'jsonb', 'xml'].includes(column.baseType)) return 'it holds a list or a document, of which HAL9 corrects single values only: annotate its members, or correct it by hand';
  if (column.length !== null && typeof value === 'string' && Array.from(value).length > column.length) return `it holds no more than ${column.length} characters: whoever runs the database must widen it`;
  return undefined;
}

/** Whether a value is still to be replaced. @param wanted as the system itself writes it. */
export function isOutstanding({ was }: Pick<Assignment, 'was'>, current: string | null, wanted: string | null): boolean {
  if (current === wanted) return false;
  return was === undefined || (current !== null && normalised(current) === normalised(was));
}
