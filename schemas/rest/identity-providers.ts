import { z } from 'zod';
import { roleName } from './roles.ts';

/**
 * Where an organisation's people prove who they are. Settings are a union by kind; fields marked `secret` are sealed and never leave
 * HAL9 again. Presets are kinds of drafts only: `platform/identity/presets.ts` makes one of the three kinds of them.
 */
const secret = (description: string) => z.string().min(1).max(4096).describe(description).meta({ writeOnly: true });

const LOOPBACK = /^(localhost|127(\.\d{1,3}){3}|\[?::1\]?)$/;
/** HTTPS; plain HTTP to this machine only, for trials. */
const endpoint = z
  .url({ protocol: /^https?$/ })
  .max(2048)
  .refine((text) => !URL.canParse(text) || new URL(text).protocol === 'https:' || LOOPBACK.test(new URL(text).hostname), 'must be https');
/** Parameters of the authorization request that carry its security. */
const RESERVED = new Set(['client_id', 'response_type', 'response_mode', 'redirect_uri', 'scope', 'state', 'nonce', 'code_challenge', 'code_challenge_method', 'prompt', 'max_age', 'request', 'request_uri', 'claims', 'registration']);
const claimName = z.string().min(1).max(200);

export const oidcSettings = z.strictObject({
  kind: z.literal('oidc'),
  issuer: endpoint.describe('Issuer, exactly as the provider writes it in its tokens. Its `/.well-known/openid-configuration` is read.'),
  clientId: z.string().min(1).max(500).describe('Client id that the provider gave HAL9.'),
  clientSecret: secret('Client secret. Left out for a public client, which then rests on PKCE alone.').optional(),
  clientAuthentication: z.enum(['client_secret_basic', 'client_secret_post']).default('client_secret_basic').describe('How the secret is sent to the token endpoint.'),
  scopes: z.array(z.string().regex(/^[\x21\x23-\x5b\x5d-\x7e]{1,200}$/, 'is no scope')).max(30).default(['openid', 'profile', 'email']).describe('What is asked for; `openid` is always among them.'),
  claims: z
    .strictObject({
      userName: claimName.default('preferred_username'),
      email: claimName.default('email'),
      displayName: claimName.default('name'),
      groups: claimName.default('groups'),
    })
    .prefault({})
    .describe('Claims that hold the name a person signs in with (e-mail, then subject, when absent), the address, the full name and the groups.'),
  requiredClaims: z
    .record(claimName, z.array(z.string().min(1).max(500)).min(1).max(50))
    .default({})
    .describe('Claims of the ID token that must have one of these values, e.g. the tenant. Anything else is refused.'),
  userInfo: z.boolean().default(false).describe('Whether the UserInfo endpoint is asked too; for providers whose ID tokens lack e-mail or groups.'),
  authorizationParameters: z
    .record(z.string().regex(/^[a-z][a-z0-9_]{0,49}$/), z.string().max(500))
    .refine((parameters) => Object.keys(parameters).every((name) => !RESERVED.has(name)), 'names a parameter that HAL9 sets')
    .default({})
    .describe('Further parameters of the authorization request, e.g. `acr_values` or `domain_hint`.'),
  prompt: z.enum(['login', 'consent', 'select_account']).optional().describe('What the provider asks of people who have a session there. Default: its own choice.'),
  maxAgeSeconds: z.int().min(0).max(31_536_000).optional().describe('Seconds since the person last proved who they are at the provider; older asks again.'),
  clockSkewSeconds: z.int().min(0).max(300).default(30).describe('How far the provider\'s clock may be off.'),
  trustsEmail: z.boolean().default(false).describe('Whether an address that the provider calls verified links to the user who has it here. Only for a provider that owns the addresses of its people.'),
});

const dn = z.string().min(1).max(1000);
const attributeName = z.string().regex(/^[A-Za-z][A-Za-z0-9-]{0,99}$/, 'is no attribute name');

