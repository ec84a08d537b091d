import { randomUUID, X509Certificate } from 'node:crypto';
import { deflateRawSync, inflateRawSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
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
import { samlAddresses } from '../../platform/identity/provider-kinds.ts';
import { RoleMappings } from '../../platform/identity/role-mapping.ts';
import { readProviderMetadata } from '../../platform/identity/saml-metadata.ts';
import { SamlSignIn } from '../../platform/identity/saml.ts';
import { Sessions } from '../../platform/identity/sessions.ts';
import { SignInPlaces, type SignInPlace } from '../../platform/identity/sign-in-place.ts';
import { KeyRing } from '../../platform/keys/key-ring.ts';
import { providerDraft } from '../../schemas/rest/identity-providers.ts';
import { createTestDatabase, type TestDatabase } from '../environment/database.ts';
import { assertionXml, encryptAssertion, IDP, makeKey, responseXml, signQuery, signXml, type Claims, type TestKey } from './saml-provider.ts';

const PUBLIC_URL = 'http://127.0.0.1:18090';
const FACTS: IncomingFacts = { address: '192.0.2.7', userAgent: 'test', requestId: 'request-1', https: false };
const SIGN_IN = 'https://idp.example.com/sso';
const LOGOUT = 'https://idp.example.com/slo';

describe('sign-in with SAML', () => {
  let test: TestDatabase;
  let saml: SamlSignIn;
  let providers: IdentityProviders;
  let sessions: Sessions;
  let places: SignInPlaces;
  let orgId = '';
  let idp: TestKey;
  let stranger: TestKey;
  const keys = new KeyRing([{ id: 'test', key: Buffer.alloc(32, 5) }]);
  const egress = new Egress({ allowPrivate: true });
  const log: unknown[] = [];

  beforeAll(async () => {
    test = await createTestDatabase();
    orgId = await test.organisation();
    idp = makeKey('idp');
    stranger = makeKey('stranger');
    const clients = new OidcClients(egress);
    const directory = new LdapDirectory(egress);
    sessions = new Sessions({ database: test.database, keys, cache: new CredentialCache(test.database), region: 'local' });
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
    saml = new SamlSignIn({ providers, challenges: new Challenges(test.database, keys), answers, logger: { info: (facts: unknown) => void log.push(facts) } });
  });
  afterAll(async () => {
    await egress.close();
    await test.drop();
  });

  const admin = (): Caller => ({ orgId, actor: { kind: 'api-key', id: randomUUID() }, scopes: ['*'], requestId: 'test', traceparent: undefined });
  const add = async (settings: Record<string, unknown> = {}): Promise<SignInPlace> => {
    // A key of one's own takes a second to make; those of these tests need none, but where it is looked at.
    const own = settings['encrypted'] === true ? {} : { serviceKey: stranger.key, serviceCertificate: stranger.certificate };
    const draft = providerDraft.parse({ name: randomUUID(), settings: { kind: 'saml', entityId: IDP, signInUrl: SIGN_IN, logoutUrl: LOGOUT, certificates: [idp.certificate], ...own, ...settings } });
    const { id } = await providers.create(admin(), draft, { test: true, signal: AbortSignal.timeout(10_000) });
    return places.find(orgId, id);
  };
  /** What HAL9 sent with the browser: the request's id and the relay state. */
  const leave = async (place: SignInPlace, returnTo?: string): Promise<{ browser: string; requestId: string; relayState: string; address: URL; xml: string }> => {
    const browser = browserValue(undefined);
    const sent = await saml.start(place, { browser, returnTo });
    if (sent.binding !== 'redirect') throw new Error('expected a redirect');
    const address = new URL(sent.location);
    const xml = inflateRawSync(Buffer.from(address.searchParams.get('SAMLRequest') ?? '', 'base64')).toString();
    return { browser, requestId: / ID="([^"]+)"/.exec(xml)?.[1] ?? '', relayState: address.searchParams.get('RelayState') ?? '', address, xml };
  };
  const claimsFor = (place: SignInPlace, requestId: string | null, more: Claims = {}): Claims => {
    const addresses = samlAddresses(place.base, place.providerId);
    return { audience: addresses.metadata, recipient: addresses.assertionConsumer, destination: addresses.assertionConsumer, inResponseTo: requestId, ...more };
  };
  const answer = (claims: Claims, key = idp): string => Buffer.from(responseXml(signXml(assertionXml(claims), key), claims)).toString('base64');
  const back = (place: SignInPlace, response: string, relayState: string | undefined, browser: string | undefined) => saml.finish(place, { response, relayState, browser }, FACTS);
  const lastRefusal = async (): Promise<unknown> => {
    const rows = await test.database.withOrg(orgId, (tx) => tx.selectFrom('audit_acts').select('details').where('result', '=', 'refused').orderBy('at', 'desc').limit(1).execute());
    return (rows[0]?.details as { reason: unknown } | undefined)?.reason;
  };
  const expectRefused = async (attempt: Promise<unknown>, reason: string): Promise<void> => {
    await expect(attempt).rejects.toMatchObject({ type: 'Unauthenticated', message: 'the answer of the identity provider was not accepted; start the sign-in again' });
    expect(await lastRefusal()).toBe(reason);
  };

  it('asks with a signed request and believes the answer', async () => {
    const place = await add();
    const { browser, requestId, relayState, address, xml } = await leave(place, '/console/runs.html');
    expect(address.origin + address.pathname).toBe(SIGN_IN);
    expect(address.searchParams.get('SigAlg')).toBe('http://www.w3.org/2001/04/xmldsig-more#rsa-sha256');
    expect(xml).toContain(`AssertionConsumerServiceURL="${samlAddresses(place.base, place.providerId).assertionConsumer}"`);
    expect(xml).toContain('nameid-format:persistent');
    const { identity, returnTo } = await back(place, answer(claimsFor(place, requestId, { attributes: { email: ['ada@example.com'], displayName: ['Ada'], groups: ['ops', 'staff'] } })), relayState, browser);
    expect(identity).toMatchObject({ orgId, providerId: place.providerId, subject: 'ada', userName: 'ada', email: 'ada@example.com', emailVerified: false, displayName: 'Ada', groups: ['ops', 'staff'], secondFactor: false, logout: { nameId: 'ada', session: '_session-1' } });
    expect(returnTo).toBe('/console/runs.html');
  });

  it('posts the request where the provider wants that', async () => {
    const place = await add({ binding: 'post' });
    const sent = await saml.start(place, { browser: browserValue(undefined), returnTo: undefined });
    expect(sent).toMatchObject({ binding: 'post', action: SIGN_IN });
    if (sent.binding !== 'post') throw new Error('expected a form');
    const xml = Buffer.from(sent.fields['SAMLRequest'] ?? '', 'base64').toString();
    expect(xml).toContain('<samlp:AuthnRequest');
    expect(xml).toContain('<SignatureValue>');
    expect(sent.fields['RelayState']).toMatch(/^[0-9a-f-]{36}$/);
  });

  it('takes an answer once, from the browser that left, for the request it answers', async () => {
    const place = await add();
    const first = await leave(place);
    const response = answer(claimsFor(place, first.requestId, { assertionId: '_once' }));
    await expectRefused(back(place, response, first.relayState, browserValue(undefined)), 'browser');
    // The wrong browser used the challenge up.
    await expectRefused(back(place, response, first.relayState, first.browser), 'relay-state');
    const second = await leave(place);
    await expectRefused(back(place, response, second.relayState, second.browser), 'in-response-to');
    const third = await leave(place);
    await back(place, answer(claimsFor(place, third.requestId, { assertionId: '_used' })), third.relayState, third.browser);
    const fourth = await leave(place);
    await expectRefused(back(place, answer(claimsFor(place, fourth.requestId, { assertionId: '_used' })), fourth.relayState, fourth.browser), 'replay');
    const fifth = await leave(place);
    await expectRefused(back(place, answer(claimsFor(place, fifth.requestId)), undefined, fifth.browser), 'relay-state');
    const other = await add();
    await expectRefused(back(other, answer(claimsFor(other, fifth.requestId)), fifth.relayState, fifth.browser), 'relay-state');
    expect(await lastRefusal()).toBe('relay-state');
  });

  it.each<[string, Claims, string]>([
    ['another audience', { audience: 'https://elsewhere.example.com' }, 'audience'],
    ['another recipient', { recipient: 'https://elsewhere.example.com' }, 'recipient'],
    ['another destination', { destination: 'https://elsewhere.example.com' }, 'destination'],
    ['another issuer', { issuer: 'https://elsewhere.example.com' }, 'issuer'],
    ['another time', { notOnOrAfter: -600 }, 'time'],
    ['a transient name', { nameIdFormat: 'urn:oasis:names:tc:SAML:2.0:nameid-format:transient' }, 'subject'],
  ])('refuses an answer for %s with one text, and notes the cause', async (_, claims, reason) => {
    const place = await add();
    const { browser, requestId, relayState } = await leave(place);
    await expectRefused(back(place, answer(claimsFor(place, requestId, claims)), relayState, browser), reason);
    expect(log.at(-1)).toMatchObject({ reason, requestId: 'request-1' });
  });

  it('refuses a stranger, and whatever is no message', async () => {
    const place = await add();
    for (const [response, reason] of [['', 'not-xml'], ['%%%', 'not-xml'], ['PA==', 'not-xml'], ['A'.repeat(900_000), 'too-large']] as const) {
      const { browser, relayState } = await leave(place);
      await expectRefused(back(place, response, relayState, browser), reason);
    }
    const { browser, requestId, relayState } = await leave(place);
    await expectRefused(back(place, answer(claimsFor(place, requestId), stranger), relayState, browser), 'signature');
    expect(await lastRefusal()).toBe('signature');
  });

  it('believes two certificates while the provider changes its key', async () => {
    const place = await add({ certificates: [idp.certificate, stranger.certificate] });
    for (const key of [idp, stranger]) {
      const { browser, requestId, relayState } = await leave(place);
      expect((await back(place, answer(claimsFor(place, requestId), key), relayState, browser)).identity.subject).toBe('ada');
    }
  });

  it('takes a sign-in that the provider began only where that is switched on', async () => {
    const unasked = async (place: SignInPlace, relayState: string | undefined) => back(place, answer(claimsFor(place, null)), relayState, undefined);
    await expectRefused(unasked(await add(), undefined), 'relay-state');
    const open = await add({ idpInitiated: true });
    expect((await unasked(open, undefined)).identity.subject).toBe('ada');
    expect((await unasked(open, 'https://evil.example.com')).returnTo).toBeUndefined();
    const { requestId } = await leave(open);
    await expectRefused(back(open, answer(claimsFor(open, requestId)), undefined, undefined), 'in-response-to');
  });

  it('knows second factors, names and addresses as the settings say', async () => {
    const place = await add({ attributes: { userName: 'uid', email: 'mail', groups: 'memberOf' }, trustsEmail: true });
    const { browser, requestId, relayState } = await leave(place);
    const { identity } = await back(place, answer(claimsFor(place, requestId, { nameId: 'id-1', authnContext: 'https://refeds.org/profile/mfa', attributes: { uid: ['ada'], mail: ['ada@example.com'], memberOf: ['ops'] } })), relayState, browser);
    expect(identity).toMatchObject({ subject: 'id-1', userName: 'ada', email: 'ada@example.com', emailVerified: true, groups: ['ops'], secondFactor: true });
  });

  it('publishes its metadata, and opens what was encrypted with the certificate in it', async () => {
    const place = await add({ encrypted: true });
    const metadata = await saml.metadata(place);
    const addresses = samlAddresses(place.base, place.providerId);
    expect(metadata).toContain(`entityID="${addresses.metadata}"`);
    expect(metadata).toContain(`Location="${addresses.assertionConsumer}"`);
    expect(metadata).toContain(`Location="${addresses.singleLogout}"`);
    expect(metadata).toContain('use="encryption"');
    expect(metadata).toContain('AuthnRequestsSigned="true"');
    const certificate = `-----BEGIN CERTIFICATE-----\n${(/<ds:X509Certificate>([^<]+)</.exec(metadata)?.[1] ?? '').trim()}\n-----END CERTIFICATE-----\n`;
    const publicKey = new X509Certificate(certificate).publicKey.export({ type: 'spki', format: 'pem' }).toString();
    const { browser, requestId, relayState } = await leave(place);
    const claims = claimsFor(place, requestId);
    const sealed = await encryptAssertion(signXml(assertionXml(claims), idp), { key: '', certificate, publicKey });
    expect((await back(place, Buffer.from(responseXml(sealed, claims)).toString('base64'), relayState, browser)).identity.subject).toBe('ada');
    const again = await leave(place);
    await expectRefused(back(place, answer(claimsFor(place, again.requestId)), again.relayState, again.browser), 'decryption');
  });

  it('keeps the key of the service sealed and says so', async () => {
    const { providerId } = await add();
    const shown = await providers.get(admin(), providerId);
    expect(shown.secrets).toEqual(['serviceKey']);
    expect(JSON.stringify(shown)).not.toContain('PRIVATE KEY');
    expect(shown.state).toBe('ok');
    expect(shown.addresses).toMatchObject({ metadata: expect.stringContaining('/metadata') });
    const weak = providerDraft.parse({ name: randomUUID(), settings: { kind: 'saml', entityId: IDP, signInUrl: SIGN_IN, certificates: ['-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----'] } });
    await expect(providers.create(admin(), weak, { test: true, signal: AbortSignal.timeout(1000) })).rejects.toMatchObject({ type: 'InvalidInput' });
  });

  it('reads the metadata of a provider', () => {
    const bare = idp.certificate.replace(/-----[A-Z ]+-----|\s/g, '');
    const metadata = (inner: string): string =>
      `<md:EntityDescriptor xmlns:md="urn:oasis:names:tc:SAML:2.0:metadata" xmlns:ds="http://www.w3.org/2000/09/xmldsig#" entityID="${IDP}"><md:IDPSSODescriptor protocolSupportEnumeration="urn:oasis:names:tc:SAML:2.0:protocol">${inner}</md:IDPSSODescriptor></md:EntityDescriptor>`;
    const key = `<md:KeyDescriptor use="signing"><ds:KeyInfo><ds:X509Data><ds:X509Certificate>${bare}</ds:X509Certificate></ds:X509Data></ds:KeyInfo></md:KeyDescriptor><md:KeyDescriptor use="encryption"><ds:KeyInfo/></md:KeyDescriptor>`;
    const logout = `<md:SingleLogoutService Binding="urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect" Location="${LOGOUT}"/>`;
    const post = `<md:SingleSignOnService Binding="urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST" Location="${SIGN_IN}/post"/>`;
    const redirect = `<md:SingleSignOnService Binding="urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect" Location="${SIGN_IN}"/>`;
    expect(readProviderMetadata(metadata(key + logout + post + redirect))).toMatchObject({ entityId: IDP, signInUrl: SIGN_IN, binding: 'redirect', logoutUrl: LOGOUT });
    expect(readProviderMetadata(metadata(key + post))).toMatchObject({ signInUrl: `${SIGN_IN}/post`, binding: 'post' });
    for (const bad of ['x', '<a/>', metadata(''), metadata(key), metadata(post), metadata(key + post).replace(` entityID="${IDP}"`, ''), `<!DOCTYPE a>${metadata(key + post)}`]) {
      expect(() => readProviderMetadata(bad)).toThrow(expect.objectContaining({ type: 'InvalidInput' }));
    }
  });

  describe('single logout', () => {
    const now = (): string => new Date().toISOString();
    const request = (place: SignInPlace, more: { id?: string; nameId?: string; index?: string | null; issued?: string; destination?: string; issuer?: string } = {}): string =>
      `<samlp:LogoutRequest xmlns:samlp="urn:oasis:names:tc:SAML:2.0:protocol" xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion" ID="${more.id ?? `_${randomUUID()}`}" Version="2.0" IssueInstant="${more.issued ?? now()}" Destination="${more.destination ?? samlAddresses(place.base, place.providerId).singleLogout}">` +
      `<saml:Issuer>${more.issuer ?? IDP}</saml:Issuer><saml:NameID>${more.nameId ?? 'ada'}</saml:NameID>${more.index === null ? '' : `<samlp:SessionIndex>${more.index ?? 'session-9'}</samlp:SessionIndex>`}</samlp:LogoutRequest>`;
    const deflated = (xml: string): string => deflateRawSync(Buffer.from(xml)).toString('base64');
    const signedIn = async (place: SignInPlace, index: string): Promise<string> => {
      const userId = randomUUID();
      await test.database.withOrg(orgId, async (tx) => {
        await tx.insertInto('users').values({ org_id: orgId, id: userId, user_name: userId }).execute();
        await tx.insertInto('user_identities').values({ org_id: orgId, provider_id: place.providerId, subject: userId, user_id: userId }).execute();
      });
      const { sessionId } = await sessions.open({ orgId, userId, method: 'saml', providerId: place.providerId, secondFactor: false, risk: 0, logout: { nameId: userId, session: index } }, FACTS, {
        orgId, action: 'session.open', result: 'succeeded', actor: { kind: 'user', id: userId }, requestId: 'test', risk: 0, details: {}, personal: {},
      });
      expect(await sessions.isLive(orgId, sessionId)).toBe(true);
      return `${sessionId} ${userId}`;
    };
    const isLive = (session: string): Promise<boolean> => sessions.isLive(orgId, session.split(' ')[0] ?? '');

    it('begun by the provider ends the session it names, by redirect and by POST', async () => {
      const place = await add();
      const [one, two, other] = [await signedIn(place, 'one'), await signedIn(place, 'two'), await signedIn(place, 'other')];
      const query = signQuery({ SAMLRequest: deflated(request(place, { index: 'one' })), RelayState: 'idp state' }, idp);
      const address = new URL(await saml.logout(place, { query }, FACTS));
      expect(address.origin + address.pathname).toBe(LOGOUT);
      expect(address.searchParams.get('RelayState')).toBe('idp state');
      expect(address.searchParams.get('Signature')).not.toBeNull();
      expect(inflateRawSync(Buffer.from(address.searchParams.get('SAMLResponse') ?? '', 'base64')).toString()).toContain('status:Success');
      expect([await isLive(one), await isLive(two), await isLive(other)]).toEqual([false, true, true]);
      const posted = new URLSearchParams({ SAMLRequest: Buffer.from(signXml(request(place, { index: 'two' }), idp)).toString('base64') });
      await saml.logout(place, { form: posted }, FACTS);
      expect([await isLive(two), await isLive(other)]).toEqual([false, true]);
      // Without a session index all sessions of the person.
      const all = signQuery({ SAMLRequest: deflated(request(place, { index: null, nameId: other.split(' ')[1] ?? '' })) }, idp);
      await saml.logout(place, { query: all }, FACTS);
      expect(await isLive(other)).toBe(false);
    });

    it('is refused without a valid signature, twice, late, or for somebody else', async () => {
      const place = await add();
      const session = await signedIn(place, 'kept');
      const xml = request(place, { index: 'kept' });
      const attempts: [string, { query: string } | { form: URLSearchParams }][] = [
        ['signature', { query: `SAMLRequest=${encodeURIComponent(deflated(xml))}` }],
        ['signature', { query: signQuery({ SAMLRequest: deflated(xml) }, stranger) }],
        ['signature', { query: signQuery({ SAMLRequest: deflated(xml), RelayState: 'a' }, idp).replace('RelayState=a', 'RelayState=b') }],
        ['algorithm', { query: signQuery({ SAMLRequest: deflated(xml) }, idp, 'sha1') }],
        ['structure', { query: `${signQuery({ SAMLRequest: deflated(xml) }, idp)}&SAMLRequest=${encodeURIComponent(deflated(xml))}` }],
        ['structure', { query: `${signQuery({ SAMLRequest: deflated(xml) }, idp)}&x=1` }],
        ['not-xml', { query: signQuery({ SAMLRequest: deflated('x'.repeat(10_000_000)) }, idp) }],
        ['signature', { form: new URLSearchParams({ SAMLRequest: Buffer.from(xml).toString('base64') }) }],
        ['signature', { form: new URLSearchParams({ SAMLRequest: Buffer.from(signXml(xml, stranger)).toString('base64') }) }],
        ['structure', { form: new URLSearchParams() }],
        ['time', { query: signQuery({ SAMLRequest: deflated(request(place, { index: 'kept', issued: '2020-01-01T00:00:00Z' })) }, idp) }],
        ['destination', { query: signQuery({ SAMLRequest: deflated(request(place, { index: 'kept', destination: 'https://elsewhere.example.com' })) }, idp) }],
        ['issuer', { form: new URLSearchParams({ SAMLRequest: Buffer.from(signXml(request(place, { index: 'kept', issuer: 'https://evil.example.com' }), idp)).toString('base64') }) }],
      ];
      for (const [reason, message] of attempts) {
        await expect(saml.logout(place, message, FACTS), reason).rejects.toMatchObject({ type: 'Unauthenticated' });
        expect([reason, await lastRefusal()]).toEqual([reason, reason]);
      }
      expect(await isLive(session)).toBe(true);
      const query = signQuery({ SAMLRequest: deflated(request(place, { index: 'nobody' })) }, idp);
      await saml.logout(place, { query }, FACTS);
      await expect(saml.logout(place, { query }, FACTS)).rejects.toMatchObject({ type: 'Unauthenticated' });
      expect(await lastRefusal()).toBe('replay');
    });

    it('begun here asks the provider and takes its answer once', async () => {
      const place = await add();
      const address = await saml.logoutAddress(place, { nameId: 'ada', sessionIndex: 'session-9', session: 'session-9' });
      expect(address?.href.startsWith(LOGOUT)).toBe(true);
      const xml = inflateRawSync(Buffer.from(address?.searchParams.get('SAMLRequest') ?? '', 'base64')).toString();
      expect(xml).toContain('session-9');
      const id = / ID="([^"]+)"/.exec(xml)?.[1] ?? '';
      const reply = (inResponseTo: string): string =>
        deflated(`<samlp:LogoutResponse xmlns:samlp="urn:oasis:names:tc:SAML:2.0:protocol" xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion" ID="_${randomUUID()}" Version="2.0" IssueInstant="${now()}" Destination="${samlAddresses(place.base, place.providerId).singleLogout}" InResponseTo="${inResponseTo}"><saml:Issuer>${IDP}</saml:Issuer><samlp:Status><samlp:StatusCode Value="urn:oasis:names:tc:SAML:2.0:status:Success"/></samlp:Status></samlp:LogoutResponse>`);
      const query = signQuery({ SAMLResponse: reply(id), RelayState: address?.searchParams.get('RelayState') ?? '' }, idp);
      expect(await saml.logout(place, { query }, FACTS)).toBe(place.base);
      await expect(saml.logout(place, { query }, FACTS)).rejects.toMatchObject({ type: 'Unauthenticated' });
      expect(await lastRefusal()).toBe('in-response-to');
      expect(await saml.logoutAddress(place, undefined)).toBeUndefined();
      expect(await saml.logoutAddress({ ...place, providerId: randomUUID() }, { nameId: 'ada' })).toBeUndefined();
      expect(await saml.logoutAddress(await add({ logoutUrl: undefined }), { nameId: 'ada' })).toBeUndefined();
    });
  });
});
