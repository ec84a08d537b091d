import type { Database } from '../../database/database.ts';
import { OrganisationStore } from '../../database/organisations.ts';

/**
 * The organisation that runs the installation: the first one. Its people may use what shows or steers all organisations, as
 * the Temporal UI does.
 * @returns a function that answers its id, undefined before there is one; asks the database until then and never again.
 */
export function platformOrganisation(database: Database): () => Promise<string | undefined> {
  const store = new OrganisationStore(database);
  let known: string | undefined;
  return async () => {
    known ??= (await store.listAll())[0]?.orgId;
    return known;
  };
}