export const ldapSettings = z.strictObject({
  kind: z.literal('ldap'),
  host: z.string().regex(/^[A-Za-z0-9.:-]{1,253}$/, 'is no host name'),
  port: z.int().min(1).max(65_535).optional().describe('Default: 636 with `implicit`, else 389.'),
  tls: z.enum(['starttls', 'implicit', 'none']).default('starttls').describe('`starttls` is required, not merely offered; `implicit` is LDAPS; `none` sends passwords in the clear and is for this machine only.'),
  ca: z.string().max(100_000).regex(/-----BEGIN CERTIFICATE-----/, 'is no PEM certificate').optional().describe('PEM certificates of the authority that signed the directory\'s. Default: the public authorities.'),
  bindDn: dn.describe('Service account that searches for people, as DN or, in Active Directory, as user principal name.'),
  bindPassword: secret('Password of the service account.'),
  userBase: dn.describe('Where people are, e.g. `ou=people,dc=example,dc=com`.'),
  userFilter: z
    .string()
    .max(2000)
    .refine((text) => text.includes('{userName}'), 'must contain {userName}')
    .default('(&(objectClass=person)(uid={userName}))')
    .describe('Finds the person; `{userName}` stands for what was typed, escaped.'),
  attributes: z
    .strictObject({
      id: attributeName.default('entryUUID').describe('Never changes and is never given to somebody else.'),
      userName: attributeName.default('uid'),
      email: attributeName.default('mail'),
      displayName: attributeName.default('cn'),
    })
    .prefault({}),
  groups: z
    .discriminatedUnion('by', [
      z.strictObject({ by: z.literal('none') }),
      z.strictObject({
        by: z.literal('search'),
        base: dn.describe('Where groups are.'),
        filter: z.string().max(2000).refine((text) => text.includes('{dn}'), 'must contain {dn}').default('(|(member={dn})(uniqueMember={dn}))').describe('Finds the groups that have `{dn}` as a member.'),
        nested: z.boolean().default(true).describe('Whether groups in groups count, ten levels deep.'),
        name: attributeName.default('cn').describe('Attribute whose value the role mapping knows the group by.'),
      }),
      z.strictObject({
        by: z.literal('chain'),
        base: dn.describe('Where groups are.'),
        name: attributeName.default('cn').describe('Attribute whose value the role mapping knows the group by.'),
      }),
    ])
    .default({ by: 'none' })
    .describe('How the groups of a person are found: `search` asks for them level by level, `chain` lets Active Directory walk the nesting (LDAP_MATCHING_RULE_IN_CHAIN).'),
  timeoutSeconds: z.int().min(1).max(30).default(10).describe('Longest wait for the connection, and for each answer.'),
  trustsEmail: z.boolean().default(false).describe('Whether the address in the directory links to the user who has it here.'),
});

const pem = z
  .string()
  .max(20_000)
  .regex(/^\s*-----BEGIN (CERTIFICATE|PUBLIC KEY)-----[A-Za-z0-9+/=\s]+-----END (CERTIFICATE|PUBLIC KEY)-----\s*$/, 'is no PEM certificate');
const attribute = z.string().min(1).max(500);

export const samlSettings = z.strictObject({
  kind: z.literal('saml'),
  entityId: z.string().min(1).max(1024).describe('Entity id of the provider, exactly as in its metadata.'),
  signInUrl: endpoint.describe('Single sign-on service of the provider.'),
  binding: z.enum(['redirect', 'post']).default('redirect').describe('How the request travels to it. Answers always come by POST.'),
  logoutUrl: endpoint.optional().describe('Single logout service of the provider, reached by redirect. Without one, signing out ends the session here only.'),
  certificates: z.array(pem).min(1).max(10).describe('PEM certificates the provider signs with. Pinned: their dates are not looked at. Two while it changes its key.'),
  signed: z.enum(['either', 'assertion', 'response', 'both']).default('either').describe('What the provider must sign. Whatever carries a signature must carry a valid one.'),
  encrypted: z.boolean().default(false).describe('Whether assertions must be encrypted. They may be in any case, with the certificate in the metadata.'),
  allowSha1: z.boolean().default(false).describe('Believe signatures that use SHA-1. Only for a provider that cannot do better.'),
  idpInitiated: z.boolean().default(false).describe('Whether the provider may sign people in without being asked. Such a sign-in is not bound to a browser: leave it off where you can.'),
  nameId: z.enum(['persistent', 'emailAddress', 'unspecified']).default('persistent').describe('Kind of name asked for. A person is known by it: it must never be given to somebody else. `transient` names are refused.'),
  attributes: z
    .strictObject({
      userName: attribute.optional().describe('Default: the NameID.'),
      email: attribute.default('email'),
      displayName: attribute.default('displayName'),
      groups: attribute.default('groups'),
    })
    .prefault({})
    .describe('Names of the attributes that hold the name a person signs in with, the address, the full name and the groups.'),
  secondFactorContexts: z
    .array(z.string().min(1).max(500))
    .max(20)
    .default(['https://refeds.org/profile/mfa', 'http://schemas.microsoft.com/claims/multipleauthn', 'urn:oasis:names:tc:SAML:2.0:ac:classes:MobileTwoFactorContract', 'urn:oasis:names:tc:SAML:2.0:ac:classes:TimeSyncToken'])
    .describe('Authentication contexts by which the provider says that it asked for a second factor; HAL9 then asks for none.'),
  forceSignIn: z.boolean().default(false).describe('Whether people must show who they are although they have a session at the provider.'),
  clockSkewSeconds: z.int().min(0).max(300).default(60).describe('How far the provider\'s clock may be off.'),
  serviceKey: secret('PEM RSA key that signs requests and opens encrypted assertions. Made when left out.').max(20_000).optional(),
  serviceCertificate: pem.optional().describe('PEM certificate of it, published in the metadata. Made with the key.'),
  trustsEmail: z.boolean().default(false).describe('Whether an address in an assertion links to the user who has it here. Only for a provider that owns the addresses of its people.'),
});

