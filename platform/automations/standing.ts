import { ApiKeyStore } from '../../database/api-keys.ts';
import type { AutomationOwner } from '../../database/automations.ts';
import type { Database } from '../../database/database.ts';
import { effectiveScopes, Grants } from '../identity/grants.ts';

/** How the owner of an automation stands now. */
export type OwnerStanding = { readonly active: false } | { readonly active: true; /** Undefined for owners whose scopes are HAL9's own. */ readonly scopes: readonly string[] | undefined };

/** Asks whether owners of automations are still there, and what they may. */
export class OwnerStandings {
  readonly #keys: ApiKeyStore;
  readonly #grants: Grants;

  constructor(database: Database) {
    this.#keys = new ApiKeyStore(database);
    this.#grants = new Grants(database);
  }

  /** A person counts as somebody who asks from nowhere: rights that hold in some networks only do not reach automations. */
  async of(orgId: string, { kind, id }: Pick<AutomationOwner, 'kind' | 'id'>): Promise<OwnerStanding> {
    if (kind === 'api-key') return this.#key(orgId, id);
    if (kind !== 'user') return { active: true, scopes: undefined };
    const grants = await this.#grants.of(orgId, id);
    return grants === undefined ? { active: false } : { active: true, scopes: effectiveScopes(grants, { at: new Date(), address: undefined, risk: 0 }) };
  }

  async #key(orgId: string, id: string): Promise<OwnerStanding> {
    const found = await this.#keys.find(orgId, id);
    const key = found === undefined ? undefined : await this.#keys.findByPrefixAcrossOrganisations(found.prefix);
    if (key?.stands !== true || key.revokedAt !== null || (key.expiresAt !== null && key.expiresAt.getTime() <= Date.now())) return { active: false };
    return { active: true, scopes: key.scopes };
  }
}
