import type { Database } from '../../database/database.ts';
import { IdentityProviderStore } from '../../database/identity-providers.ts';
import { ProviderDomainStore, type DomainClaimRecord } from '../../database/provider-domains.ts';
import { HalError } from '../../schemas/errors.ts';
import { actOf } from '../audit/act.ts';
import type { Caller } from './caller.ts';

/**
 * E-mail domains that lead people to their organisation's sign-in. A claim proves nothing by itself, so it counts once an administrator
 * of the platform has confirmed it.
 */
export class ProviderDomains {
  readonly #store: ProviderDomainStore;
  readonly #providers: IdentityProviderStore;
  readonly #platform: () => Promise<string | undefined>;

  /** @param platform id of the organisation that runs the installation; see `platform-organisation.ts`. */
  constructor(database: Database, platform: () => Promise<string | undefined>) {
    this.#store = new ProviderDomainStore(database);
    this.#providers = new IdentityProviderStore(database);
    this.#platform = platform;
  }

  /** @throws {HalError} `NotFound`. */
  async list(caller: Caller, providerId: string): Promise<DomainClaimRecord[]> {
    await this.#assertProvider(caller, providerId);
    return this.#store.list(caller.orgId, providerId);
  }

  /** @throws {HalError} `NotFound`; `Conflict` when the organisation has claimed the domain. */
  async claim(caller: Caller, providerId: string, domain: string): Promise<DomainClaimRecord> {
    await this.#assertProvider(caller, providerId);
    const claim = await this.#store.claim(caller.orgId, providerId, domain, actOf(caller, 'identity-provider.claim-domain', { kind: 'identity-provider', id: providerId }, { domain }));
    if (claim === undefined) throw new HalError('Conflict', 'the organisation has claimed this domain already');
    return claim;
  }

  /** @throws {HalError} `NotFound`. */
  async release(caller: Caller, providerId: string, domain: string): Promise<void> {
    const released = await this.#store.release(caller.orgId, providerId, domain.toLowerCase(), actOf(caller, 'identity-provider.release-domain', { kind: 'identity-provider', id: providerId }, { domain }));
    if (!released) throw new HalError('NotFound', 'no such claim');
  }

  /** @throws {HalError} `Forbidden` for whom the installation is not theirs; `NotFound`; `Conflict` when another organisation's claim is confirmed. */
  async confirm(caller: Caller, orgId: string, domain: string): Promise<DomainClaimRecord> {
    if (caller.orgId !== (await this.#platform())) throw new HalError('Forbidden', 'only the organisation that runs the installation confirms domains');
    const act = actOf(caller, 'identity-provider.confirm-domain', { kind: 'organisation', id: orgId }, { domain });
    const claim = await this.#store.confirmAcrossOrganisations(orgId, domain.toLowerCase(), `${caller.actor.kind}:${caller.actor.id}`, orgId === caller.orgId ? [act] : [act, { ...act, orgId }]);
    if (claim === 'missing') throw new HalError('NotFound', 'the organisation has not claimed this domain');
    if (claim === 'taken') throw new HalError('Conflict', 'the domain is confirmed for another organisation');
    return claim;
  }

  async #assertProvider(caller: Caller, providerId: string): Promise<void> {
    if ((await this.#providers.find(caller.orgId, providerId)) === undefined) throw new HalError('NotFound', 'no such identity provider');
  }
}
