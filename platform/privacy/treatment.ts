import type { FieldAnnotation, Masking } from '../../schemas/privacy/annotations.ts';
import { columnOf, isPersonalField, type AnnotatedSchema, type AnnotatedTable } from './annotated-schema.ts';
import type { Column } from './catalog.ts';
import type { Findings } from './findings.ts';
import type { Constraint } from './references.ts';

/** What becomes of the rows of a table. */
export interface Treatment {
  readonly table: string;
  method: 'mask' | 'delete' | 'none';
  /** In one line. */
  why: string;
  /** Masked, in the order of the annotation; empty unless `method` is `mask`. */
  columns: MaskedField[];
  /** Personal, and left as they are. */
  kept: { path: readonly string[]; why: string }[];
}

export interface MaskedField {
  readonly path: readonly string[];
  readonly categories: readonly string[];
  readonly masking: Masking;
}

/** Says of every reached table whether its rows are masked or deleted, and how each value is masked. */
export function treat(schema: AnnotatedSchema, reached: ReadonlySet<string>, constraints: readonly Constraint[], findings: Findings): Map<string, Treatment> {
  const treatments = new Map<string, Treatment>();
  for (const id of reached) {
    const table = schema.tables.get(id);
    if (table !== undefined) treatments.set(id, treatTable(table, constraints, findings));
  }
  while (spreadDeletes(treatments, constraints, findings)) {
    // Each round deletes from at least one table more.
  }
  for (const { child, parent, key } of constraints) {
    const doomed = treatments.get(parent.id)?.method === 'delete';
    const own = treatments.get(child.id);
    if (!doomed || child === parent || (own !== undefined && child.annotation !== undefined)) continue;
    const where = key.columns.join(', ');
    if (key.onDelete === 'cascade') findings.refuse('cascade', child.id, where, `rows of ${parent.id} are deleted, and the database would delete rows here with them (${key.name}, on delete cascade), which nobody annotated as data of the same people`);
    else if (key.onDelete === 'set null' || key.onDelete === 'set default') findings.warn('link-cut', child.id, where, `rows of ${parent.id} are deleted, and the database ${key.onDelete === 'set null' ? 'empties' : 'resets'} the reference here (${key.name})`);
    else findings.refuse('held-by-reference', child.id, where, `rows of ${parent.id} are to be deleted, and rows here hold them (${key.name}): annotate this table and its reference, or have ${parent.id} masked`);
  }
  return treatments;
}

function treatTable(table: AnnotatedTable, constraints: readonly Constraint[], findings: Findings): Treatment {
  const { id, annotation, relation } = table;
  const treatment: Treatment = { table: id, method: 'none', why: '', columns: [], kept: [] };
  if (annotation === undefined) {
    findings.warn('unannotated-table', id, null, 'rows of a person are reached here, and nobody says what the table holds: an erasure leaves it as it is');
    return { ...treatment, why: 'not annotated' };
  }
  if (annotation.erase === 'keep') return { ...treatment, why: annotation.keepBecause ?? 'kept', kept: table.fields.filter(isPersonalField).map(({ path }) => ({ path, why: annotation.keepBecause ?? '' })) };
  if (annotation.erase === 'delete') return { ...treatment, method: 'delete', why: 'the annotation says so' };
  for (const field of table.fields) {
    if (!isPersonalField(field)) continue;
    const column = columnOf(table, field.path[0] ?? '');
    // A member is masked with the object it is in when that is masked as a whole.
    if (column === undefined || treatment.columns.some((masked) => masked.path.length < field.path.length && masked.path.every((part, place) => part === field.path[place]))) continue;
    if (field.legalBasis === 'legal-obligation') {
      treatment.kept.push({ path: field.path, why: `legal obligation${field.retention === undefined ? '' : `, ${field.retention}`}` });
      continue;
    }
    if (field.readOnly) {
      treatment.kept.push({ path: field.path, why: 'annotated as read-only' });
      findings.warn('read-only', id, field.path.join('.'), 'data of people that is annotated as read-only stays');
      continue;
    }
    if (relation.primaryKey?.includes(column.name) === true) {
      if (isSurrogate(field)) {
        treatment.kept.push({ path: field.path, why: 'primary key: names the row, and nobody once the rest is erased' });
        continue;
      }
      findings.note('personal-key', id, field.path.join('.'), 'part of the primary key, and says who somebody is: a key is not masked, so the row is deleted');
      return { ...treatment, method: 'delete', why: `${field.path.join('.')} is personal and part of the primary key`, columns: [], kept: [] };
    }
    if (column.generated) {
      findings.note('generated', id, column.name, 'computed from other columns, and changes with them');
      continue;
    }
    const masking = chooseMasking(table, field, column, constraints, findings);
    if (masking === undefined) continue;
    if (masking === 'keep-link') {
      treatment.kept.push({ path: field.path, why: 'reference that must stay: the row it names holds nothing personal any more' });
      continue;
    }
    if (column.checked) findings.note('check-constraint', id, column.name, 'a CHECK constraint looks at it: the rehearsal before an erasure tells whether the masked value passes');
    treatment.columns.push({ path: field.path, categories: field.categories, masking });
  }
  if (treatment.columns.length > 0) return { ...treatment, method: 'mask', why: 'data of people' };
  return { ...treatment, why: treatment.kept.length > 0 ? 'holds nothing personal but what is kept' : 'nothing in it is annotated as data of people' };
}

/** A number or token that only names a row; Fides' `user.unique_id` and its like. */
function isSurrogate(field: FieldAnnotation): boolean {
  return field.identity === undefined && field.categories.filter((category) => category !== 'system').every((category) => /(^|\.)(unique_id|unique_pseudonymous_id|pseudonymous|device_id|cookie_id)(\.|$)/.test(category) || category.startsWith('system.'));
}

