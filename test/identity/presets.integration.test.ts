import { describe, expect, it } from 'vitest';
import { Egress } from '../../platform/connections/egress.ts';
import { groupsWithheld, personOf, unmetClaim } from '../../platform/identity/oidc-claims.ts';
import { OidcClients } from '../../platform/identity/oidc-client.ts';
import { expand, mayTrustEmail } from '../../platform/identity/presets.ts';
import { providerDraft, type OidcSettings } from '../../schemas/rest/identity-providers.ts';
import { json, startHttpServer } from '../environment/http-server.ts';

const TENANT = '72f988bf-86f1-41af-91ab-2d7cd011db47';
const CLIENT = '6731de76-14a6-49ae-97bc-6eba6914391e';

function preset(settings: Record<string, unknown>): OidcSettings {
  const expanded = expand(providerDraft.parse({ name: 'x', settings }).settings).settings;
  if (expanded.kind !== 'oidc') throw new Error('not OpenID Connect');
  return expanded;
}

function refused(settings: Record<string, unknown>): string[] {
  const parsed = providerDraft.safeParse({ name: 'x', settings });
  return parsed.success ? [] : parsed.error.issues.map((issue) => issue.path.join('/'));
}

/** What is special to each provider, as its documentation says. None of this was run against the provider itself. */
describe('presets', () => {
  describe('Okta', () => {
    const okta = (issuer: string) => ({ kind: 'okta', issuer, clientId: '0oa1', clientSecret: 's' });

    it('takes the organisation\'s own authorization server or a custom one', () => {
      expect(preset(okta('https://acme.okta.com/'))).toMatchObject({ issuer: 'https://acme.okta.com', scopes: ['openid', 'profile', 'email', 'groups'], userInfo: true, claims: { groups: 'groups' } });
      expect(preset(okta('https://login.acme.com/oauth2/default'))).toMatchObject({ issuer: 'https://login.acme.com/oauth2/default', scopes: ['openid', 'profile', 'email'] });
    });

    it('refuses what is no issuer of Okta', () => {
      for (const issuer of ['https://acme-admin.okta.com', 'https://acme.okta.com/oauth2/default/v1/authorize', 'https://acme.okta.com/app/x', 'http://acme.okta.com', 'acme.okta.com']) expect(refused(okta(issuer)), issuer).toEqual(expect.arrayContaining(['settings/issuer']));
    });

    it('reads groups from UserInfo beside a thin ID token', () => {
      const person = personOf(preset(okta('https://acme.okta.com')), { sub: '00u1', amr: ['mfa', 'otp', 'pwd'] }, { sub: '00u1', preferred_username: 'alice@acme.com', email: 'alice@acme.com', email_verified: true, groups: ['Everyone', 'ops'] });
      expect(person).toEqual({ userName: 'alice@acme.com', userNameProven: true, email: 'alice@acme.com', emailVerified: true, displayName: undefined, groups: ['Everyone', 'ops'], secondFactor: true });
    });
  });

  describe('Entra ID', () => {
    const entra = (more: Record<string, unknown> = {}) => ({ kind: 'entra-id', tenantId: TENANT.toUpperCase(), clientId: CLIENT, clientSecret: 's', ...more });

    it('knows one tenant by its issuer, and asks each token for it', () => {
      const settings = preset(entra());
      expect(settings).toMatchObject({ issuer: `https://login.microsoftonline.com/${TENANT}/v2.0`, clientAuthentication: 'client_secret_post', requiredClaims: { tid: [TENANT] } });
      expect(unmetClaim(settings, { tid: TENANT })).toBeUndefined();
      expect(unmetClaim(settings, { tid: '9188040d-6c67-4c5b-b112-36a304b66dad' })).toBe('tid');
      expect(unmetClaim(settings, {})).toBe('tid');
      expect(preset(entra({ cloud: 'us-government' })).issuer).toBe(`https://login.microsoftonline.us/${TENANT}/v2.0`);
      expect(preset(entra({ cloud: 'china' })).issuer).toBe(`https://login.partner.microsoftonline.cn/${TENANT}/v2.0`);
    });

    it('refuses the issuers that let every tenant in', () => {
      for (const tenantId of ['common', 'organizations', 'consumers', 'acme.onmicrosoft.com']) expect(refused(entra({ tenantId })), tenantId).toContain('settings/tenantId');
    });

    it('finds out that groups were withheld', () => {
      const settings = preset(entra());
      expect(groupsWithheld(settings, { groups: ['g1'] })).toBe(false);
      expect(groupsWithheld(settings, {})).toBe(false);
      expect(groupsWithheld(settings, { _claim_names: { groups: 'src1' }, _claim_sources: { src1: { endpoint: 'https://graph.windows.net/' } } })).toBe(true);
      expect(groupsWithheld(settings, { hasgroups: true })).toBe(true);
      expect(groupsWithheld(preset(entra({ groups: 'roles' })), { hasgroups: true, roles: ['Operator'] })).toBe(false);
      expect(personOf(preset(entra({ groups: 'roles' })), { sub: 's', roles: ['Operator'] }, undefined).groups).toEqual(['Operator']);
    });

    it('never trusts addresses, which a tenant\'s administrator may write as they like', () => {
      expect(mayTrustEmail('entra-id')).toBe(false);
      expect(personOf(preset(entra()), { sub: 's', email: 'ceo@victim.example' }, undefined).emailVerified).toBe(false);
    });

    it('is not taken in by a document of the template issuer', async () => {
      // As `https://login.microsoftonline.com/common/v2.0` answers.
      const server = await startHttpServer((_, response) =>
        json(response, 200, { issuer: 'https://login.microsoftonline.com/{tenantid}/v2.0', authorization_endpoint: `${server.url}/authorize`, token_endpoint: `${server.url}/token`, jwks_uri: `${server.url}/keys` }),
      );
      const egress = new Egress({ allowPrivate: true });
      try {
        expect(await new OidcClients(egress).check({ ...preset(entra()), issuer: `${server.url}/common/v2.0` }, AbortSignal.timeout(10_000))).toMatchObject({ message: 'the discovery document is of another issuer than the settings name', retryable: false });
      } finally {
        await egress.close();
        await server.close();
      }
    });
  });

  describe('Google', () => {
    const google = (hostedDomains: string[]) => ({ kind: 'google', hostedDomains, clientId: '123-abc.apps.googleusercontent.com', clientSecret: 's' });

    it('lets people of the Workspace in and nobody else with a Google account', () => {
      const settings = preset(google(['acme.com', 'acme.org']));
      expect(settings).toMatchObject({ issuer: 'https://accounts.google.com', claims: { userName: 'email' }, authorizationParameters: { hd: '*' } });
      expect(preset(google(['acme.com'])).authorizationParameters).toEqual({ hd: 'acme.com' });
      expect(unmetClaim(settings, { hd: 'acme.org' })).toBeUndefined();
      expect(unmetClaim(settings, { hd: 'evil.example', email: 'alice@acme.com' })).toBe('hd');
      // A private account with an address of the domain has no `hd`.
      expect(unmetClaim(settings, { email: 'alice@acme.com', email_verified: true })).toBe('hd');
    });

    it('refuses what is no domain or no client of Google', () => {
      expect(refused(google([]))).toContain('settings/hostedDomains');
      expect(refused(google(['Acme.com']))).toContain('settings/hostedDomains/0');
      expect(refused({ ...google(['acme.com']), clientId: 'abc' })).toContain('settings/clientId');
    });
  });

  it('Active Directory fills in filters, attributes and the walk through nested groups', () => {
    const { preset: name, settings } = expand(providerDraft.parse({ name: 'x', settings: { kind: 'active-directory', host: 'corp.example.com', bindDn: 'hal9@corp.example.com', bindPassword: 'p', base: 'dc=corp,dc=example,dc=com' } }).settings);
    expect(name).toBe('active-directory');
    expect(settings).toMatchObject({ kind: 'ldap', tls: 'implicit', userBase: 'dc=corp,dc=example,dc=com', attributes: { id: 'objectGUID' }, groups: { by: 'chain', base: 'dc=corp,dc=example,dc=com', name: 'cn' } });
    expect(refused({ kind: 'active-directory', host: 'x', tls: 'none', bindDn: 'x', bindPassword: 'p', base: 'dc=x' })).toContain('settings/tls');
  });
});