/** One member for each kind. */
const settingsByKind = z.discriminatedUnion('kind', [oidcSettings, samlSettings, ldapSettings]);

const CLEAR_TEXT = { path: ['tls'], message: '`none` is for a directory on this machine only' };

export const providerSettings = settingsByKind.refine((settings) => settings.kind !== 'ldap' || settings.tls !== 'none' || LOOPBACK.test(settings.host), CLEAR_TEXT);

export type OidcSettings = z.output<typeof oidcSettings>;
export type SamlSettings = z.output<typeof samlSettings>;
export type LdapSettings = z.output<typeof ldapSettings>;
export type ProviderSettings = z.output<typeof providerSettings>;
export type ProviderKind = ProviderSettings['kind'];

/** Okta: an organisation's own authorization server, or a custom one. */
export const oktaDraft = z.strictObject({
  kind: z.literal('okta'),
  issuer: endpoint
    .refine((text) => URL.canParse(text) && /^(\/oauth2\/[A-Za-z0-9]+)?\/?$/.test(new URL(text).pathname), 'is `https://<your domain>` or `https://<your domain>/oauth2/<id of the authorization server>`')
    .refine((text) => !URL.canParse(text) || !/-admin\.okta(-emea|preview)?\.com$/.test(new URL(text).hostname), 'is the address of the admin console; leave `-admin` out')
    .describe('`https://acme.okta.com`, or `https://acme.okta.com/oauth2/default` for a custom authorization server.'),
  clientId: z.string().min(1).max(500),
  clientSecret: secret('Client secret of the application.'),
});

/** Microsoft Entra ID, one tenant. */
export const entraIdDraft = z.strictObject({
  kind: z.literal('entra-id'),
  tenantId: z.guid('is the id of one tenant; `common`, `organizations` and `consumers` would let people of every tenant in').transform((id) => id.toLowerCase()),
  clientId: z.guid(),
  clientSecret: secret('Value (not id) of a client secret of the app registration.'),
  cloud: z.enum(['global', 'us-government', 'china']).default('global'),
  groups: z.enum(['groups', 'roles']).default('groups').describe('Claim the role mapping reads: `groups` (object ids, unless configured otherwise; not sent to members of more than 200) or `roles` (values of app roles).'),
});

/** Google Workspace or Cloud Identity. */
export const googleDraft = z.strictObject({
  kind: z.literal('google'),
  hostedDomains: z.array(z.string().regex(/^([a-z0-9](-?[a-z0-9])*\.)+[a-z]{2,63}$/, 'is a domain in lower case')).min(1).max(50).describe('Domains of the Workspace; anybody else with a Google account is refused.'),
  clientId: z.string().regex(/\.apps\.googleusercontent\.com$/, 'ends in .apps.googleusercontent.com').max(500),
  clientSecret: secret('Client secret.'),
});

