import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { randomUUID } from 'node:crypto';
import { exportJWK, generateKeyPair, SignJWT, UnsecuredJWT, type CryptoKey, type JWK } from 'jose';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { Egress } from '../../platform/connections/egress.ts';
import { browserValue } from '../../platform/identity/browser-cookie.ts';
import type { Caller } from '../../platform/identity/caller.ts';
import { Authority } from '../../platform/identity/authority.ts';
import { Grants } from '../../platform/identity/grants.ts';
import { ProviderAnswers } from '../../platform/identity/provider-answers.ts';
import { Challenges } from '../../platform/identity/challenges.ts';
import { CredentialCache } from '../../platform/identity/credential-cache.ts';
import { IdentityProviders } from '../../platform/identity/identity-providers.ts';
import type { IncomingFacts } from '../../platform/identity/incoming-facts.ts';
import { LdapDirectory } from '../../platform/identity/ldap-directory.ts';
import { OidcClients } from '../../platform/identity/oidc-client.ts';
import { OidcSignIn } from '../../platform/identity/oidc.ts';
import { RoleMappings } from '../../platform/identity/role-mapping.ts';
import { Sessions } from '../../platform/identity/sessions.ts';
import { SignInPlaces, type SignInPlace } from '../../platform/identity/sign-in-place.ts';
import { KeyRing } from '../../platform/keys/key-ring.ts';
import { providerDraft } from '../../schemas/rest/identity-providers.ts';
import { createTestDatabase, type TestDatabase } from '../environment/database.ts';
import { Browserless, startOpenIdProvider, type OpenIdProvider } from '../environment/openid-provider.ts';

const PUBLIC_URL = 'http://127.0.0.1:18090';
const FACTS: IncomingFacts = { address: '192.0.2.7', userAgent: 'test', requestId: 'request-1', https: false };
const ACCOUNTS = {
  alice: { name: 'Alice Example', preferred_username: 'alice@example.com', email: 'alice@example.com', email_verified: true, groups: ['ops', 'everybody'] },
  bob: { name: 'Bob Example', preferred_username: 'bob', email: 'bob@example.com', email_verified: false },
};

