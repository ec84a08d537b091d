import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTestApi, type TestApi, type TestKey } from '../api/running-api.ts';
import { launchBrowser } from '../environment/browser.ts';
import { makeCertificates } from '../environment/certificates.ts';
import { Browserless, startOpenIdProvider, type OpenIdProvider } from '../environment/openid-provider.ts';
import { freePort } from '../../platform/telemetry/free-port.ts';
import { findSlapd, SLAPD_MISSING, startSlapd, SUFFIX, type Slapd } from '../environment/slapd.ts';

const tool = await findSlapd();
if (tool === undefined) console.log(SLAPD_MISSING);

const SLUG = 'acme';

/** Whole ways in, from the organisation's sign-in address to a session, over HTTP and in a browser. */
describe('signing in at a provider', () => {
  let api: TestApi;
  let key: TestKey;
  let idp: OpenIdProvider;
  let providerId = '';
  const accounts: Record<string, Record<string, unknown>> = {
    alice: { preferred_username: 'alice', name: 'Alice Example', email: 'alice@example.com', email_verified: true, groups: ['ops'] },
    bob: { preferred_username: 'bob', name: 'Bob Example' },
    liar: { preferred_username: 'liar', email: 'victim@example.com', email_verified: false },
    'victim-at-the-provider': { preferred_username: 'victim-at-the-provider', email: 'victim@example.com', email_verified: true },
    mallory: { preferred_username: 'mallory', email: 'victim@example.com', email_verified: true },
  };

  beforeAll(async () => {
    const port = await freePort();
    api = await startTestApi({ HAL9_ALLOW_PRIVATE_ADDRESSES: 'true', HAL9_PORT: String(port), HAL9_PUBLIC_URL: `http://127.0.0.1:${port}` });
    const orgId = await api.database.organisation();
    await api.database.database.withOrg(orgId, (tx) => tx.updateTable('organisations').set({ slug: SLUG }).where('org_id', '=', orgId).execute());
    key = await api.key(orgId);
    idp = await startOpenIdProvider({ clients: [{ client_id: 'hal9', client_secret: 'client-secret', redirect_uris: ['http://127.0.0.1/later'] }], accounts });
    const provider = await call('POST', '/v1/identity-providers', {
      name: 'Company login',
      settings: { kind: 'oidc', issuer: idp.issuer, clientId: 'hal9', clientSecret: 'client-secret', scopes: ['openid', 'profile', 'email', 'groups'] },
      roleMapping: { default: ['viewer'], groups: { ops: ['operator'] } },
    });
    providerId = provider.body.id;
    const { redirect, backChannelLogout } = provider.body.addresses;
    Object.assign((await idp.provider.Client.find('hal9')) ?? {}, { redirectUris: [redirect], backchannelLogoutUri: backChannelLogout, backchannelLogoutSessionRequired: true });
  });
  afterAll(async () => {
    await idp.stop();
    await api.stop();
  });

  const call = async (method: string, path: string, body?: unknown) => {
    const response = await fetch(`${api.url}${path}`, { method, headers: { authorization: `Bearer ${key.text}`, ...(body === undefined ? {} : { 'content-type': 'application/json' }) }, ...(body === undefined ? {} : { body: JSON.stringify(body) }) });
    const text = await response.text();
    return { status: response.status, body: text === '' ? undefined : JSON.parse(text) };
  };
  const start = (browser: Browserless, returnTo?: string) => browser.request(`${api.url}/sign-in/${SLUG}/oidc/${providerId}${returnTo === undefined ? '' : `?returnTo=${encodeURIComponent(returnTo)}`}`);
  const signIn = async (browser: Browserless, name: string, returnTo?: string): Promise<Response> => {
    const left = await start(browser, returnTo);
    expect(left.status).toBe(303);
    return browser.request((await browser.signIn(left.headers.get('location') ?? '', name)).href);
  };
  const mapped = async (userName: string): Promise<string[]> => {
    const { rows } = await api.database.database.systemPool.query<{ role: string }>('select role from role_bindings b join users u on u.org_id = b.org_id and u.id = b.user_id where u.user_name = $1 and b.provider_id is not null order by role', [userName]);
    return rows.map((row) => row.role);
  };
  const users = async (): Promise<string[]> => (await api.database.database.systemPool.query<{ user_name: string }>('select user_name from users order by 1')).rows.map((row) => row.user_name);

  it('is offered by the organisation and ends in a session, in a browser', async () => {
    expect((await call('GET', `/v1/sign-in/organisations/${SLUG}`)).body.providers).toEqual([{ id: providerId, kind: 'oidc', name: 'Company login', location: `/sign-in/${SLUG}/oidc/${providerId}` }]);
    const browser = await launchBrowser();
    try {
      const context = await browser.newContext();
      const page = await context.newPage();
      await page.goto(`${api.url}/sign-in/${SLUG}/oidc/${providerId}?returnTo=${encodeURIComponent('/docs?from=sign-in')}`);
      expect(new URL(page.url()).origin).toBe(idp.issuer);
      await page.fill('input[name=login]', 'alice');
      await page.fill('input[name=password]', 'any');
      await page.click('button[type=submit]');
      await page.click('button[type=submit]');
      await page.waitForURL(`${api.url}/docs?from=sign-in`);
      const cookie = (await context.cookies()).find(({ name }) => name === 'hal9_session');
      expect(cookie).toMatchObject({ httpOnly: true, sameSite: 'Lax', path: '/' });
    } finally {
      await browser.close();
    }
    expect(await users()).toEqual(['alice']);
    expect(await mapped('alice')).toEqual(['operator', 'viewer']);
  });

  it('gives the roles that the groups give now, and no others', async () => {
    accounts['alice'] = { ...accounts['alice'], groups: ['everybody'] };
    expect((await signIn(new Browserless(), 'alice')).status).toBe(303);
    expect(await mapped('alice')).toEqual(['viewer']);
    accounts['alice'] = { ...accounts['alice'], groups: ['ops'] };
    await signIn(new Browserless(), 'alice');
    expect(await mapped('alice')).toEqual(['operator', 'viewer']);
    const { rows } = await api.database.database.systemPool.query<{ details: unknown }>("select details from audit_acts where action = 'role-mapping.apply' union all select details from audit_entries where action = 'role-mapping.apply'");
    expect(rows.map((row) => row.details)).toEqual(expect.arrayContaining([{ added: [], removed: ['operator'] }, { added: ['operator'], removed: [] }]));
  });

  it.each(['https://evil.example/', '//evil.example/', '/\\evil.example', 'javascript:alert(1)', '/\t/evil.example', '/..//evil.example', '/.//evil.example', '/a/../..//evil.example', '/%2e%2e//evil.example'])('leads nowhere else: %j', async (returnTo) => {
    const finished = await signIn(new Browserless(), 'alice', returnTo);
    expect(finished.status).toBe(303);
    const location = new URL(finished.headers.get('location') ?? '', api.url);
    expect(location.origin).toBe(new URL(api.url).origin);
  });

  it('shows a page, and opens no session, for a callback that this browser did not ask for', async () => {
    // Login CSRF: the attacker signs in and hands the callback to somebody else's browser.
    const attacker = new Browserless();
    const callback = await attacker.signIn((await start(attacker)).headers.get('location') ?? '', 'mallory');
    const victim = new Browserless();
    for (const browser of [victim, await start(victim).then(() => victim)]) {
      const refused = await browser.request(callback.href);
      expect(refused.status).toBe(401);
      expect(refused.headers.get('content-type')).toContain('text/html');
      expect(refused.headers.get('content-security-policy')).toContain("default-src 'none'");
      expect(refused.headers.getSetCookie()).toEqual([]);
      expect(await refused.text()).toContain(`href="/sign-in/${SLUG}"`);
    }
    expect(await users()).toEqual(['alice']);
  });

  it('takes over nobody by their address, unless the provider is trusted for it', async () => {
    await api.database.database.withOrg(key.orgId, (tx) =>
      tx.insertInto('users').values({ org_id: key.orgId, id: '11111111-1111-4111-8111-111111111111', user_name: 'victim', email: 'victim@example.com', email_verified: true, display_name: null, external_id: null, password_hash: 'x' }).execute(),
    );
    const linked = async (subject: string): Promise<string[]> =>
      (await api.database.database.systemPool.query<{ user_name: string }>('select u.user_name from user_identities i join users u on u.org_id = i.org_id and u.id = i.user_id where i.subject = $1', [subject])).rows.map((row) => row.user_name);
    await signIn(new Browserless(), 'mallory');
    expect(await linked('mallory')).toEqual(['mallory']);
    await call('PATCH', `/v1/identity-providers/${providerId}`, { settings: { trustsEmail: true } });
    await signIn(new Browserless(), 'liar');
    expect(await linked('liar')).toEqual(['liar']);
    await signIn(new Browserless(), 'victim-at-the-provider');
    expect(await linked('victim-at-the-provider')).toEqual(['victim']);
  });

  it('says plainly that the provider is down', async () => {
    const down = await call('POST', '/v1/identity-providers?test=false', { name: 'Down', settings: { kind: 'oidc', issuer: `http://127.0.0.1:${await freePort()}`, clientId: 'hal9' } });
    const answer = await new Browserless().request(`${api.url}/sign-in/${SLUG}/oidc/${down.body.id}`);
    expect(answer.status).toBe(424);
    expect(answer.headers.get('retry-after')).toBe('5');
    expect(await answer.text()).toContain('the identity provider could not be asked: the connection was refused');
    await call('PATCH', `/v1/identity-providers/${down.body.id}`, { enabled: false });
    expect((await new Browserless().request(`${api.url}/sign-in/${SLUG}/oidc/${down.body.id}`)).status).toBe(404);
    expect((await new Browserless().request(`${api.url}/sign-in/nobody/oidc/${down.body.id}`)).status).toBe(404);
  });

  it('ends the session when the person signs out at the provider', async () => {
    const ended = async (): Promise<(string | null)[]> => (await api.database.database.systemPool.query<{ end_reason: string | null }>("select s.end_reason from sessions s join users u on u.org_id = s.org_id and u.id = s.user_id where u.user_name = 'bob' order by s.created_at")).rows.map((row) => row.end_reason);
    const [here, elsewhere] = [new Browserless(), new Browserless()];
    await signIn(here, 'bob');
    await signIn(elsewhere, 'bob');
    expect(await ended()).toEqual([null, null]);
    const page = await (await here.request(`${idp.issuer}/session/end`)).text();
    const xsrf = /name="xsrf" value="([^"]+)"/.exec(page)?.[1] ?? '';
    await here.request(`${idp.issuer}/session/end/confirm`, { method: 'POST', body: new URLSearchParams({ xsrf, logout: 'yes' }) });
    expect(await ended()).toEqual(['provider-logout', null]);
  });

  it('takes logout tokens as a form and refuses anything else', async () => {
    const address = `${api.url}/sign-in/${SLUG}/oidc/${providerId}/logout`;
    expect((await fetch(address, { method: 'POST', body: new URLSearchParams({ logout_token: 'x.y.z' }) })).status).toBe(422);
    expect((await fetch(address, { method: 'POST', body: new URLSearchParams() })).status).toBe(422);
    expect((await fetch(address, { method: 'POST', body: '{}', headers: { 'content-type': 'application/json' } })).status).toBe(415);
  });

  describe.skipIf(tool === undefined)('that is a directory', () => {
    let folder = '';
    let slapd: Slapd;
    let path = '';

    beforeAll(async () => {
      if (tool === undefined) throw new Error(SLAPD_MISSING);
      folder = await mkdtemp(join(tmpdir(), 'hal9-directory-'));
      const certificates = makeCertificates(folder);
      slapd = await startSlapd(tool, { folder: join(folder, 'slapd'), tls: { ca: certificates.ca, ...certificates.server } });
      await slapd.add(`cn=hal9,ou=services,${SUFFIX}`, { objectClass: ['applicationProcess', 'simpleSecurityObject'], cn: 'hal9', userPassword: 'service-password' });
      await slapd.add(`uid=carol,ou=people,${SUFFIX}`, { objectClass: 'inetOrgPerson', cn: 'Carol Example', sn: 'Example', uid: 'carol', userPassword: 'carol-password' });
      await slapd.add(`cn=ops,ou=groups,${SUFFIX}`, { objectClass: 'groupOfNames', cn: 'ops', member: `uid=carol,ou=people,${SUFFIX}` });
      const created = await call('POST', '/v1/identity-providers', {
        name: 'Directory <of> people',
        settings: { kind: 'ldap', host: '127.0.0.1', port: slapd.port, ca: await readFile(certificates.ca, 'utf8'), bindDn: `cn=hal9,ou=services,${SUFFIX}`, bindPassword: 'service-password', userBase: `ou=people,${SUFFIX}`, groups: { by: 'search', base: `ou=groups,${SUFFIX}` } },
        roleMapping: { groups: { ops: ['operator'] } },
      });
      if (created.body.state !== 'ok') throw new Error(`the directory was not added: ${JSON.stringify(created.body)}`);
      path = `/sign-in/${SLUG}/ldap/${created.body.id}`;
    });
    afterAll(async () => {
      await slapd.stop();
      await rm(folder, { recursive: true, force: true });
    });

    const post = (form: Record<string, string>, headers: Record<string, string> = {}) => fetch(`${api.url}${path}`, { method: 'POST', body: new URLSearchParams(form), headers, redirect: 'manual' });

    it('asks for name and password on a page of ours, in a browser', async () => {
      const browser = await launchBrowser();
      try {
        const page = await (await browser.newContext()).newPage();
        await page.goto(`${api.url}${path}?returnTo=%2Fdocs`);
        expect(await page.textContent('h1')).toBe('Sign in with Directory <of> people');
        await page.fill('input[name=userName]', 'carol');
        await page.fill('input[name=password]', 'wrong');
        await page.click('button');
        expect(await page.textContent('h1')).toBe('You are not signed in');
        await page.goto(`${api.url}${path}?returnTo=%2Fdocs`);
        await page.fill('input[name=userName]', 'carol');
        await page.fill('input[name=password]', 'carol-password');
        await page.click('button');
        await page.waitForURL(`${api.url}/docs`);
      } finally {
        await browser.close();
      }
      expect(await mapped('carol')).toEqual(['operator']);
    });

    it('takes no form of another site, and no empty password', async () => {
      expect((await post({ userName: 'carol', password: 'carol-password' }, { origin: 'https://evil.example' })).status).toBe(403);
      expect((await post({ userName: 'carol', password: '' })).status).toBe(401);
    });

    it('asks for the second factor that somebody has here: a password of a directory is one factor', async () => {
      const before = await post({ userName: 'carol', password: 'carol-password' });
      expect([before.status, before.headers.get('location')]).not.toContain('/second-factor');
      await api.database.database.withOrg(key.orgId, async (tx) => {
        const { id } = await tx.selectFrom('users').select('id').where('user_name', '=', 'carol').executeTakeFirstOrThrow();
        await tx.insertInto('user_factors').values({ org_id: key.orgId, id: '22222222-2222-4222-8222-222222222222', user_id: id, kind: 'totp', name: 'phone', sealed: Buffer.from('x') }).execute();
      });
      const after = await post({ userName: 'carol', password: 'carol-password' });
      expect([after.status, after.headers.get('location')]).toEqual([303, '/second-factor']);
      expect(after.headers.getSetCookie().join()).not.toContain('hal9_session=');
    });

    it('slows guessing down, alike for those who exist and those who do not', async () => {
      const statuses = async (userName: string): Promise<number[]> => {
        const seen: number[] = [];
        for (let attempt = 0; attempt < 7; attempt += 1) seen.push((await post({ userName, password: 'guess' })).status);
        return seen;
      };
      const [known, unknown] = [await statuses('carol2'), await statuses('nobody')];
      expect(known).toEqual([401, 401, 401, 401, 401, 429, 429]);
      expect(unknown).toEqual(known);
    });
  });
});
