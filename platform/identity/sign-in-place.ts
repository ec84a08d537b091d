import type { SignInStore } from '../../database/sign-ins.ts';
import { HalError } from '../../schemas/errors.ts';

/** Where a sign-in at a provider happens: the organisation, its provider, and HAL9's end of it. */
export interface SignInPlace {
  readonly orgId: string;
  readonly providerId: string;
  /** `<public address>/sign-in/<slug, or id of an organisation without one>`. */
  readonly base: string;
}

/**
 * @param organisation slug or id, as it stands in the address.
 * @param publicUrl where people reach HAL9, without a slash at the end.
 * @throws {HalError} `NotFound` when there is no such organisation, or it is suspended.
 */
export async function findPlace(store: SignInStore, publicUrl: string, organisation: string, providerId: string): Promise<SignInPlace> {
  const found = await store.findOrganisationAcrossOrganisations(organisation.toLowerCase());
  if (found === undefined || found.suspended) throw new HalError('NotFound', 'no organisation of this name');
  return { orgId: found.orgId, providerId, base: `${publicUrl}/sign-in/${found.slug ?? found.orgId}` };
}