describe('claims', () => {
  const settings = { claims: { userName: 'preferred_username', email: 'email', displayName: 'name', groups: '/realm_access/roles' } };

  it('may lie inside others', () => {
    expect(personOf(settings, { sub: 's', realm_access: { roles: ['a', 1, 'b', 'a'] } }, undefined)).toMatchObject({ groups: ['a', 'b'], userName: 's' });
    expect(personOf(settings, { sub: 's', realm_access: 'x' }, undefined).groups).toEqual([]);
    expect(personOf({ claims: { ...settings.claims, groups: '/constructor/name' } }, { sub: 's' }, undefined).groups).toEqual([]);
  });

  it('say of an address that it is verified where the address is, not elsewhere', () => {
    expect(personOf(settings, { sub: 's', email: 'a@x.example' }, { sub: 's', email: 'b@x.example', email_verified: true })).toMatchObject({ email: 'a@x.example', emailVerified: false });
    expect(personOf(settings, { sub: 's', email_verified: true }, { sub: 's', email: 'b@x.example' })).toMatchObject({ email: 'b@x.example', emailVerified: false });
    expect(personOf(settings, { sub: 's', email: 'a@x.example', email_verified: 'true' }, undefined).emailVerified).toBe(true);
  });

  it('are no name to be known by, where anybody could have written them', () => {
    const proven = (claims: Record<string, unknown>, userName = settings.claims.userName): boolean => personOf({ claims: { ...settings.claims, userName } }, { sub: 's', ...claims }, undefined).userNameProven;
    const [address, verified] = [{ email: 'eve@corp.example' }, { email: 'eve@corp.example', email_verified: true }];
    expect([proven(address), proven({ ...address, email_verified: false }), proven(address, 'email'), proven({ ...address, preferred_username: 'EVE@corp.example', email_verified: false })]).toEqual([false, false, false, false]);
    // What a directory calls them is its own word; Entra ID says nothing of whether an address is verified.
    expect([proven(verified), proven(verified, 'email'), proven({}), proven({ preferred_username: 'eve' }), proven({ ...address, preferred_username: 'eve@corp.example' })]).toEqual([true, true, true, true, true]);
    expect(personOf(settings, { sub: 's', email: 'a@x.example', email_verified: 1 }, undefined).emailVerified).toBe(false);
  });

  it('of a second factor count in the signed token only', () => {
    expect(personOf(settings, { sub: 's' }, { sub: 's', amr: ['mfa'] }).secondFactor).toBe(false);
    expect(personOf(settings, { sub: 's', amr: ['otp', 'pwd'] }, undefined).secondFactor).toBe(false);
  });
});
