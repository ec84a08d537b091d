import { randomUUID } from 'node:crypto';
import { ApiKeyStore } from '../../database/api-keys.ts';
import type { Database } from '../../database/database.ts';
import { formatKey, generateKey, hashSecret } from './key-format.ts';

export interface FirstOrganisation {
  orgId: string;
  /** Key with every scope, to be shown once: only its hash is kept. */
  apiKey: string;
}

/**
 * Creates the first organisation and its administrator's key when there is no organisation yet. Safe to call from
 * several processes at once.
 * @returns undefined when there was an organisation already.
 */
export async function bootstrap(database: Database, name = 'default'): Promise<FirstOrganisation | undefined> {
  const orgId = randomUUID();
  const text = generateKey();
  const created = await new ApiKeyStore(database).createFirstOrganisation(name, {
    orgId,
    id: randomUUID(),
    name: 'first administrator',
    prefix: text.prefix,
    secretHash: hashSecret(text.secret),
    scopes: ['*'],
    expiresAt: null,
  });
  return created ? { orgId, apiKey: formatKey(text) } : undefined;
}
