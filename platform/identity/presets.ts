import type { OidcSettings, ProviderDraft, ProviderPreset, ProviderSettings } from '../../schemas/rest/identity-providers.ts';
import { ldapSettings, oidcSettings, samlSettings } from '../../schemas/rest/identity-providers.ts';
import { readProviderMetadata } from './saml-metadata.ts';

/** Settings of a draft in the terms of its kind, and the preset they came from. */
export interface ExpandedSettings {
  readonly preset: ProviderPreset | null;
  readonly settings: ProviderSettings;
}

type DraftSettings = ProviderDraft['settings'];

/** Microsoft's sign-in service by cloud; the v2.0 issuer is `<authority>/<tenant>/v2.0` (Microsoft identity platform, OpenID Connect). */
const ENTRA_AUTHORITIES = {
  global: 'https://login.microsoftonline.com',
  'us-government': 'https://login.microsoftonline.us',
  china: 'https://login.partner.microsoftonline.cn',
} as const;

/** What a preset fills in. The how-to pages per provider say where each value is found and what each check is for. */
export function expand(draft: DraftSettings): ExpandedSettings {
  switch (draft.kind) {
    case 'oidc':
    case 'saml':
    case 'ldap':
      return { preset: null, settings: draft };
    case 'saml-metadata': {
      const { metadata, ...rest } = draft;
      return { preset: null, settings: samlSettings.parse({ ...rest, ...readProviderMetadata(metadata), kind: 'saml' }) };
    }
    case 'okta': {
      const issuer = draft.issuer.replace(/\/$/, '');
      return oidc('okta', {
        issuer,
        clientId: draft.clientId,
        clientSecret: draft.clientSecret,
        // The organisation's own server knows the scope `groups`; a custom one refuses it unless somebody made it, and sends the claim by its own rule.
        scopes: ['openid', 'profile', 'email', ...(new URL(issuer).pathname === '/' ? ['groups'] : [])],
        // With an access token beside it Okta's ID token is thin: profile and e-mail come from UserInfo.
        userInfo: true,
      });
    }
    case 'entra-id':
      return oidc('entra-id', {
        issuer: `${ENTRA_AUTHORITIES[draft.cloud]}/${draft.tenantId}/v2.0`,
        clientId: draft.clientId,
        clientSecret: draft.clientSecret,
        clientAuthentication: 'client_secret_post',
        claims: { groups: draft.groups },
        requiredClaims: { tid: [draft.tenantId] },
      });
    case 'google':
      return oidc('google', {
        issuer: 'https://accounts.google.com',
        clientId: draft.clientId,
        clientSecret: draft.clientSecret,
        clientAuthentication: 'client_secret_post',
        claims: { userName: 'email' },
        // The request's `hd` only picks the account chooser; what counts is the claim.
        requiredClaims: { hd: draft.hostedDomains },
        authorizationParameters: { hd: draft.hostedDomains.length === 1 ? (draft.hostedDomains[0] ?? '*') : '*' },
      });
    case 'active-directory':
      return {
        preset: 'active-directory',
        settings: ldapSettings.parse({
          kind: 'ldap',
          host: draft.host,
          port: draft.port,
          tls: draft.tls,
          ca: draft.ca,
          bindDn: draft.bindDn,
          bindPassword: draft.bindPassword,
          userBase: draft.base,
          userFilter: '(&(objectClass=user)(!(objectClass=computer))(|(sAMAccountName={userName})(userPrincipalName={userName})))',
          attributes: { id: 'objectGUID', userName: 'sAMAccountName', email: 'mail', displayName: 'displayName' },
          groups: { by: 'chain', base: draft.groupBase ?? draft.base },
        }),
      };
  }
}

function oidc(preset: ProviderPreset, filled: Record<string, unknown> & Pick<OidcSettings, 'issuer' | 'clientId'>): ExpandedSettings {
  return { preset, settings: oidcSettings.parse({ kind: 'oidc', ...filled }) };
}

/** Presets whose providers let anybody write any address into a profile: an e-mail of theirs proves nothing. */
export function mayTrustEmail(preset: string | null): boolean {
  return preset !== 'entra-id';
}
