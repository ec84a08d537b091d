import type { ProviderKind, ProviderSettings } from '../../schemas/rest/identity-providers.ts';

/** Settings that are sealed, by kind. */
export function secretNames(kind: ProviderKind): readonly string[] {
  switch (kind) {
    case 'oidc':
      return ['clientSecret'];
    case 'ldap':
      return ['bindPassword'];
  }
}

/** Where the secrets of these settings are sent: kept secrets must not go anywhere else. */
export function destinationOf(settings: ProviderSettings): string {
  switch (settings.kind) {
    case 'oidc':
      return settings.issuer;
    case 'ldap':
      return JSON.stringify([settings.host, settings.port ?? null, settings.tls, settings.ca ?? null]);
  }
}

/** What to enter at the provider. @param base `<public address>/sign-in/<slug>`. */
export function addressesOf(base: string, id: string, settings: ProviderSettings): Record<string, string> {
  switch (settings.kind) {
    case 'oidc':
      return { start: `${base}/oidc/${id}`, redirect: `${base}/oidc/${id}/callback`, backChannelLogout: `${base}/oidc/${id}/logout`, postLogoutRedirect: base };
    case 'ldap':
      return {};
  }
}