describe('sign-in with OpenID Connect', () => {
  let test: TestDatabase;
  let oidc: OidcSignIn;
  let providers: IdentityProviders;
  let sessions: Sessions;
  let places: SignInPlaces;
  let orgId = '';
  const keys = new KeyRing([{ id: 'test', key: Buffer.alloc(32, 5) }]);
  const egress = new Egress({ allowPrivate: true });
  const stops: (() => Promise<void>)[] = [];

  beforeAll(async () => {
    test = await createTestDatabase();
    orgId = await test.organisation();
    const clients = new OidcClients(egress);
    sessions = new Sessions({ database: test.database, keys, cache: new CredentialCache(test.database), region: 'local' });
    const directory = new LdapDirectory(egress);
    providers = new IdentityProviders({
      database: test.database,
      keys,
      checks: { oidc: (settings, signal) => clients.check(settings, signal), ldap: (settings, signal) => directory.check(settings, signal) },
      roleMappings: new RoleMappings(test.database, { ownersAllowed: false }),
      authority: new Authority(new Grants(test.database)),
      sessions,
      publicUrl: PUBLIC_URL,
    });
    places = new SignInPlaces(test.database, PUBLIC_URL);
    const answers = new ProviderAnswers(test.database, sessions);
    oidc = new OidcSignIn({ providers, clients, challenges: new Challenges(test.database, keys), answers });
  });
  afterEach(async () => {
    for (const stop of stops.splice(0)) await stop();
  });
  afterAll(async () => {
    await egress.close();
    await test.drop();
  });

  const admin = (): Caller => ({ orgId, actor: { kind: 'api-key', id: randomUUID() }, scopes: ['*'], requestId: 'test', traceparent: undefined });
  const add = async (settings: Record<string, unknown>, more: Record<string, unknown> = {}): Promise<SignInPlace> => {
    const draft = providerDraft.parse({ name: randomUUID(), settings: { kind: 'oidc', clientId: 'hal9', clientSecret: 'client-secret', ...settings }, ...more });
    const { id } = await providers.create(admin(), draft, { test: false, signal: AbortSignal.timeout(10_000) });
    return places.find(orgId, id);
  };
  const callbackOf = (place: SignInPlace): string => `${place.base}/oidc/${place.providerId}/callback`;
  /** A real provider that knows HAL9, and HAL9 that knows it. */
  const real = async (settings: Record<string, unknown> = {}, options: { thin?: boolean; accounts?: Record<string, Record<string, unknown>> } = {}): Promise<{ idp: OpenIdProvider; place: SignInPlace }> => {
    // The client's redirect address holds the id of HAL9's provider, whose settings hold the issuer: the client reads it late.
    const client = { client_id: 'hal9', client_secret: 'client-secret', redirect_uris: ['http://127.0.0.1/later'], post_logout_redirect_uris: ['http://127.0.0.1/later'] };
    const idp = await startOpenIdProvider({ clients: [], accounts: options.accounts ?? ACCOUNTS, ...(options.thin === true ? { thin: true } : {}), configuration: { adapter: undefined, clients: [client] } });
    stops.push(() => idp.stop());
    const place = await add({ issuer: idp.issuer, scopes: ['openid', 'profile', 'email', 'groups'], ...settings });
    const known = await idp.provider.Client.find('hal9');
    Object.assign(known ?? {}, { redirectUris: [callbackOf(place)], postLogoutRedirectUris: [place.base] });
    return { idp, place };
  };
  const leave = async (place: SignInPlace, returnTo?: string): Promise<{ browser: string; authorization: URL }> => {
    const browser = browserValue(undefined);
    return { browser, authorization: await oidc.start(place, { browser, returnTo }) };
  };
  const back = (place: SignInPlace, callback: URL, browser: string | undefined) => oidc.finish(place, callback.searchParams, browser, FACTS);
  const refusals = async (): Promise<{ details: unknown; personal: unknown }[]> => {
    const { rows } = await test.database.systemPool.query<{ details: unknown; personal: unknown }>("select details, personal from audit_acts where org_id = $1 and action = 'session.refuse' order by id", [orgId]);
    return rows;
  };
  const lastRefusal = async (): Promise<unknown> => (await refusals()).at(-1)?.details;

  describe('with a real provider', () => {
    it('brings somebody in with what the provider says of them', async () => {
      const { idp, place } = await real({ trustsEmail: true });
      const { browser, authorization } = await leave(place, '/console/runs.html');
      expect(authorization.origin).toBe(idp.issuer);
      expect(Object.fromEntries(authorization.searchParams)).toMatchObject({ response_type: 'code', client_id: 'hal9', redirect_uri: callbackOf(place), code_challenge_method: 'S256', scope: 'openid profile email groups' });
      expect(authorization.searchParams.get('nonce')).toMatch(/^[\w-]{43}$/);
      const callback = await new Browserless().signIn(authorization.href, 'alice');
      expect(callback.searchParams.get('iss')).toBe(idp.issuer);
      const { identity, returnTo } = await back(place, callback, browser);
      expect(identity).toMatchObject({ orgId, providerId: place.providerId, subject: 'alice', userName: 'alice@example.com', email: 'alice@example.com', emailVerified: true, displayName: 'Alice Example', groups: ['ops', 'everybody'], secondFactor: false });
      await providers.change(admin(), place.providerId, { settings: { trustsEmail: false } }, { test: false, signal: AbortSignal.timeout(10_000) });
      const again = await leave(place);
      expect((await back(place, await new Browserless().signIn(again.authorization.href, 'alice'), again.browser)).identity.emailVerified).toBe(false);
      expect(returnTo).toBe('/console/runs.html');
    });

    it('asks UserInfo where the ID token is thin', async () => {
      const { place } = await real({ userInfo: true }, { thin: true });
      const { browser, authorization } = await leave(place);
      const { identity } = await back(place, await new Browserless().signIn(authorization.href, 'bob'), browser);
      expect(identity).toMatchObject({ subject: 'bob', userName: 'bob', email: 'bob@example.com', emailVerified: false, groups: [] });
    });

    it('asks for a fresh proof when it must be fresh', async () => {
      const { place } = await real({ prompt: 'login', maxAgeSeconds: 60 });
      const { browser, authorization } = await leave(place);
      expect(Object.fromEntries(authorization.searchParams)).toMatchObject({ prompt: 'login', max_age: '60' });
      expect((await back(place, await new Browserless().signIn(authorization.href, 'alice'), browser)).identity.subject).toBe('alice');
    });

    it('says what a person sees when they refuse, and nothing of what the provider wrote', async () => {
      const { place } = await real();
      const { browser, authorization } = await leave(place);
      const callback = new URL(callbackOf(place));
      const iss = authorization.origin;
      callback.search = new URLSearchParams({ error: 'access_denied', error_description: '<script>', state: authorization.searchParams.get('state') ?? '', iss }).toString();
      await expect(back(place, callback, browser)).rejects.toMatchObject({ type: 'Unauthenticated', message: expect.not.stringContaining('script') });
      expect(await lastRefusal()).toEqual({ method: 'oidc', reason: 'provider-error', detail: 'access_denied' });
    });

    it('signs out at the provider too, and ends what the provider ends', async () => {
      const { idp, place } = await real();
      const { browser, authorization } = await leave(place);
      const { identity } = await back(place, await new Browserless().signIn(authorization.href, 'alice'), browser);
      const address = await oidc.logoutAddress(place, identity.logout);
      expect(`${address?.origin}${address?.pathname}`).toBe(`${idp.issuer}/session/end`);
      expect(Object.fromEntries(address?.searchParams ?? [])).toMatchObject({ id_token_hint: identity.logout?.['idToken'], post_logout_redirect_uri: place.base });
      expect(await (await fetch(address ?? '', { redirect: 'manual' })).text()).toContain('form');
      expect(await oidc.logoutAddress(place, undefined)).toBeUndefined();
      await idp.stop();
      expect(await oidc.logoutAddress({ ...place, providerId: randomUUID() }, identity.logout)).toBeUndefined();
    });

    it.each([['the code', 'code'], ['the verifier', 'verifier']])('is no use to somebody who changed %s', async (_, what) => {
      const { place } = await real();
      const { browser, authorization } = await leave(place);
      // PKCE: the browser leaves with another challenge than the one whose verifier HAL9 keeps.
      if (what === 'verifier') authorization.searchParams.set('code_challenge', 'E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM');
      const callback = await new Browserless().signIn(authorization.href, 'alice');
      if (what === 'code') callback.searchParams.set('code', 'x'.repeat(43));
      await expect(back(place, callback, browser)).rejects.toMatchObject({ type: 'Unauthenticated' });
      expect(await lastRefusal()).toEqual({ method: 'oidc', reason: 'code', detail: 'invalid_grant' });
    });

    it('works once: neither the callback nor the code is taken again', async () => {
      const { place } = await real();
      const { browser, authorization } = await leave(place);
      const callback = await new Browserless().signIn(authorization.href, 'alice');
      await back(place, callback, browser);
      await expect(back(place, callback, browser)).rejects.toMatchObject({ type: 'Unauthenticated' });
      expect(await lastRefusal()).toMatchObject({ reason: 'challenge' });
      // The stolen code with a state of one's own.
      const own = await leave(place);
      callback.searchParams.set('state', own.authorization.searchParams.get('state') ?? '');
      await expect(back(place, callback, own.browser)).rejects.toMatchObject({ type: 'Unauthenticated' });
      expect(await lastRefusal()).toMatchObject({ reason: 'code', detail: 'invalid_grant' });
    });

    it('is bound to the browser that left', async () => {
      const { place } = await real();
      for (const other of [undefined, '', browserValue(undefined)]) {
        const { authorization } = await leave(place);
        await expect(back(place, await new Browserless().signIn(authorization.href, 'alice'), other)).rejects.toMatchObject({ type: 'Unauthenticated' });
        expect(await lastRefusal()).toMatchObject({ reason: 'browser' });
      }
    });

    it('takes no answer with another state, none, or two', async () => {
      const { place } = await real();
      for (const change of [(query: URLSearchParams) => query.set('state', randomUUID()), (query: URLSearchParams) => query.delete('state'), (query: URLSearchParams) => query.append('state', randomUUID())]) {
        const { browser, authorization } = await leave(place);
        const callback = await new Browserless().signIn(authorization.href, 'alice');
        change(callback.searchParams);
        await expect(back(place, callback, browser)).rejects.toMatchObject({ type: 'Unauthenticated' });
        expect(await lastRefusal()).toMatchObject({ reason: 'challenge' });
      }
    });

    it('takes no answer of one provider for another (mix-up)', async () => {
      const [honest, attacker] = [await real(), await real()];
      const { browser, authorization } = await leave(honest.place);
      const callback = await new Browserless().signIn(authorization.href, 'alice');
      // To the other provider's address.
      await expect(back(attacker.place, callback, browser)).rejects.toMatchObject({ type: 'Unauthenticated' });
      expect(await lastRefusal()).toMatchObject({ reason: 'challenge', detail: 'of another provider' });
      // With the other's issuer, or none (RFC 9207).
      for (const change of [(query: URLSearchParams) => query.set('iss', attacker.idp.issuer), (query: URLSearchParams) => query.delete('iss')]) {
        const again = await leave(honest.place);
        const answer = await new Browserless().signIn(again.authorization.href, 'alice');
        change(answer.searchParams);
        await expect(back(honest.place, answer, again.browser)).rejects.toMatchObject({ type: 'Unauthenticated' });
        expect(await lastRefusal()).toMatchObject({ reason: 'token', detail: 'OAUTH_INVALID_RESPONSE' });
      }
    });

    it('asks for the claims that must hold', async () => {
      const accounts = { alice: { ...ACCOUNTS.alice, hd: 'example.com', tid: 'tenant-1' }, mallory: { ...ACCOUNTS.alice, hd: 'evil.example' } };
      const { place } = await real({ requiredClaims: { hd: ['example.com', 'example.org'] } }, { accounts });
      const first = await leave(place);
      expect((await back(place, await new Browserless().signIn(first.authorization.href, 'alice'), first.browser)).identity.subject).toBe('alice');
      const second = await leave(place);
      await expect(back(place, await new Browserless().signIn(second.authorization.href, 'mallory'), second.browser)).rejects.toMatchObject({ type: 'Unauthenticated' });
      expect(await lastRefusal()).toEqual({ method: 'oidc', reason: 'claim', detail: 'hd' });
    });

    it('says so when the provider withheld the groups that decide', async () => {
      const accounts = { alice: { email: 'alice@example.com', _claim_names: { groups: 'src1' }, _claim_sources: { src1: { endpoint: 'https://graph.windows.net/' } } } };
      const { idp, place } = await real({}, { accounts });
      const first = await leave(place);
      expect((await back(place, await new Browserless().signIn(first.authorization.href, 'alice'), first.browser)).identity.groups).toEqual([]);
      await providers.change(admin(), place.providerId, { roleMapping: { default: ['viewer'], groups: { ops: ['operator'] } } }, { test: false, signal: AbortSignal.timeout(10_000) });
      const second = await leave(place);
      await expect(back(place, await new Browserless().signIn(second.authorization.href, 'alice'), second.browser)).rejects.toMatchObject({ type: 'Forbidden', message: expect.stringContaining('too many') });
      expect(await lastRefusal()).toMatchObject({ reason: 'groups-withheld' });
      expect(idp.issuer).toBeDefined();
    });

    it('keeps personal data out of what is recorded of refusals', async () => {
      const recorded = await refusals();
      expect(recorded.length).toBeGreaterThan(10);
      expect(JSON.stringify(recorded.map(({ details }) => details))).not.toMatch(/alice|192\.0\.2/);
      expect(recorded.at(-1)?.personal).toEqual({ address: '192.0.2.7', userAgent: 'test' });
    });
  });

  describe('with a provider that lies or fails', () => {
    const forged = async (settings: Record<string, unknown> = {}): Promise<{ issuer: FakeIssuer; place: SignInPlace }> => {
      const issuer = await FakeIssuer.start();
      stops.push(() => issuer.stop());
      return { issuer, place: await add({ issuer: issuer.url, ...settings }) };
    };
    /** Comes back with a code for an ID token that the issuer makes of `claims`. */
    const comeBack = async (issuer: FakeIssuer, place: SignInPlace, change: (claims: Record<string, unknown>, nonce: string) => void | Promise<void> = () => undefined) => {
      const { browser, authorization } = await leave(place);
      const now = Math.floor(Date.now() / 1000);
      const claims: Record<string, unknown> = { iss: issuer.url, aud: 'hal9', sub: 'alice', iat: now, exp: now + 300, nonce: authorization.searchParams.get('nonce') };
      await change(claims, authorization.searchParams.get('nonce') ?? '');
      issuer.claims = claims;
      const callback = new URL(callbackOf(place));
      callback.search = new URLSearchParams({ code: 'code', state: authorization.searchParams.get('state') ?? '', iss: issuer.url }).toString();
      return back(place, callback, browser);
    };

    it('believes a token that is right', async () => {
      const { issuer, place } = await forged();
      expect((await comeBack(issuer, place)).identity.subject).toBe('alice');
      expect((await comeBack(issuer, place, (claims) => void (claims['amr'] = ['pwd', 'mfa']))).identity.secondFactor).toBe(true);
    });

    it.each<[string, (claims: Record<string, unknown>) => void]>([
      ['another nonce', (claims) => (claims['nonce'] = 'another')],
      ['no nonce', (claims) => delete claims['nonce']],
      ['another audience', (claims) => (claims['aud'] = 'somebody-else')],
      ['several audiences, none of them authorized', (claims) => (claims['aud'] = ['hal9', 'somebody-else'])],
      ['another authorized party', (claims) => (claims['azp'] = 'somebody-else')],
      ['another issuer', (claims) => (claims['iss'] = 'https://evil.example')],
      ['no subject', (claims) => delete claims['sub']],
      ['an expiry in the past', (claims) => (claims['exp'] = Math.floor(Date.now() / 1000) - 31)],
      ['no expiry', (claims) => delete claims['exp']],
      ['a beginning in the future', (claims) => (claims['nbf'] = Math.floor(Date.now() / 1000) + 600)],
    ])('refuses a token with %s', async (_, change) => {
      const { issuer, place } = await forged();
      await expect(comeBack(issuer, place, change)).rejects.toMatchObject({ type: 'Unauthenticated' });
      expect(await lastRefusal()).toMatchObject({ reason: 'token', detail: expect.stringMatching(/^(OAUTH_|azp$)/) });
    });

    it('forgives a clock as far as the settings say', async () => {
      const { issuer, place } = await forged({ clockSkewSeconds: 120 });
      expect((await comeBack(issuer, place, (claims) => void (claims['exp'] = Math.floor(Date.now() / 1000) - 100))).identity.subject).toBe('alice');
    });

    it.each<[string, SignsAs]>([['alg none', 'none'], ['a key of somebody else under the same id', 'wrong-key'], ['a key the provider does not publish', 'unknown-key'], ['the client secret (HS256)', 'client-secret'], ['the public key as a secret (HS256)', 'public-key']])('refuses a token signed with %s', async (_, signs) => {
      const { issuer, place } = await forged();
      issuer.signs = signs;
      await expect(comeBack(issuer, place)).rejects.toMatchObject({ type: 'Unauthenticated' });
      expect(await lastRefusal()).toMatchObject({ reason: 'token' });
    });

    it('is asked for its document and keys once, not at every sign-in', async () => {
      const { issuer, place } = await forged();
      for (let round = 0; round < 3; round += 1) await comeBack(issuer, place);
      expect([issuer.asked('/.well-known/openid-configuration'), issuer.asked('/jwks'), issuer.asked('/token')]).toEqual([1, 1, 3]);
    });

    it('takes UserInfo of the same person only', async () => {
      const { issuer, place } = await forged({ userInfo: true, trustsEmail: true });
      issuer.userInfo = { sub: 'alice', email: 'alice@example.com', email_verified: true, amr: ['mfa'], hd: 'example.com' };
      expect((await comeBack(issuer, place)).identity).toMatchObject({ email: 'alice@example.com', emailVerified: true, secondFactor: false });
      issuer.userInfo = { sub: 'mallory', email: 'alice@example.com', email_verified: true };
      await expect(comeBack(issuer, place)).rejects.toMatchObject({ type: 'Unauthenticated' });
      expect(await lastRefusal()).toMatchObject({ reason: 'user-info' });
    });

    it('says plainly that a provider is down, and goes on when it is back', async () => {
      const { issuer, place } = await forged();
      issuer.failing = 503;
      await expect(leave(place)).rejects.toMatchObject({ type: 'ExternalCallFailed', message: 'the identity provider could not be asked: the service is unavailable (HTTP 503)', retryAfterSeconds: 5 });
      issuer.failing = undefined;
      const { browser, authorization } = await leave(place);
      await issuer.stop();
      const callback = new URL(callbackOf(place));
      callback.search = new URLSearchParams({ code: 'code', state: authorization.searchParams.get('state') ?? '', iss: issuer.url }).toString();
      await expect(back(place, callback, browser)).rejects.toMatchObject({ type: 'ExternalCallFailed', retryAfterSeconds: 5 });
    });

    it('is tested in plain words', async () => {
      const issuer = await FakeIssuer.start();
      stops.push(() => issuer.stop());
      const check = async (settings: Record<string, unknown> = {}): Promise<string | undefined> => {
        const { settings: parsed } = providerDraft.parse({ name: 'x', settings: { kind: 'oidc', issuer: issuer.url, clientId: 'hal9', ...settings } });
        if (parsed.kind !== 'oidc') throw new Error('OpenID Connect');
        return (await oidc.check(parsed, AbortSignal.timeout(10_000)))?.message;
      };
      expect(await check()).toBeUndefined();
      expect(await check({ issuer: `${issuer.url}/other` })).toBe('there is no discovery document at this issuer (HTTP 404)');
      issuer.metadata = { issuer: 'https://somebody.example' };
      expect(await check()).toBe('the discovery document is of another issuer than the settings name');
      issuer.metadata = { code_challenge_methods_supported: ['plain'] };
      expect(await check()).toBe('the provider does not support PKCE with S256');
      issuer.metadata = { response_types_supported: ['id_token'] };
      expect(await check()).toBe('the provider does not support the authorization code flow');
      issuer.metadata = { token_endpoint: undefined };
      expect(await check()).toBe('the discovery document names no token endpoint');
      issuer.metadata = { authorization_endpoint: 'javascript:alert(1)' };
      expect(await check()).toBe('the authorization endpoint is not https');
      issuer.metadata = {};
      issuer.publishes = [];
      expect(await check()).toBe('the provider publishes no signing keys');
      const strict = new Egress({ allowPrivate: false });
      const { settings } = providerDraft.parse({ name: 'x', settings: { kind: 'oidc', issuer: issuer.url, clientId: 'hal9' } });
      if (settings.kind === 'oidc') expect((await new OidcClients(strict).check(settings, AbortSignal.timeout(10_000)))?.message).toContain('private');
      await strict.close();
      await issuer.stop();
      expect(await check()).toMatch(/^the connection was (refused|cut)$/);
    });

    describe('that ends sessions', () => {
      const EVENTS = { 'http://schemas.openid.net/event/backchannel-logout': {} };
      const person = async (place: SignInPlace, subject: string): Promise<string> => {
        const userId = randomUUID();
        await test.database.withOrg(orgId, async (tx) => {
          await tx.insertInto('users').values({ org_id: orgId, id: userId, user_name: `${subject}-${userId}`, email: null, display_name: null, external_id: null, password_hash: null }).execute();
          await tx.insertInto('user_identities').values({ org_id: orgId, provider_id: place.providerId, subject, user_id: userId }).execute();
        });
        return userId;
      };
      const open = (place: SignInPlace, userId: string, session?: string) =>
        sessions.open(
          { orgId, userId, method: 'oidc', providerId: place.providerId, secondFactor: false, risk: 0, ...(session === undefined ? {} : { logout: { session } }) },
          FACTS,
          { orgId, action: 'session.create', result: 'succeeded', actor: { kind: 'user', id: userId }, requestId: 'x', risk: 0, details: {}, personal: {} },
        );
      const token = async (issuer: FakeIssuer, claims: Record<string, unknown>): Promise<string> => {
        const now = Math.floor(Date.now() / 1000);
        return issuer.sign({ iss: issuer.url, aud: 'hal9', iat: now, exp: now + 60, jti: randomUUID(), events: EVENTS, ...claims });
      };

      it('ends the one that is named, once', async () => {
        const { issuer, place } = await forged();
        const userId = await person(place, 'alice');
        const [ended, other] = [await open(place, userId, 'sid-1'), await open(place, userId, 'sid-2')];
        const logout = await token(issuer, { sub: 'alice', sid: 'sid-1' });
        expect(await oidc.endByToken(place, logout, 'request-2')).toBe(1);
        expect(await sessions.isLive(orgId, ended.sessionId)).toBe(false);
        expect(await sessions.isLive(orgId, other.sessionId)).toBe(true);
        await expect(oidc.endByToken(place, logout, 'request-3')).rejects.toMatchObject({ type: 'InvalidInput', message: expect.stringContaining('used') });
      });

      it('ends all of a person when none is named', async () => {
        const { issuer, place } = await forged();
        const [alice, bob] = [await person(place, 'alice'), await person(place, 'bob')];
        const [first, second, other] = [await open(place, alice, 'sid-1'), await open(place, alice), await open(place, bob)];
        expect(await oidc.endByToken(place, await token(issuer, { sub: 'alice' }), 'request-2')).toBe(2);
        expect(await Promise.all([first, second, other].map((session) => sessions.isLive(orgId, session.sessionId)))).toEqual([false, false, true]);
        expect(await oidc.endByToken(place, await token(issuer, { sub: 'nobody' }), 'request-2')).toBe(0);
      });

      it.each<[string, Record<string, unknown>]>([
        ['a nonce: it is an ID token', { nonce: 'x' }],
        ['no event', { events: {} }],
        ['an ID token\'s claims only', { events: undefined }],
        ['neither person nor session', { sub: undefined }],
        ['another audience', { aud: 'somebody-else' }],
        ['another issuer', { iss: 'https://evil.example' }],
        ['an expiry in the past', { exp: 1 }],
        ['an issue long ago', { iat: Math.floor(Date.now() / 1000) - 3600 }],
        ['no id', { jti: undefined }],
      ])('is not obeyed with %s', async (_, change) => {
        const { issuer, place } = await forged();
        const { sessionId } = await open(place, await person(place, 'alice'));
        await expect(oidc.endByToken(place, await token(issuer, { sub: 'alice', ...change }), 'request-2')).rejects.toMatchObject({ type: 'InvalidInput' });
        expect(await sessions.isLive(orgId, sessionId)).toBe(true);
      });

      it.each<SignsAs>(['none', 'wrong-key', 'unknown-key', 'client-secret', 'public-key'])('is not obeyed with a token signed with %s', async (signs) => {
        const { issuer, place } = await forged();
        issuer.signs = signs;
        await expect(oidc.endByToken(place, await token(issuer, { sub: 'alice' }), 'request-2')).rejects.toMatchObject({ type: 'InvalidInput' });
      });
    });
  });
});

