import type { Annotations, FieldAnnotation, TableAnnotation } from '../../schemas/privacy/annotations.ts';
import { qualified, type Catalog, type Column, type Relation, type RelationName } from './catalog.ts';
import type { Findings } from './findings.ts';

/** A table as it is, with what people say of it. Partitions are part of the table they belong to. */
export interface AnnotatedTable {
  /** {@link qualified} name. */
  readonly id: string;
  readonly relation: Relation;
  /** What names it; undefined where nothing does. */
  readonly annotation: TableAnnotation | undefined;
  /** Annotations of columns that are there; all of them for a table of its own. */
  readonly fields: readonly FieldAnnotation[];
  /** Names of its partitions, and of tables that inherit from it. */
  readonly partitions: readonly string[];
}

export interface AnnotatedSchema {
  readonly tables: ReadonlyMap<string, AnnotatedTable>;
  /** The table that a dataset's name means. */
  readonly named: (dataset: string, table: string) => AnnotatedTable | undefined;
  /** The table that holds the rows of a relation: a partition's is the partitioned one. */
  readonly holder: (relation: RelationName) => AnnotatedTable | undefined;
}

/** Whether a category is about people: everything outside `system`. */
export function isPersonal(category: string): boolean {
  return category !== 'system' && !category.startsWith('system.');
}

export function isPersonalField(field: FieldAnnotation): boolean {
  // A field that names people without saying more is theirs; where a category is given, it decides.
  return field.categories.length === 0 ? field.identity !== undefined : field.categories.some(isPersonal);
}

export function columnOf(table: AnnotatedTable, name: string): Column | undefined {
  return table.relation.columns.find((column) => column.name === name);
}

/** Lays the annotations over the schema; what does not fit is found. */
export function annotate(catalog: Catalog, annotations: Annotations, findings: Findings): AnnotatedSchema {
  const names = new Naming(catalog);
  const chosen = new Map<string, TableAnnotation>();
  const meant = new Map<string, string>();
  for (const annotation of annotations.tables) {
    const relation = names.find(annotation, findings);
    if (relation === undefined) continue;
    const id = qualified(relation);
    meant.set(address(annotation.dataset, annotation.name), id);
    if (annotation.skip) {
      findings.note('skipped', id, null, 'the annotation leaves it out of everything');
      continue;
    }
    if (!acceptable(relation, annotation, annotations, names, findings)) continue;
    const before = chosen.get(id);
    if (before !== undefined) findings.refuse('annotated-twice', id, null, `${before.dataset}.${before.name} and ${annotation.dataset}.${annotation.name} both name it: keep one`);
    else chosen.set(id, annotation);
  }
  const tables = new Map<string, AnnotatedTable>();
  for (const relation of catalog.relations) {
    const id = qualified(relation);
    if (relation.kind === 'view' || relation.kind === 'materialized-view') continue;
    const annotation = chosen.get(id);
    if (relation.parent !== null && annotation === undefined) continue;
    tables.set(id, { id, relation, annotation, fields: annotation === undefined ? [] : presentFields(relation, annotation, findings), partitions: names.below(relation).map(qualified) });
  }
  for (const table of tables.values()) if (table.annotation !== undefined) compareTable(table, findings);
  return {
    tables,
    named: (dataset, table) => tables.get(meant.get(address(dataset, table)) ?? ''),
    holder: (relation) => tables.get(qualified(relation)) ?? tables.get(qualified(names.top(relation))),
  };
}

const address = (dataset: string, table: string): string => JSON.stringify([dataset, table]);

/** Which relation a written name means. */
class Naming {
  readonly #relations: readonly Relation[];

  constructor(catalog: Catalog) {
    this.#relations = catalog.relations;
  }

  find(annotation: TableAnnotation, findings: Findings): Relation | undefined {
    const written = annotation.schema === undefined ? annotation.name : `${annotation.schema}.${annotation.name}`;
    const candidates = this.#candidates(annotation);
    const [first] = candidates;
    if (first === undefined) {
      findings.refuse('missing-table', written, null, `${annotation.dataset} annotates it, and the database has no such table: mend the annotation, or restore the table`);
      return undefined;
    }
    if (candidates.length === 1) return first;
    const inPublic = candidates.find(({ schema }) => schema === 'public');
    if (inPublic === undefined) {
      findings.refuse('ambiguous-table', written, null, `${candidates.map(qualified).join(' and ')} have this name: write it with its schema`);
      return undefined;
    }
    return inPublic;
  }

