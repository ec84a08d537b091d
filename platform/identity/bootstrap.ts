import { randomUUID } from 'node:crypto';
import { ApiKeyStore } from '../../database/api-keys.ts';
import type { Database } from '../../database/database.ts';
import { actOf } from '../audit/act.ts';
import { systemCaller } from './caller.ts';
import { newInvitationToken } from './invitations.ts';
import { formatKey, generateKey, hashSecret } from './key-format.ts';
import { OWNER } from './roles.ts';

export interface FirstOrganisation {
  orgId: string;
  /** Key with every scope, to be shown once: only its hash is kept. */
  apiKey: string;
  /** Token of the invitation that makes the owner's account, once, within a week; see `invitationLink`. */
  ownerToken: string;
}

const OWNER_INVITATION_MS = 7 * 86_400_000;

/**
 * Creates the first organisation, its administrator's key and its owner's invitation when there is no organisation yet. Safe to
 * call from several processes at once.
 * @param name also the short name in sign-in addresses.
 * @returns undefined when there was an organisation already.
 */
export async function bootstrap(database: Database, name = 'default'): Promise<FirstOrganisation | undefined> {
  const orgId = randomUUID();
  const text = generateKey();
  const ownerToken = newInvitationToken();
  const created = await new ApiKeyStore(database).createFirstOrganisation(
    name,
    { orgId, id: randomUUID(), name: 'first administrator', prefix: text.prefix, secretHash: hashSecret(text.secret), scopes: ['*'], expiresAt: null },
    { orgId, id: randomUUID(), token: ownerToken, email: null, userId: null, roles: [OWNER], teamIds: [], invitedBy: null, expiresAt: new Date(Date.now() + OWNER_INVITATION_MS) },
    actOf(systemCaller(orgId, 'bootstrap'), 'organisation.create', { kind: 'organisation', id: orgId }),
  );
  return created ? { orgId, apiKey: formatKey(text), ownerToken } : undefined;
}
