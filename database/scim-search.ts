import { sql, type RawBuilder } from 'kysely';
import { ScimFailure, URN, type FilterOperator, type FilterValue, type ScimFilter } from '../schemas/rest/scim.ts';

/** What a client searches for, and which page of it. */
export interface ScimSearch {
  readonly filter: ScimFilter | undefined;
  readonly sortBy: string | undefined;
  readonly descending: boolean;
  /** 1 is the first. */
  readonly startIndex: number;
  readonly count: number;
}

/** An attribute as rows have it. */
export interface Column {
  readonly type: 'text' | 'exact' | 'boolean' | 'date' | 'list';
  readonly value: RawBuilder<unknown>;
  /** Of a list: its elements' attributes, on `e`. */
  readonly element?: Readonly<Record<string, Column>>;
}

/** By path, in lower case. */
export type Columns = Readonly<Record<string, Column>>;

/**
 * The filter as a condition on the rows. Everything from outside becomes a parameter.
 * @throws {ScimFailure} `invalidFilter` for an attribute that cannot be searched, or not so.
 */
export function condition(filter: ScimFilter, columns: Columns): RawBuilder<unknown> {
  switch (filter.kind) {
    case 'and':
      return sql`(${sql.join(filter.filters.map((one) => condition(one, columns)), sql` and `)})`;
    case 'or':
      return sql`(${sql.join(filter.filters.map((one) => condition(one, columns)), sql` or `)})`;
    case 'not':
      // Not `not`: what is unknown is not fulfilled, so its opposite is.
      return sql`(${condition(filter.filter, columns)}) is not true`;
    case 'element': {
      const column = columnAt(filter.path, columns);
      if (column.element === undefined) throw unsearchable(filter.path);
      return anyElement(column, condition(filter.filter, column.element));
    }
    case 'present': {
      const column = columnAt(filter.path, columns);
      return column.type === 'list' ? sql`jsonb_array_length(${column.value}) > 0` : column.type === 'text' || column.type === 'exact' ? sql`coalesce(${column.value}, '') <> ''` : sql`${column.value} is not null`;
    }
    case 'compare': {
      const [list, sub] = listAt(filter.path, columns);
      if (list?.element !== undefined) {
        const column = list.element[sub];
        if (column === undefined) throw unsearchable(filter.path);
        return anyElement(list, comparison(column, filter.operator, filter.value, filter.path));
      }
      return comparison(columnAt(filter.path, columns), filter.operator, filter.value, filter.path);
    }
  }
}

/** `emails` and `emails.value` both ask for any element. */
function listAt(path: string, columns: Columns): [list: Column | undefined, sub: string] {
  const dot = path.lastIndexOf('.');
  const whole = Object.hasOwn(columns, path) ? columns[path] : undefined;
  if (whole !== undefined) return whole.type === 'list' ? [whole, 'value'] : [undefined, ''];
  const parent = dot === -1 ? '' : path.slice(0, dot);
  const list = Object.hasOwn(columns, parent) ? columns[parent] : undefined;
  return list?.type === 'list' ? [list, path.slice(dot + 1)] : [undefined, ''];
}

function anyElement(list: Column, fulfilled: RawBuilder<unknown>): RawBuilder<unknown> {
  return sql`exists (select from jsonb_array_elements(${list.value}) e where ${fulfilled})`;
}

function columnAt(path: string, columns: Columns): Column {
  const bare = [URN.user, URN.group].map((urn) => `${urn.toLowerCase()}:`).find((prefix) => path.startsWith(prefix));
  const name = bare === undefined ? path : path.slice(bare.length);
  const column = Object.hasOwn(columns, name) ? columns[name] : undefined;
  if (column === undefined) throw unsearchable(path);
  return column;
}

function comparison(column: Column, operator: FilterOperator, value: FilterValue, path: string): RawBuilder<unknown> {
  const { type, value: left } = column;
  if (value === null) {
    if (operator === 'eq') return sql`${left} is null`;
    if (operator === 'ne') return sql`${left} is not null`;
    throw mismatch(path);
  }
  if (type === 'boolean') {
    if (typeof value !== 'boolean' || (operator !== 'eq' && operator !== 'ne')) throw mismatch(path);
    return operator === 'eq' ? sql`${left} = ${value}::boolean` : sql`${left} is distinct from ${value}::boolean`;
  }
  if (typeof value !== 'string') throw mismatch(path);
  if (type === 'date') {
    const at = new Date(value);
    if (Number.isNaN(at.getTime()) || operator === 'co' || operator === 'sw' || operator === 'ew') throw mismatch(path);
    // Answers show milliseconds, so that is what a client can ask for.
    return sql`date_trunc('milliseconds', ${left}) ${SIGNS[operator]} ${at}::timestamptz`;
  }
  const [one, other] = type === 'exact' ? [left, sql`${value}::text`] : [sql`lower(${left})`, sql`lower(${value}::text)`];
  switch (operator) {
    case 'co':
      return sql`strpos(${one}, ${other}) > 0`;
    case 'sw':
      return sql`starts_with(${one}, ${other})`;
    case 'ew':
      return sql`right(${one}, length(${other})) = ${other}`;
    default:
      return sql`${one} ${SIGNS[operator]} ${other}`;
  }
}

const SIGNS: Readonly<Record<Exclude<FilterOperator, 'co' | 'sw' | 'ew'>, RawBuilder<unknown>>> = {
  eq: sql`=`,
  ne: sql`is distinct from`,
  gt: sql`>`,
  ge: sql`>=`,
  lt: sql`<`,
  le: sql`<=`,
};

/** @throws {ScimFailure} `invalidPath` for an attribute that cannot be sorted by. */
export function orderBy({ sortBy, descending }: ScimSearch, columns: Columns, tie: RawBuilder<unknown>): RawBuilder<unknown> {
  if (sortBy === undefined) return tie;
  const path = sortBy.toLowerCase();
  const [list] = listAt(path, columns);
  const column = list ?? (Object.hasOwn(columns, path) ? columns[path] : undefined);
  if (column === undefined) throw new ScimFailure('InvalidInput', 'invalidPath', `resources cannot be sorted by ${sortBy}`);
  const value = column.type === 'list' ? sql`lower(${column.value} #>> '{0,value}')` : column.type === 'text' ? sql`lower(${column.value})` : column.value;
  return descending ? sql`${value} desc nulls last, ${tie}` : sql`${value} asc nulls last, ${tie}`;
}

function unsearchable(path: string): ScimFailure {
  return new ScimFailure('InvalidInput', 'invalidFilter', `resources cannot be filtered by ${path}`);
}

function mismatch(path: string): ScimFailure {
  return new ScimFailure('InvalidInput', 'invalidFilter', `${path} cannot be compared so`);
}
