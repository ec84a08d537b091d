import { HalError } from '../../schemas/errors.ts';
import type { Caller } from './caller.ts';

/** Attributes a scope may narrow on, e.g. `{ type: 'rollout' }` against `runs:write:type=rollout`. */
export type ScopeAttributes = Readonly<Record<string, string>>;

/** Whether the caller's scopes grant `permission` (`<resource>:<verb>`) for a resource with these attributes. */
export function can(caller: Pick<Caller, 'scopes'>, permission: string, attributes: ScopeAttributes = {}): boolean {
  const [resource = '', verb = ''] = permission.split(':');
  return caller.scopes.some((scope) => {
    if (scope === '*') return true;
    const [scopeResource, scopeVerb, ...narrowings] = scope.split(':');
    if (scopeResource !== resource || (scopeVerb !== '*' && scopeVerb !== verb)) return false;
    return narrowings.every((narrowing) => {
      const [key = '', value] = narrowing.split('=', 2);
      return attributes[key] === value;
    });
  });
}

/** @throws {HalError} `Forbidden`, naming the permission that is missing. */
export function assertCan(caller: Pick<Caller, 'scopes'>, permission: string, attributes: ScopeAttributes = {}): void {
  if (!can(caller, permission, attributes)) {
    const narrowed = Object.entries(attributes).map(([key, value]) => `:${key}=${value}`).join('');
    throw new HalError('Forbidden', `needs the permission ${permission}${narrowed}`);
  }
}
