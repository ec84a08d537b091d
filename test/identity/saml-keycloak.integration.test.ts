import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Browser, Page } from 'playwright-core';
import { startTestApi, type TestApi, type TestKey } from '../api/running-api.ts';
import { launchBrowser } from '../environment/browser.ts';
import { freePort } from '../../platform/telemetry/free-port.ts';
import { findKeycloak, KEYCLOAK_MISSING, startKeycloak, type Keycloak } from '../environment/saml-idp.ts';

const folder = await findKeycloak();
if (folder === undefined) console.log(KEYCLOAK_MISSING);

describe.runIf(folder === undefined && process.env['CI'] === 'true')('Keycloak', () => {
  it('is there', () => expect.fail(KEYCLOAK_MISSING));
});

/** RSA-OAEP as XML Encryption 1.0 has it; Keycloak's own choice is that of 1.1, which HAL9 does not read. */
const ENCRYPTION = {
  'saml.encryption.algorithm': 'http://www.w3.org/2009/xmlenc11#aes256-gcm',
  'saml.encryption.keyAlgorithm': 'http://www.w3.org/2001/04/xmlenc#rsa-oaep-mgf1p',
  'saml.encryption.digestMethod': 'http://www.w3.org/2000/09/xmldsig#sha1',
};

interface Answer {
  addresses: Record<'start' | 'metadata', string>;
}

const SLUG = 'acme';
const REALM = 'acme';
const PASSWORD = 'correct horse battery';

interface ClientRepresentation {
  clientId: string;
  attributes: Record<string, string>;
}

