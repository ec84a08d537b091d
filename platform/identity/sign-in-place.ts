import type { Database } from '../../database/database.ts';
import { SignInStore } from '../../database/sign-ins.ts';
import { HalError } from '../../schemas/errors.ts';

/** Where a sign-in at a provider happens: the organisation, its provider, and HAL9's end of it. */
export interface SignInPlace {
  readonly orgId: string;
  readonly providerId: string;
  /** `<public address>/sign-in/<slug, or id of an organisation without one>`. */
  readonly base: string;
}

/** The places where people sign in at providers. */
export class SignInPlaces {
  readonly #store: SignInStore;
  readonly #publicUrl: string;

  /** @param publicUrl where people reach HAL9, without a slash at the end. */
  constructor(database: Database, publicUrl: string) {
    this.#store = new SignInStore(database);
    this.#publicUrl = publicUrl;
  }

  /**
   * @param organisation slug or id, as it stands in the address.
   * @throws {HalError} `NotFound` when there is no such organisation, or it is suspended.
   */
  async find(organisation: string, providerId: string): Promise<SignInPlace> {
    const found = await this.#store.findOrganisationAcrossOrganisations(organisation.toLowerCase());
    if (found === undefined || found.suspended) throw new HalError('NotFound', 'no organisation of this name');
    return { orgId: found.orgId, providerId, base: `${this.#publicUrl}/sign-in/${found.slug ?? found.orgId}` };
  }
}