type SignsAs = 'right-key' | 'wrong-key' | 'unknown-key' | 'client-secret' | 'public-key' | 'none';

/** An issuer that says whatever a test wants, over real HTTP with real signatures. */
class FakeIssuer {
  claims: Record<string, unknown> = {};
  userInfo: Record<string, unknown> = {};
  metadata: Record<string, unknown> = {};
  signs: SignsAs = 'right-key';
  /** Status of every answer while it is set. */
  failing: number | undefined;
  publishes: JWK[];
  readonly url: string;
  readonly #server: Server;
  readonly #right: CryptoKey;
  readonly #wrong: CryptoKey;
  readonly #paths: string[] = [];

  private constructor(server: Server, right: CryptoKey, wrong: CryptoKey, published: JWK) {
    this.#server = server;
    this.#right = right;
    this.#wrong = wrong;
    this.publishes = [published];
    this.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    server.on('request', (request, response) => {
      this.#paths.push(request.url ?? '');
      void this.#answer(request.url ?? '').then(({ status, body }) => {
        response.writeHead(status, { 'content-type': 'application/json' });
        response.end(JSON.stringify(body));
      });
    });
  }

  static async start(): Promise<FakeIssuer> {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const [right, wrong] = [await generateKeyPair('RS256', { extractable: true }), await generateKeyPair('RS256', { extractable: true })];
    return new FakeIssuer(server, right.privateKey, wrong.privateKey, { ...(await exportJWK(right.publicKey)), kid: 'key-1', alg: 'RS256', use: 'sig' });
  }

  asked(path: string): number {
    return this.#paths.filter((asked) => asked === path).length;
  }

  async sign(claims: Record<string, unknown>): Promise<string> {
    const shared = (secret: string): Promise<string> => new SignJWT(claims).setProtectedHeader({ alg: 'HS256', kid: 'key-1' }).sign(Buffer.from(secret));
    switch (this.signs) {
      case 'right-key':
        return new SignJWT(claims).setProtectedHeader({ alg: 'RS256', kid: 'key-1' }).sign(this.#right);
      case 'wrong-key':
        return new SignJWT(claims).setProtectedHeader({ alg: 'RS256', kid: 'key-1' }).sign(this.#wrong);
      case 'unknown-key':
        return new SignJWT(claims).setProtectedHeader({ alg: 'RS256', kid: 'key-2', jwk: await exportJWK(this.#wrong) }).sign(this.#wrong);
      case 'client-secret':
        return shared('client-secret'.padEnd(32, '-'));
      case 'public-key':
        return shared(JSON.stringify(this.publishes[0]));
      case 'none':
        return new UnsecuredJWT(claims).encode();
    }
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }

  async #answer(path: string): Promise<{ status: number; body: unknown }> {
    if (this.failing !== undefined) return { status: this.failing, body: {} };
    switch (path) {
      case '/.well-known/openid-configuration':
        return {
          status: 200,
          body: {
            issuer: this.url,
            authorization_endpoint: `${this.url}/auth`,
            token_endpoint: `${this.url}/token`,
            userinfo_endpoint: `${this.url}/userinfo`,
            jwks_uri: `${this.url}/jwks`,
            authorization_response_iss_parameter_supported: true,
            id_token_signing_alg_values_supported: ['RS256', 'HS256', 'none'],
            ...this.metadata,
          },
        };
      case '/jwks':
        return { status: 200, body: { keys: this.publishes } };
      case '/token':
        return { status: 200, body: { access_token: 'access', token_type: 'Bearer', expires_in: 60, id_token: await this.sign(this.claims) } };
      case '/userinfo':
        return { status: 200, body: this.userInfo };
      default:
        return { status: 404, body: {} };
    }
  }
}
