import type { IncomingFacts } from './incoming-facts.ts';

/** What an identity provider said of a person, after every check of the protocol. Nothing here came from unsigned bytes. */
export interface ExternalIdentity {
  readonly orgId: string;
  readonly providerId: string;
  /** The provider's own stable id of the person: OIDC `sub`, SAML persistent NameID, LDAP entryUUID or objectGUID. */
  readonly subject: string;
  readonly userName: string;
  /** Whether the name alone may link somebody who was provisioned: false for an address that the provider has not verified. */
  readonly userNameProven: boolean;
  readonly email: string | undefined;
  readonly emailVerified: boolean;
  readonly displayName: string | undefined;
  /** Names of the provider's groups, for the role mapping. */
  readonly groups: readonly string[];
  /** Whether the provider asked for a second factor (OIDC `amr` with `mfa`, SAML AuthnContext); then HAL9 asks for none. */
  readonly secondFactor: boolean;
  /** For logout at the provider: OIDC id token, or SAML NameID and SessionIndex. Sealed in the session. */
  readonly logout: Readonly<Record<string, string>> | undefined;
}

export type SignInOutcome =
  /** Signed in: send these `Set-Cookie` values and go to `location`. */
  | { readonly kind: 'session'; readonly sessionId: string; readonly cookies: readonly string[]; readonly location: string }
  /** A second factor is owed: `location` is the page that asks for it. */
  | { readonly kind: 'second-factor'; readonly cookies: readonly string[]; readonly location: string };

/** Where every way of signing in ends: one place makes users, applies role mappings, asks for factors and opens sessions. */
export interface SignInPort {
  /**
   * @param returnTo path of this site the person wanted; anything else goes to the console.
   * @throws {HalError} `Unauthenticated` when nobody may sign in so: unknown and not provisioned, inactive, provider disabled,
   *   organisation suspended. One text for all causes.
   */
  complete(identity: ExternalIdentity, facts: IncomingFacts, returnTo: string | undefined): Promise<SignInOutcome>;
}
