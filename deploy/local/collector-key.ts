import { randomUUID } from 'node:crypto';
import { ApiKeyStore } from '../../database/api-keys.ts';
import type { Database } from '../../database/database.ts';
import { OrganisationStore } from '../../database/organisations.ts';
import { formatKey, generateKey, hashSecret, parseKey } from '../../platform/identity/key-format.ts';
import type { DataFolder } from './data-folder.ts';

/** Whose machine this is, and the key its collector sends with. */
export interface Collector {
  readonly orgId: string;
  readonly apiKey: string;
}

const FILE = 'collector-key';

/**
 * The key with which this machine's collector sends signals to the oldest organisation; it may do nothing else. Made on
 * first use and kept in the data folder; made anew when the database does not know it.
 * @returns undefined while there is no organisation.
 */
export async function collectorKey(folder: DataFolder, database: Database): Promise<Collector | undefined> {
  const organisation = (await new OrganisationStore(database).listAll())[0];
  if (organisation === undefined) return undefined;
  const keys = new ApiKeyStore(database);
  const kept = await folder.readSecret(FILE);
  const prefix = kept === undefined ? undefined : parseKey(kept)?.prefix;
  const known = prefix === undefined ? undefined : await keys.findByPrefixAcrossOrganisations(prefix);
  if (kept !== undefined && known !== undefined && known.revokedAt === null) return { orgId: known.orgId, apiKey: kept };
  const made = generateKey();
  await keys.insert({ orgId: organisation.orgId, id: randomUUID(), name: 'collector of this machine', prefix: made.prefix, secretHash: hashSecret(made.secret), scopes: ['signals:write'], expiresAt: null });
  const apiKey = formatKey(made);
  await folder.writeSecret(FILE, apiKey);
  return { orgId: organisation.orgId, apiKey };
}
