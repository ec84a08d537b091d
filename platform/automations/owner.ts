import type { AutomationOwner } from '../../database/automations.ts';
import { HalError } from '../../schemas/errors.ts';
import type { MappedEffect } from '../../schemas/automations/definition.ts';
import type { OperationContract } from '../../schemas/operations/operation.ts';
import type { Caller } from '../identity/caller.ts';
import { can } from '../identity/permissions.ts';
import type { OwnerStanding } from './standing.ts';

/** What an effect needs: a permission, with the attributes that scopes may narrow on. */
export interface EffectPermission {
  readonly permission: string;
  readonly attributes: Readonly<Record<string, string>>;
}

/** @throws {HalError} `InvalidInput` when the operation does not exist or is not for people. */
export function permissionOf(effect: Pick<MappedEffect, 'kind'> & { readonly operation?: string | undefined }, contracts: ReadonlyMap<string, OperationContract>): EffectPermission {
  if (effect.kind === 'signal') return { permission: 'signals:write', attributes: {} };
  const contract = contracts.get(effect.operation ?? '');
  if (contract === undefined || contract.exposure === 'internal') {
    throw new HalError('InvalidInput', 'it would start an operation that does not exist', { errors: [{ path: '/effect/operation', message: `no operation "${effect.operation ?? ''}"` }] });
  }
  return { permission: contract.permission, attributes: { type: contract.name } };
}

/** Why the owner may not have this effect any more, in words; undefined when the owner may. */
export function refusalOf(owner: AutomationOwner, standing: OwnerStanding, needed: EffectPermission, thing: 'automation' | 'schedule' = 'automation'): string | undefined {
  const who = owner.kind === 'api-key' ? 'the API key' : owner.kind === 'user' ? 'the person' : 'the service';
  if (!standing.active) return `${who} that owns the ${thing} was revoked, has expired or is gone`;
  const frozen = can({ scopes: owner.scopes }, needed.permission, needed.attributes);
  const current = standing.scopes === undefined || can({ scopes: standing.scopes }, needed.permission, needed.attributes);
  return frozen && current ? undefined : `${who} that owns the ${thing} lacks the permission ${needed.permission}`;
}

export function ownerOf(caller: Caller): AutomationOwner {
  return { kind: caller.actor.kind, id: caller.actor.id, scopes: caller.scopes };
}