function chooseMasking(table: AnnotatedTable, field: FieldAnnotation, column: Column, constraints: readonly Constraint[], findings: Findings): Masking | 'keep-link' | undefined {
  const { id, relation } = table;
  const path = field.path.join('.');
  const inside = field.path.length > 1;
  const unique = !inside && relation.uniqueKeys.some((key) => key.length === 1 && key[0] === column.name);
  const refuse = (reason: string): undefined => {
    findings.refuse('cannot-be-masked', id, path, reason);
    return undefined;
  };
  if (!inside && column.identityAlways) return refuse('GENERATED ALWAYS AS IDENTITY: the database refuses other values; delete the rows instead');
  const given = field.masking;
  if (given !== undefined) {
    const problem = inside ? undefined : contradiction(given, column, unique);
    return problem === undefined ? given : refuse(`${given.strategy} does not go with ${column.type}: ${problem}`);
  }
  if (inside || column.nullable) return { strategy: 'null' };
  const holds = constraints.some(({ child, key }) => child === table && key.columns.includes(column.name));
  if (holds) return 'keep-link';
  const fallback = constantFor(column);
  if (unique) return column.typeCategory === 'S' && (column.length ?? 64) >= 16 ? { strategy: 'hmac' } : refuse('it may not be null and no two rows may agree in it: give a masking strategy, or delete the rows');
  return fallback ?? refuse(`it may not be null, and no value of ${column.type} is known that says nothing: give a masking strategy, or delete the rows`);
}

/** A value that says nothing, for columns that must have one. */
function constantFor(column: Column): Masking | undefined {
  if (column.typeCategory === 'S') return { strategy: 'constant', value: 'erased'.slice(0, column.length ?? 6) };
  if (['json', 'jsonb'].includes(column.baseType)) return { strategy: 'constant', value: '{}' };
  if (column.typeCategory === 'A') return { strategy: 'constant', value: '{}' };
  if (column.baseType === 'bytea') return { strategy: 'constant', value: '' };
  if (column.baseType === 'uuid') return { strategy: 'constant', value: '00000000-0000-0000-0000-000000000000' };
  if (column.typeCategory === 'N') return { strategy: 'constant', value: 0 };
  if (column.typeCategory === 'B') return { strategy: 'constant', value: false };
  if (column.baseType === 'date' || column.baseType.startsWith('timestamp')) return { strategy: 'constant', value: '1970-01-01' };
  return undefined;
}

/** Why the strategy cannot be used on the column; undefined where it can. */
function contradiction(masking: Masking, column: Column, unique: boolean): string | undefined {
  const text = column.typeCategory === 'S';
  switch (masking.strategy) {
    case 'null':
      return column.nullable ? undefined : 'it may not be null';
    case 'constant':
      if (unique && !column.nullable) return 'no two rows may agree in it';
      return text && column.length !== null && String(masking.value).length > column.length ? `it holds ${column.length} characters` : undefined;
    case 'hash':
    case 'hmac':
      if (!text) return 'the answer is text';
      return unique && column.length !== null && column.length < 16 ? `${column.length} characters of it are not unique` : undefined;
    case 'format-preserving':
      return text || column.typeCategory === 'N' ? undefined : 'it has neither letters nor digits';
    case 'date-shift':
      return column.typeCategory === 'D' ? undefined : 'it is no date';
    case 'generalise':
      if (masking.step !== undefined && column.typeCategory === 'N') return undefined;
      if (masking.unit !== undefined && column.typeCategory === 'D') return undefined;
      return masking.keep !== undefined && text ? undefined : 'numbers need `step`, dates `unit`, text `keep`';
    default:
      return masking satisfies never;
  }
}

/** Rows that point at rows to be deleted lose the reference, or go too. @returns whether anything changed. */
function spreadDeletes(treatments: ReadonlyMap<string, Treatment>, constraints: readonly Constraint[], findings: Findings): boolean {
  let changed = false;
  for (const { child, parent, key } of constraints) {
    const own = treatments.get(child.id);
    if (own === undefined || own.method === 'delete' || child === parent || child.annotation === undefined || treatments.get(parent.id)?.method !== 'delete') continue;
    if (key.onDelete === 'set null' || key.onDelete === 'set default') continue;
    const where = key.columns.join(', ');
    const emptied = key.columns.filter((name) => columnOf(child, name)?.nullable === true && child.relation.primaryKey?.includes(name) !== true);
    if (own.method === 'none' && child.annotation.erase === 'keep') {
      if (emptied.length === 0) {
        findings.refuse('kept-row-needs-deleted', child.id, where, `its rows are to be kept (${own.why}), and they need rows of ${parent.id} that are to be deleted (${key.name}): keep those too, or have them masked`);
        continue;
      }
    }
    const [empty] = emptied;
    if (empty !== undefined && key.onDelete !== 'cascade') {
      if (own.columns.some(({ path }) => path.length === 1 && path[0] === empty)) continue;
      own.columns.push({ path: [empty], categories: [], masking: { strategy: 'null' } });
      own.method = 'mask';
      own.why = own.why === 'data of people' ? own.why : `points at deleted rows of ${parent.id}`;
    } else {
      own.method = 'delete';
      own.why = `cannot be without the deleted row of ${parent.id} (${key.name}${key.onDelete === 'cascade' ? ', on delete cascade' : ''})`;
      own.columns = [];
      own.kept = [];
    }
    changed = true;
  }
  return changed;
}
