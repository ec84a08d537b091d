import { noActHere, type Act, type ActDetails } from '../../database/audit-acts.ts';
import type { Caller } from '../identity/caller.ts';

export { noActHere };

/**
 * The act a caller commits, for the store method that writes it in the cause's transaction.
 * @param action `<resource>.<verb>`, e.g. `api-key.revoke`.
 * @param details neither personal nor secret; names people gave to things are left out, ids say enough.
 */
export function actOf(caller: Caller, action: string, resource: Act['resource'], details: ActDetails = {}, result: Act['result'] = 'succeeded'): Act {
  return {
    orgId: caller.orgId,
    action,
    result,
    actor: caller.actor,
    impersonatorId: caller.impersonatorId,
    resource,
    requestId: caller.requestId,
    risk: caller.risk ?? 0,
    details,
    personal: caller.client === undefined ? {} : { address: caller.client.address, ...(caller.client.userAgent === undefined ? {} : { userAgent: caller.client.userAgent }) },
  };
}
