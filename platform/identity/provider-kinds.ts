import type { ProviderKind, ProviderSettings } from '../../schemas/rest/identity-providers.ts';

/** Settings that are sealed, by kind. */
export function secretNames(kind: ProviderKind): readonly string[] {
  switch (kind) {
    case 'oidc':
      return ['clientSecret'];
    case 'saml':
      return ['serviceKey'];
    case 'ldap':
      return ['bindPassword'];
  }
}

/** Addresses of HAL9 as a service provider; the metadata's is also its entity id. */
export interface SamlAddresses extends Record<string, string> {
  readonly start: string;
  readonly metadata: string;
  readonly assertionConsumer: string;
  readonly singleLogout: string;
}

/** @param base `<public address>/sign-in/<slug>`. */
export function samlAddresses(base: string, id: string): SamlAddresses {
  const own = `${base}/saml/${id}`;
  return { start: own, metadata: `${own}/metadata`, assertionConsumer: `${own}/acs`, singleLogout: `${own}/logout` };
}

/** Where the secrets of these settings are sent: kept secrets must not go anywhere else. */
export function destinationOf(settings: ProviderSettings): string {
  switch (settings.kind) {
    case 'oidc':
      return settings.issuer;
    case 'saml':
      return ''; // the key signs what is sent, it is never sent itself
    case 'ldap':
      return JSON.stringify([settings.host, settings.port ?? null, settings.tls, settings.ca ?? null]);
  }
}

/** What to enter at the provider. @param base `<public address>/sign-in/<slug>`. */
export function addressesOf(base: string, id: string, settings: ProviderSettings): Record<string, string> {
  switch (settings.kind) {
    case 'oidc':
      return { start: `${base}/oidc/${id}`, redirect: `${base}/oidc/${id}/callback`, backChannelLogout: `${base}/oidc/${id}/logout`, postLogoutRedirect: base };
    case 'saml':
      return samlAddresses(base, id);
    case 'ldap':
      return {};
  }
}