  #candidates({ schema, name }: TableAnnotation): Relation[] {
    const matches = (wanted: { schema: string | undefined; name: string }, fold: (text: string) => string): Relation[] =>
      this.#relations.filter((relation) => fold(relation.name) === fold(wanted.name) && (wanted.schema === undefined || fold(relation.schema) === fold(wanted.schema)));
    const dot = name.indexOf('.');
    const readings = [{ schema, name }, ...(schema === undefined && dot > 0 ? [{ schema: name.slice(0, dot), name: name.slice(dot + 1) }] : [])];
    // A table may have a dot in its name, and be written in capitals: what fits exactly is meant.
    for (const fold of [(text: string) => text, (text: string) => text.replaceAll('"', '').toLowerCase()]) {
      for (const reading of readings) {
        const found = matches(reading, fold);
        if (found.length > 0) return found;
      }
    }
    return [];
  }

  /** The table at the top of a partition. */
  top(name: RelationName): RelationName {
    const relation = this.#relations.find((candidate) => candidate.schema === name.schema && candidate.name === name.name);
    return relation?.parent == null ? name : this.top(relation.parent);
  }

  below(name: RelationName): Relation[] {
    const direct = this.#relations.filter(({ parent }) => parent?.schema === name.schema && parent.name === name.name);
    return direct.flatMap((child) => [child, ...this.below(child)]);
  }

  relation(name: RelationName): Relation | undefined {
    return this.#relations.find((candidate) => candidate.schema === name.schema && candidate.name === name.name);
  }
}

/** Whether rows can be erased where the annotation points. */
function acceptable(relation: Relation, annotation: TableAnnotation, annotations: Annotations, names: Naming, findings: Findings): boolean {
  const id = qualified(relation);
  if (relation.kind === 'view' || relation.kind === 'materialized-view') {
    const annotated = (name: RelationName): boolean => annotations.tables.some((other) => other !== annotation && names.find(other, findings) === names.relation(name));
    const bare = relation.reads.filter((name) => !names.relation(name)?.kind.includes('view') && !annotated(name));
    if (bare.length > 0) findings.refuse('view', id, null, `a view has no rows of its own: annotate ${bare.map(qualified).join(', ')}, which it reads`);
    return false;
  }
  if (relation.kind === 'foreign-table') {
    findings.refuse('foreign-table', id, null, 'its rows are on another server, where a step could not be undone together with this database: connect that server as a source of its own');
    return false;
  }
  const parent = relation.parent === null ? undefined : names.relation(relation.parent);
  if (parent?.kind === 'partitioned-table') {
    const top = names.top(relation);
    findings.refuse('partition', id, null, `a partition: rows of the same people are in other partitions too; annotate ${qualified(top)} instead`);
    return false;
  }
  return true;
}

function presentFields(relation: Relation, annotation: TableAnnotation, findings: Findings): FieldAnnotation[] {
  const id = qualified(relation);
  const present: FieldAnnotation[] = [];
  for (const field of annotation.fields) {
    const found = resolveColumn(relation, field.path);
    if (found === undefined) findings.refuse('missing-column', id, field.path.join('.'), `${annotation.dataset} annotates it, and the table has no such column: it was renamed or dropped since`);
    else if (found.path.length > 1 && !holdsDocuments(found.column)) {
      findings.refuse('not-a-document', id, field.path.join('.'), `${found.column.name} is ${found.column.type}, which has no members`);
    } else present.push({ ...field, path: found.path });
  }
  return present;
}

/** The column a path begins with: as it is written, with dots in its name, or in other capitals. */
export function resolveColumn(relation: Relation, path: readonly string[]): { column: Column; path: readonly string[] } | undefined {
  for (const fold of [(text: string) => text, (text: string) => text.replaceAll('"', '').toLowerCase()]) {
    for (let taken = path.length; taken >= 1; taken -= 1) {
      const name = fold(path.slice(0, taken).join('.'));
      const found = relation.columns.filter((column) => fold(column.name) === name);
      const [column] = found;
      if (column !== undefined && found.length === 1) return { column, path: [column.name, ...path.slice(taken)] };
    }
  }
  return undefined;
}

