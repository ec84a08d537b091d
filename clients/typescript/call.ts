import { OPERATIONS } from './operations.ts';
import type { OperationRow } from './operation-row.ts';
import type { operations } from './schema.ts';

/** operationId of the API, as in `docs/reference/api.md`. */
export type OperationId = keyof typeof OPERATIONS & keyof operations;

type ParametersOf<Id extends OperationId> = operations[Id]['parameters'];
/** The document writes `never` for a place that takes nothing. */
type Part<Id extends OperationId, Where extends string> = Where extends keyof ParametersOf<Id> ? ([NonNullable<ParametersOf<Id>[Where]>] extends [never] ? unknown : NonNullable<ParametersOf<Id>[Where]>) : unknown;
type JsonBody<Id extends OperationId> = operations[Id] extends { requestBody: { content: { 'application/json': infer Body } } }
  ? { readonly body: Body }
  : operations[Id] extends { requestBody?: { content: { 'application/json': infer Body } } }
    ? { readonly body?: Body }
    : { readonly body?: never };

type Content<Answer> = Answer extends { content: infer Types } ? Types[keyof Types] : undefined;
type SuccessStatus = 200 | 201 | 202 | 204;

/** What an operation takes: parameters of path, query and headers together, and its JSON body. */
export type CallInput<Id extends OperationId> = { readonly params: Part<Id, 'path'> & Part<Id, 'query'> & Part<Id, 'header'> } & JsonBody<Id>;

/** What it answers on success; undefined where there is no body. */
export type CallAnswer<Id extends OperationId> = { [Status in keyof operations[Id]['responses'] & SuccessStatus]: Content<operations[Id]['responses'][Status]> }[keyof operations[Id]['responses'] & SuccessStatus];

/** Operations that answer `{items, nextCursor}`. */
export type PagedId = { [Id in OperationId]: (typeof OPERATIONS)[Id] extends { pages: true } ? Id : never }[OperationId];
export type ItemOf<Id extends PagedId> = CallAnswer<Id> extends { items: readonly (infer Item)[] } ? Item : never;

export function isOperationId(id: string): id is OperationId {
  return Object.hasOwn(OPERATIONS, id);
}

/**
 * Path with query of an operation.
 * @throws {TypeError} when a parameter of the path is missing or a parameter is not the operation's.
 */
export function pathOf(row: OperationRow, params: Readonly<Record<string, unknown>>): string {
  const query = new URLSearchParams();
  const left = new Set(Object.keys(params).filter((name) => params[name] !== undefined));
  let path = row.path;
  for (const { name, in: where } of row.parameters) {
    left.delete(name);
    const value = params[name];
    if (where === 'path') {
      if (value === undefined || value === '') throw new TypeError(`${row.method} ${row.path} needs ${name}`);
      path = path.replace(`{${name}}`, encodeURIComponent(textOf(value)));
    } else if (where === 'query' && value !== undefined) {
      for (const one of Array.isArray(value) ? value : [value]) query.append(name, textOf(one));
    }
  }
  if (left.size > 0) throw new TypeError(`${row.method} ${row.path} has no parameter ${[...left].join(', ')}`);
  return query.size === 0 ? path : `${path}?${query.toString()}`;
}

/** Parameters that are sent as headers. */
export function headersOf(row: OperationRow, params: Readonly<Record<string, unknown>>): Record<string, string> {
  return Object.fromEntries(row.parameters.flatMap(({ name, in: where }) => (where === 'header' && params[name] !== undefined ? [[name.toLowerCase(), textOf(params[name])]] : [])));
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : value instanceof Date ? value.toISOString() : JSON.stringify(value);
}