/** Active Directory over LDAP. */
export const activeDirectoryDraft = z.strictObject({
  kind: z.literal('active-directory'),
  host: ldapSettings.shape.host.describe('A domain controller, or the name of the domain.'),
  port: ldapSettings.shape.port,
  tls: z.enum(['starttls', 'implicit']).default('implicit'),
  ca: ldapSettings.shape.ca,
  bindDn: ldapSettings.shape.bindDn,
  bindPassword: ldapSettings.shape.bindPassword,
  base: dn.describe('Root of the domain, e.g. `dc=corp,dc=example,dc=com`, or the unit where people are.'),
  groupBase: dn.optional().describe('Where groups are. Default: `base`.'),
});

/** SAML by the provider's own metadata; whatever it says may be said again here. */
export const samlMetadataDraft = samlSettings.omit({ entityId: true, signInUrl: true, logoutUrl: true, certificates: true, binding: true }).extend({
  kind: z.literal('saml-metadata'),
  metadata: z.string().min(1).max(256 * 1024).describe('The metadata document (XML) of the provider: its entity id, addresses and certificates are read from it.'),
});

const draftSettings = z
  .discriminatedUnion('kind', [oidcSettings, samlSettings, samlMetadataDraft, ldapSettings, oktaDraft, entraIdDraft, googleDraft, activeDirectoryDraft])
  .refine((settings) => settings.kind !== 'ldap' || settings.tls !== 'none' || LOOPBACK.test(settings.host), CLEAR_TEXT);

export type ProviderDraftSettings = z.output<typeof draftSettings>;
export const PRESETS = ['okta', 'entra-id', 'google', 'active-directory'] as const;
export type ProviderPreset = (typeof PRESETS)[number];

export const roleMapping = z.strictObject({
  default: z.array(roleName).max(20).default([]).describe('Roles of everybody who signs in by the provider.'),
  groups: z.record(z.string().min(1).max(500), z.array(roleName).min(1).max(20)).default({}).describe('Roles by the provider\'s group.'),
});

export type RoleMapping = z.output<typeof roleMapping>;

const providerName = z.string().trim().min(1).max(100).describe('What people see on the button of the sign-in page.');

export const providerDraft = z.strictObject({
  name: providerName,
  settings: draftSettings,
  enabled: z.boolean().default(true),
  provisions: z.boolean().default(true).describe('Whether somebody unknown becomes a user at the first sign-in. With `false` people are invited or provisioned first.'),
  roleMapping: roleMapping.prefault({}),
});

export const providerChange = z.strictObject({
  name: providerName.optional(),
  settings: z
    .record(z.string(), z.unknown())
    .optional()
    .describe('The settings that change, in the terms of the kind (`oidc`, `ldap`, `saml`), not of the preset; the others stay. A change of where secrets are sent asks for the secrets again.'),
  enabled: z.boolean().optional(),
  provisions: z.boolean().optional(),
  roleMapping: roleMapping.optional(),
  version: z.int().min(1).optional().describe('Refuse unless this is the version being changed.'),
});

export type ProviderDraft = z.output<typeof providerDraft>;
export type ProviderChange = z.output<typeof providerChange>;

export const providerView = z
  .object({
    id: z.uuid(),
    name: z.string(),
    kind: z.enum(['oidc', 'saml', 'ldap']),
    preset: z.enum(PRESETS).nullable(),
    version: z.int(),
    settings: z.record(z.string(), z.unknown()).describe('What is no secret.'),
    secrets: z.array(z.string()).describe('Names of the secret settings that are set.'),
    addresses: z.record(z.string(), z.string()).describe('What to enter at the provider, e.g. `redirect`. They hold the organisation\'s slug, or its id while it has none.'),
    enabled: z.boolean(),
    provisions: z.boolean(),
    roleMapping,
    state: z.enum(['untested', 'ok', 'failed']),
    lastTestedAt: z.iso.datetime().nullable(),
    lastFailure: z.string().nullable().describe('What the last test found, in plain words.'),
    createdAt: z.iso.datetime(),
    updatedAt: z.iso.datetime(),
    updatedBy: z.string(),
  })
  .meta({ id: 'IdentityProvider' });

export const domainClaim = z.strictObject({
  domain: z.string().toLowerCase().regex(/^([a-z0-9](-?[a-z0-9])*\.)+[a-z]{2,63}$/, 'is no domain').max(253).describe('What stands behind the @ of people\'s addresses.'),
});

export const domainClaimView = z
  .object({ domain: z.string(), providerId: z.uuid(), createdAt: z.iso.datetime(), confirmedAt: z.iso.datetime().nullable().describe('Null until an administrator of the platform has confirmed it.') })
  .meta({ id: 'DomainClaim' });