/** Whether the column may hold JSON: json, jsonb, or text that is read as JSON where it is. */
export function holdsDocuments(column: Column): boolean {
  return ['json', 'jsonb'].includes(column.baseType) || column.typeCategory === 'S';
}

/** Of annotations of one table: what its schema contradicts. */
function compareTable(table: AnnotatedTable, findings: Findings): void {
  const { relation, id } = table;
  const annotated = new Set(table.fields.map(({ path }) => path[0]));
  for (const column of relation.columns) {
    if (!annotated.has(column.name) && !column.generated) findings.warn('unannotated-column', id, column.name, `${column.type}: nobody says what it holds, and an erasure leaves it as it is`);
  }
  for (const field of table.fields) compareField(table, field, findings);
  const said = table.fields.filter(({ primaryKey }) => primaryKey).map(({ path }) => path[0] ?? '');
  const key = relation.primaryKey;
  if (key === null) {
    const instead = said.length > 0 ? `; ${said.join(', ')} is said to be one, which nothing in the database keeps true` : '';
    findings.warn('no-key', id, null, `the table has no primary key${instead}: rows are named by the values that reach them, and equal rows share one fate`);
  } else if (said.length > 0 && !(said.length === key.length && said.every((column) => key.includes(column)))) {
    findings.warn('primary-key-differs', id, null, `annotated as (${said.join(', ')}), and the table has (${key.join(', ')}): the table's is used`);
  }
  if (relation.triggers.length > 0) findings.warn('trigger', id, null, `${relation.triggers.join(', ')} runs when rows change, and may copy what is being erased elsewhere: see what it writes`);
  if (relation.rowSecurity) findings.warn('row-security', id, null, 'row-level security hides rows: the account HAL9 uses must see all of them');
  if (table.partitions.length > 0) findings.note('partitioned', id, null, `${table.partitions.length} partitions or heirs are erased with it: ${table.partitions.slice(0, 5).join(', ')}${table.partitions.length > 5 ? ', ...' : ''}`);
  if (table.annotation?.erase === 'keep' && table.annotation.keepBecause === undefined) findings.refuse('kept-without-reason', id, null, 'rows are to be kept, and nothing says why: a receipt must name the reason (keepBecause)');
}

function compareField(table: AnnotatedTable, field: FieldAnnotation, findings: Findings): void {
  const [name = ''] = field.path;
  const column = columnOf(table, name);
  if (column === undefined) return;
  const path = field.path.join('.');
  const { id } = table;
  if (field.path.length === 1 && field.dataType !== undefined && !fits(field.dataType, column)) findings.warn('type-differs', id, path, `annotated as ${field.dataType}, and is ${column.type}`);
  if (field.length !== undefined && column.length !== null && field.length > column.length) findings.warn('length-differs', id, path, `annotated with ${field.length} characters, and holds ${column.length}`);
  if (field.identity !== undefined && !isPersonalField(field)) {
    findings.warn('identity-not-personal', id, path, `people are looked up by it (${field.identity}), and its category ${field.categories.join(', ')} keeps it: the ${field.identity} of an erased person stays here unless a category of people is given`);
  }
}

const FAMILIES: Readonly<Record<string, (column: Column) => boolean>> = {
  string: ({ typeCategory, baseType }) => typeCategory === 'S' || typeCategory === 'E' || baseType === 'uuid',
  integer: ({ baseType }) => /^int[248]$/.test(baseType),
  float: ({ typeCategory }) => typeCategory === 'N',
  boolean: ({ baseType }) => baseType === 'bool',
  object: ({ baseType, typeCategory }) => ['json', 'jsonb', 'hstore'].includes(baseType) || typeCategory === 'S',
  object_id: ({ typeCategory }) => typeCategory === 'S',
};

function fits(dataType: string, column: Column): boolean {
  if (dataType.endsWith('[]')) return column.typeCategory === 'A' || ['json', 'jsonb'].includes(column.baseType);
  return FAMILIES[dataType]?.(column) ?? true;
}
