import { HalError } from '../../schemas/errors.ts';
import type { Caller } from './caller.ts';

/** Attributes a scope may narrow on, e.g. `{ type: 'rollout' }` against `runs:write:type=rollout`. */
export type ScopeAttributes = Readonly<Record<string, string>>;

/** `*`, or `<resource>:<verb>` where either may be `*`, followed by `:key=value` narrowings. */
export const SCOPE_PATTERN = /^(\*|([a-z][a-z0-9-]*|\*):([a-z][a-z0-9-]*|\*)(:[a-z][a-z0-9-]*=[A-Za-z0-9._~-]+)*)$/;

interface Scope {
  resource: string;
  verb: string;
  /** `key=value` pairs, all of which must hold. */
  narrowings: readonly string[];
}

function parse(scope: string): Scope {
  if (scope === '*') return { resource: '*', verb: '*', narrowings: [] };
  const [resource = '', verb = '', ...narrowings] = scope.split(':');
  return { resource, verb, narrowings };
}

/** Whether the caller's scopes grant `permission` (`<resource>:<verb>`) for a resource with these attributes. */
export function can(caller: Pick<Caller, 'scopes'>, permission: string, attributes: ScopeAttributes = {}): boolean {
  const [resource = '', verb = ''] = permission.split(':');
  return caller.scopes.some((text) => {
    if (text === '*') return true;
    const scope = parse(text);
    if (scope.resource !== '*' && scope.resource !== resource) return false;
    if (scope.verb !== '*' && scope.verb !== verb) return false;
    return scope.narrowings.every((narrowing) => {
      const equals = narrowing.indexOf('=');
      return attributes[narrowing.slice(0, equals)] === narrowing.slice(equals + 1);
    });
  });
}

/**
 * Whether some scope grants `permission` for at least some resources. For lists that then show only what {@link can} allows.
 */
export function canSome(caller: Pick<Caller, 'scopes'>, permission: string): boolean {
  const [resource = '', verb = ''] = permission.split(':');
  return caller.scopes.map(parse).some((scope) => (scope.resource === '*' || scope.resource === resource) && (scope.verb === '*' || scope.verb === verb));
}

/** Ids of single resources that some scope grants `permission` for and nothing more, as the scopes of what a team was given do. */
export function namedIds(caller: Pick<Caller, 'scopes'>, permission: string): string[] {
  const ids = caller.scopes.map(parse).flatMap(({ narrowings }) => (narrowings.length === 1 && narrowings[0]?.startsWith('id=') === true ? [narrowings[0].slice('id='.length)] : []));
  return [...new Set(ids)].filter((id) => can(caller, permission, { id }));
}

/** @throws {HalError} `Forbidden`, naming the permission that is missing. */
export function assertCan(caller: Pick<Caller, 'scopes'>, permission: string, attributes: ScopeAttributes = {}): void {
  if (!can(caller, permission, attributes)) {
    const narrowed = Object.entries(attributes).map(([key, value]) => `:${key}=${value}`).join('');
    throw new HalError('Forbidden', `needs the permission ${permission}${narrowed}`);
  }
}

/**
 * Whether someone holding `held` may hand on `wanted`: everything `wanted` allows must already be allowed by one of the
 * scopes held. Narrowings make a scope smaller, so `wanted` must keep all those of the scope it comes from.
 */
export function covers(held: readonly string[], wanted: string): boolean {
  const target = parse(wanted);
  return held.some((text) => {
    const scope = parse(text);
    if (scope.resource !== '*' && scope.resource !== target.resource) return false;
    if (scope.verb !== '*' && scope.verb !== target.verb) return false;
    return scope.narrowings.every((narrowing) => target.narrowings.includes(narrowing));
  });
}

/** The scopes that allow what both sets allow and nothing else: of somebody who acts for another. */
export function intersect(left: readonly string[], right: readonly string[]): string[] {
  return [...new Set(left.flatMap((one) => right.flatMap((other) => meet(parse(one), parse(other)))))];
}

function meet(left: Scope, right: Scope): string[] {
  const [resource] = narrower(left.resource, right.resource);
  const [verb] = narrower(left.verb, right.verb);
  if (resource === undefined || verb === undefined) return [];
  const narrowings = [...new Set([...left.narrowings, ...right.narrowings])];
  // Two values for one attribute are never both there.
  if (new Set(narrowings.map((narrowing) => narrowing.slice(0, narrowing.indexOf('=')))).size < narrowings.length) return [];
  return [resource === '*' && verb === '*' && narrowings.length === 0 ? '*' : [resource, verb, ...narrowings].join(':')];
}

function narrower(left: string, right: string): string[] {
  if (left === right || right === '*') return [left];
  return left === '*' ? [right] : [];
}
