import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTestApi, type TestApi, type TestKey } from '../api/running-api.ts';
import { startOpenIdProvider, type OpenIdProvider } from '../environment/openid-provider.ts';

const CANARY = 'canary-77aa-client-secret';

describe('identity providers over REST', () => {
  let api: TestApi;
  let idp: OpenIdProvider;
  let orgId = '';
  let key: TestKey;

  beforeAll(async () => {
    api = await startTestApi({ HAL9_ALLOW_PRIVATE_ADDRESSES: 'true', HAL9_PUBLIC_URL: 'https://hal9.example.com/' });
    idp = await startOpenIdProvider({ clients: [], accounts: {} });
    orgId = await api.database.organisation();
    key = await api.key(orgId);
  });
  afterAll(async () => {
    await idp.stop();
    await api.stop();
  });

  const call = async (method: string, path: string, body?: unknown, secret = key.text) => {
    const response = await fetch(`${api.url}${path}`, {
      method,
      headers: { authorization: `Bearer ${secret}`, ...(body === undefined ? {} : { 'content-type': 'application/json' }) },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    expect(text).not.toContain(CANARY);
    return { status: response.status, body: text === '' ? undefined : JSON.parse(text) };
  };
  const oidc = (more: Record<string, unknown> = {}) => ({ kind: 'oidc', issuer: idp.issuer, clientId: 'hal9', clientSecret: CANARY, ...more });
  const create = (more: Record<string, unknown> = {}, query = '') => call('POST', `/v1/identity-providers${query}`, { name: randomUUID(), settings: oidc(), ...more });
  const acts = async (resourceId: string): Promise<string[]> => {
    const { rows } = await api.database.database.systemPool.query<{ action: string }>('select action from audit_acts where resource_id = $1 union all select action from audit_entries where resource_id = $1', [resourceId]);
    return rows.map((row) => row.action);
  };

  it('are added, read, changed, tested and deleted; secrets never come out, every change is recorded', async () => {
    const created = await create({ name: 'Company login' });
    expect(created).toMatchObject({
      status: 201,
      body: { name: 'Company login', kind: 'oidc', preset: null, version: 1, state: 'ok', lastFailure: null, enabled: true, provisions: true, secrets: ['clientSecret'], settings: { issuer: idp.issuer, trustsEmail: false }, updatedBy: `api-key:${key.id}` },
    });
    const { id } = created.body;
    const base = `https://hal9.example.com/sign-in/${orgId}`;
    expect(created.body.addresses).toEqual({ start: `${base}/oidc/${id}`, redirect: `${base}/oidc/${id}/callback`, backChannelLogout: `${base}/oidc/${id}/logout`, postLogoutRedirect: base });
    const path = `/v1/identity-providers/${id}`;
    expect((await call('GET', path)).body).toEqual(created.body);
    expect((await call('GET', '/v1/identity-providers')).body.items).toEqual([created.body]);
    const changed = await call('PATCH', path, { settings: { prompt: 'login' }, roleMapping: { default: ['viewer'], groups: { ops: ['operator'] } } });
    expect(changed).toMatchObject({ status: 200, body: { version: 2, state: 'ok', settings: { prompt: 'login', clientId: 'hal9' }, secrets: ['clientSecret'], roleMapping: { default: ['viewer'], groups: { ops: ['operator'] } } } });
    expect(await call('PATCH', path, { enabled: false, version: 1 })).toMatchObject({ status: 409, body: { detail: 'the identity provider is at version 2' } });
    expect(await call('PATCH', path, { enabled: false, version: 2 })).toMatchObject({ status: 200, body: { enabled: false, version: 3, state: 'ok' } });
    expect((await call('GET', `/v1/sign-in/organisations/${orgId}`)).body.providers).toEqual([]);
    expect((await call('POST', `${path}/test`)).body).toMatchObject({ state: 'ok' });
    expect((await call('DELETE', path)).status).toBe(204);
    for (const [method, body] of [['GET', undefined], ['DELETE', undefined], ['PATCH', {}]] as const) expect((await call(method, path, body)).status).toBe(404);
    expect((await acts(id)).sort()).toEqual(['identity-provider.create', 'identity-provider.delete', 'identity-provider.update', 'identity-provider.update']);
  });

  it('that do not work are not saved, unless that is wanted', async () => {
    const wrong = { settings: oidc({ issuer: `${idp.issuer}/nothing` }) };
    expect(await create(wrong)).toMatchObject({ status: 422, body: { detail: 'the identity provider was not saved because its test failed: there is no discovery document at this issuer (HTTP 404); ?test=false saves it untested' } });
    const saved = await create(wrong, '?test=false');
    expect(saved).toMatchObject({ status: 201, body: { state: 'untested' } });
    expect((await call('POST', `/v1/identity-providers/${saved.body.id}/test`)).body).toMatchObject({ state: 'failed', lastFailure: 'there is no discovery document at this issuer (HTTP 404)' });
    expect((await create({ settings: oidc({ issuer: 'http://127.0.0.1:1' }) })).status).toBe(424);
    expect((await create({ settings: oidc({ issuer: 'http://login.example.com' }) })).body.errors).toMatchObject([{ path: '/settings/issuer', message: 'must be https' }]);
    expect((await create({ settings: oidc({ authorizationParameters: { redirect_uri: 'x' } }) })).status).toBe(422);
    expect((await create({ settings: { kind: 'ldap', host: 'ldap.example.com', tls: 'none', bindDn: 'cn=x', bindPassword: CANARY, userBase: 'dc=x' } })).body.errors).toMatchObject([{ path: '/settings/tls' }]);
  });

  it('do not send a secret that is kept to another address', async () => {
    const { body } = await create();
    const path = `/v1/identity-providers/${body.id}?test=false`;
    expect(await call('PATCH', path, { settings: { issuer: 'https://evil.example' } })).toMatchObject({ status: 422, body: { errors: [{ path: '/settings/clientSecret', message: 'enter it again' }] } });
    expect(await call('PATCH', path, { settings: { issuer: 'https://new.example', clientSecret: `${CANARY}-2` } })).toMatchObject({ status: 200, body: { settings: { issuer: 'https://new.example' } } });
    expect(await call('PATCH', path, { settings: { kind: 'ldap' } })).toMatchObject({ status: 409 });
    expect(await call('PATCH', path, { settings: { unknown: true } })).toMatchObject({ status: 422, body: { errors: [{ path: '/settings' }] } });
    const directory = { name: randomUUID(), settings: { kind: 'ldap', host: 'ldap.example.com', bindDn: 'cn=hal9', bindPassword: CANARY, userBase: 'dc=x' } };
    const ldap = (await call('POST', '/v1/identity-providers?test=false', directory)).body;
    for (const settings of [{ host: 'evil.example' }, { port: 1389 }, { tls: 'implicit' }, { ca: '-----BEGIN CERTIFICATE-----' }]) expect((await call('PATCH', `/v1/identity-providers/${ldap.id}?test=false`, { settings })).status).toBe(422);
    expect((await call('PATCH', `/v1/identity-providers/${ldap.id}?test=false`, { settings: { userBase: 'dc=y' } })).body).toMatchObject({ settings: { userBase: 'dc=y' }, secrets: ['bindPassword'] });
  });

  it('have names that are taken once', async () => {
    const { body } = await create({ name: 'Twice' });
    expect(await create({ name: 'twice' })).toMatchObject({ status: 409 });
    expect(await call('PATCH', `/v1/identity-providers/${body.id}`, { name: 'TWICE' })).toMatchObject({ status: 200, body: { name: 'TWICE' } });
    const other = await create();
    expect(await call('PATCH', `/v1/identity-providers/${other.body.id}`, { name: 'Twice' })).toMatchObject({ status: 409 });
  });

  it('are listed by name, page by page', async () => {
    const own = await api.key(await api.database.organisation());
    for (const name of ['c', 'A', 'b']) await call('POST', '/v1/identity-providers?test=false', { name, settings: oidc() }, own.text);
    const first = await call('GET', '/v1/identity-providers?limit=2', undefined, own.text);
    expect(first.body.items.map((item: { name: string }) => item.name)).toEqual(['A', 'b']);
    const second = await call('GET', `/v1/identity-providers?limit=2&cursor=${encodeURIComponent(first.body.nextCursor)}`, undefined, own.text);
    expect(second.body).toMatchObject({ items: [{ name: 'c' }], nextCursor: null });
  });

  it('give nobody more than who sets them up has, and make no owners', async () => {
    expect(await create({ roleMapping: { default: ['owner'] } })).toMatchObject({ status: 403, body: { detail: expect.stringContaining('HAL9_MAPPED_OWNERS') } });
    expect((await create({ roleMapping: { groups: { ops: ['no-such-role'] } } })).body.errors).toEqual([{ path: '/roleMapping/groups/ops/0', message: 'there is no role "no-such-role"' }]);
    const limited = (await api.key(orgId, ['identity-providers:*', 'runs:read', 'workflows:read'])).text;
    const { body } = await create();
    expect(await call('PATCH', `/v1/identity-providers/${body.id}`, { roleMapping: { default: ['admin'] } }, limited)).toMatchObject({ status: 403, body: { detail: expect.stringContaining('nobody hands on more than they have') } });
  });

  it('ask for the permission of each, and are one organisation\'s own', async () => {
    const { body } = await create();
    const path = `/v1/identity-providers/${body.id}`;
    const reader = (await api.key(orgId, ['identity-providers:read'])).text;
    expect((await call('GET', path, undefined, reader)).status).toBe(200);
    for (const [method, at] of [['POST', '/v1/identity-providers'], ['PATCH', path], ['DELETE', path], ['POST', `${path}/test`], ['POST', `${path}/domains`]] as const) expect((await call(method, at, {}, reader)).status).toBe(403);
    const stranger = (await api.key(await api.database.organisation())).text;
    for (const [method, at] of [['GET', path], ['PATCH', path], ['DELETE', path], ['POST', `${path}/test`], ['GET', `${path}/domains`]] as const) expect((await call(method, at, method === 'PATCH' ? {} : undefined, stranger)).status).toBe(404);
  });

  it('keep the last way in of the last owner', async () => {
    const own = await api.key(await api.database.organisation());
    const post = async () => (await call('POST', '/v1/identity-providers?test=false', { name: randomUUID(), settings: oidc() }, own.text)).body.id as string;
    const [first, second] = [await post(), await post()];
    const userId = randomUUID();
    await api.database.database.withOrg(own.orgId, async (tx) => {
      await tx.insertInto('users').values({ org_id: own.orgId, id: userId, user_name: 'owner', email: null, display_name: null, external_id: null, password_hash: null }).execute();
      await tx.insertInto('role_bindings').values({ org_id: own.orgId, id: randomUUID(), user_id: userId, team_id: null, role: 'owner', provider_id: null }).execute();
      for (const provider of [first, second]) await tx.insertInto('user_identities').values({ org_id: own.orgId, provider_id: provider, subject: 'owner', user_id: userId }).execute();
    });
    expect((await call('PATCH', `/v1/identity-providers/${first}`, { enabled: false }, own.text)).status).toBe(200);
    const refused = { status: 409, body: { detail: expect.stringContaining('no owner') } };
    expect(await call('PATCH', `/v1/identity-providers/${second}`, { enabled: false }, own.text)).toMatchObject(refused);
    expect(await call('DELETE', `/v1/identity-providers/${second}`, undefined, own.text)).toMatchObject(refused);
    expect((await call('GET', `/v1/identity-providers/${second}`, undefined, own.text)).body).toMatchObject({ enabled: true, version: 1 });
    expect((await call('DELETE', `/v1/identity-providers/${first}`, undefined, own.text)).status).toBe(204);
    await api.database.database.withOrg(own.orgId, (tx) => tx.updateTable('users').set({ password_hash: 'x' }).where('id', '=', userId).execute());
    expect((await call('DELETE', `/v1/identity-providers/${second}`, undefined, own.text)).status).toBe(204);
  });

  it('are found by an e-mail domain once the platform has confirmed it', async () => {
    // The first organisation of the installation runs it.
    const platform = await api.key((await api.database.database.systemPool.query<{ org_id: string }>('select org_id from organisations order by created_at limit 1')).rows[0]?.org_id ?? '');
    const [mine, theirs] = [await api.key(await api.database.organisation()), await api.key(await api.database.organisation())];
    const post = async (owner: TestKey) => (await call('POST', '/v1/identity-providers?test=false', { name: 'x', settings: oidc() }, owner.text)).body.id as string;
    const domains = `/v1/identity-providers/${await post(mine)}/domains`;
    expect(await call('POST', domains, { domain: 'Example.COM' }, mine.text)).toMatchObject({ status: 201, body: { domain: 'example.com', confirmedAt: null } });
    expect((await call('POST', domains, { domain: 'example.com' }, mine.text)).status).toBe(409);
    expect((await call('POST', domains, { domain: 'not a domain' }, mine.text)).status).toBe(422);
    expect((await call('GET', '/v1/sign-in/organisations?email=alice@example.com')).status).toBe(404);
    const confirm = (owner: TestKey, by = platform) => call('POST', `/v1/organisations/${owner.orgId}/domains/example.com/confirm`, undefined, by.text);
    expect((await confirm(mine, mine)).status).toBe(403);
    expect((await confirm(theirs)).status).toBe(404);
    expect(await confirm(mine)).toMatchObject({ status: 200, body: { confirmedAt: expect.any(String) } });
    expect((await call('GET', '/v1/sign-in/organisations?email=alice@EXAMPLE.com')).body).toEqual({ organisation: mine.orgId });
    await call('POST', `/v1/identity-providers/${await post(theirs)}/domains`, { domain: 'example.com' }, theirs.text);
    expect((await confirm(theirs)).status).toBe(409);
    expect((await call('GET', domains, undefined, mine.text)).body.items).toMatchObject([{ domain: 'example.com' }]);
    expect((await call('DELETE', `${domains}/example.com`, undefined, mine.text)).status).toBe(204);
    expect((await call('DELETE', `${domains}/example.com`, undefined, mine.text)).status).toBe(404);
    expect((await confirm(theirs)).status).toBe(200);
  });

  it('leave no secret in the log or, in the clear, in the database', async () => {
    expect(api.log.join('\n')).not.toContain(CANARY);
    const { rows } = await api.database.database.systemPool.query<{ row: string }>("select p::text || encode(coalesce(secrets, ''), 'escape') as row from identity_providers p");
    expect(rows.length).toBeGreaterThan(5);
    expect(JSON.stringify(rows)).not.toContain(CANARY);
  });
});