/** docs/how-to/sign-in-saml.md, with a real identity provider in a real browser. */
describe.skipIf(folder === undefined)('sign-in with SAML at Keycloak', () => {
  let api: TestApi;
  let key: TestKey;
  let idp: Keycloak;
  let browser: Browser;
  let start = '';
  let ours: { status: number; body: Answer };
  /** What Keycloak read out of HAL9's metadata. */
  let client: ClientRepresentation;

  beforeAll(async () => {
    const port = await freePort();
    [api, idp, browser] = await Promise.all([startTestApi({ HAL9_PORT: String(port), HAL9_PUBLIC_URL: `http://127.0.0.1:${port}` }), startKeycloak(folder ?? ''), launchBrowser()]);
    const orgId = await api.database.organisation();
    await api.database.database.withOrg(orgId, (tx) => tx.updateTable('organisations').set({ slug: SLUG }).where('org_id', '=', orgId).execute());
    key = await api.key(orgId);
    await idp.admin('POST', '', {
      realm: REALM,
      enabled: true,
      sslRequired: 'none',
      groups: [{ name: 'ops' }],
      users: [{ username: 'ada', enabled: true, emailVerified: true, email: 'ada@example.com', firstName: 'Ada', lastName: 'Lovelace', groups: ['/ops'], credentials: [{ type: 'password', value: PASSWORD, temporary: false }] }],
    });
    // Metadata one way: what Keycloak says of itself goes into the draft.
    const metadata = await (await fetch(`${idp.url}/realms/${REALM}/protocol/saml/descriptor`)).text();
    const provider = await call('POST', '/v1/identity-providers', {
      name: 'Keycloak',
      settings: { kind: 'saml-metadata', metadata, encrypted: true, attributes: { userName: 'username', email: 'email', displayName: 'displayName', groups: 'groups' } },
      roleMapping: { default: ['viewer'], groups: { ops: ['operator'] } },
    });
    ours = provider;
    start = provider.body.addresses.start;
    // And the other way: Keycloak makes its client of HAL9's metadata.
    const document = await (await fetch(provider.body.addresses.metadata)).text();
    client = (await idp.admin('POST', `/${REALM}/client-description-converter`, document, 'application/xml')) as ClientRepresentation;
    const property = (name: string, attribute: string) => ({ name, protocol: 'saml', protocolMapper: 'saml-user-property-mapper', config: { 'user.attribute': attribute, 'attribute.name': name, 'attribute.nameformat': 'Basic' } });
    await idp.admin('POST', `/${REALM}/clients`, {
      ...client,
      frontchannelLogout: false,
      fullScopeAllowed: true,
      attributes: { ...client.attributes, 'saml.server.signature': 'true', 'saml.assertion.signature': 'true', ...ENCRYPTION },
      protocolMappers: [
        property('username', 'username'),
        property('email', 'email'),
        property('displayName', 'firstName'),
        { name: 'groups', protocol: 'saml', protocolMapper: 'saml-group-membership-mapper', config: { 'attribute.name': 'groups', 'attribute.nameformat': 'Basic', single: 'true', 'full.path': 'false' } },
      ],
    });
  }, 300_000);
  afterAll(async () => {
    await browser.close();
    await Promise.all([api.stop(), idp.stop()]);
  });

  const call = async (method: string, path: string, body?: unknown) => {
    const response = await fetch(`${api.url}${path}`, { method, headers: { authorization: `Bearer ${key.text}`, ...(body === undefined ? {} : { 'content-type': 'application/json' }) }, ...(body === undefined ? {} : { body: JSON.stringify(body) }) });
    const answer: Answer = JSON.parse(await response.text());
    return { status: response.status, body: answer };
  };
  const signIn = async (page: Page): Promise<void> => {
    await page.goto(`${start}?returnTo=${encodeURIComponent('/docs?from=saml')}`);
    expect(new URL(page.url()).origin).toBe(idp.url);
    await page.fill('#username', 'ada');
    await page.fill('#password', PASSWORD);
    await page.click('#kc-login');
    await page.waitForURL(`${api.url}/docs?from=saml`);
  };
  const session = async (page: Page) => {
    const response = await page.request.get(`${api.url}/v1/session`);
    return { status: response.status(), body: await response.json() };
  };
  const mapped = async (): Promise<string[]> => {
    const { rows } = await api.database.database.systemPool.query<{ role: string }>("select role from role_bindings b join users u on u.org_id = b.org_id and u.id = b.user_id where u.user_name = 'ada' order by role");
    return rows.map((row) => row.role);
  };

  it('reads the metadata of the other side, both ways', () => {
    expect(ours).toMatchObject({ status: 201, body: { state: 'ok', settings: { entityId: `${idp.url}/realms/${REALM}`, binding: 'redirect' } } });
    expect(client).toMatchObject({ clientId: ours.body.addresses.metadata, attributes: { 'saml.encrypt': 'true' } });
  });

  it('brings somebody in with address, name and the roles of their groups, and out on both sides', async () => {
    const context = await browser.newContext();
    const page = await context.newPage();
    await signIn(page);
    const signedIn = await session(page);
    expect(signedIn).toMatchObject({ status: 200, body: { method: 'saml' } });
    expect(await mapped()).toEqual(['operator', 'viewer']);
    const { rows } = await api.database.database.systemPool.query('select user_name, email, display_name from users');
    expect(rows).toEqual([{ user_name: 'ada', email: 'ada@example.com', display_name: 'Ada' }]);
    const ended = await page.request.post(`${api.url}/v1/session/end-at-provider`, { headers: { 'x-csrf-token': signedIn.body.csrfToken } });
    const { location } = await ended.json();
    expect(String(location).startsWith(`${idp.url}/realms/${REALM}/protocol/saml?SAMLRequest=`)).toBe(true);
    expect((await session(page)).status).toBe(401);
    await page.goto(location);
    await page.waitForURL(`${api.url}/sign-in/${SLUG}`);
    // Keycloak asks for the password again: its session has ended too.
    await page.goto(start);
    expect(await page.locator('#password').count()).toBe(1);
    await context.close();
  });

  it('ends the session when Keycloak ends its own', async () => {
    const context = await browser.newContext();
    const page = await context.newPage();
    await signIn(page);
    expect((await session(page)).status).toBe(200);
    const [user] = (await idp.admin('GET', `/${REALM}/users?username=ada`)) as { id: string }[];
    await idp.admin('POST', `/${REALM}/users/${user?.id ?? ''}/logout`);
    await expect.poll(async () => (await session(page)).status, { interval: 50 }).toBe(401);
    await context.close();
  });
});
