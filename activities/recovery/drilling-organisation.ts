import type { Database } from '../../database/database.ts';
import { OrganisationStore } from '../../database/organisations.ts';

/**
 * The organisation whose runs may drill: a drill restores the data of all of them.
 * @param chosen HAL9_RECOVERY_ORG. @returns undefined where nobody was chosen and there is not exactly one.
 */
export async function drillingOrganisation(database: Database, chosen: string | undefined): Promise<string | undefined> {
  if (chosen !== undefined) return chosen;
  const organisations = await new OrganisationStore(database).listAll();
  return organisations.length === 1 ? organisations[0]?.orgId : undefined;
}
