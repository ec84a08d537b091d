import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTestApi, type TestApi, type TestKey } from '../api/running-api.ts';

const PASSWORD = 'a ladder of seven green herons';

/** A browser: keeps the cookie of its session and sends the token that pages of ours send. */
class Browser {
  readonly #url: string;
  cookie = '';
  #csrf = '';

  constructor(url: string) {
    this.#url = url;
  }

  async call(method: string, path: string, body?: unknown, headers: Record<string, string> = {}) {
    const response = await fetch(this.#url + path, {
      method,
      headers: { cookie: this.cookie, origin: this.#url, ...(this.#csrf === '' ? {} : { 'x-csrf-token': this.#csrf }), ...(body === undefined ? {} : { 'content-type': 'application/json' }), ...headers },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const set = response.headers.getSetCookie().at(-1);
    if (set !== undefined) this.cookie = set.split(';')[0] ?? '';
    const text = await response.text();
    return { status: response.status, body: text === '' ? undefined : JSON.parse(text) };
  }

  /** Reads who is signed in, and the token for what changes something. */
  async session() {
    const { status, body } = await this.call('GET', '/v1/session');
    this.#csrf = body?.csrfToken ?? '';
    return { status, body };
  }
}

describe('people in browsers', () => {
  let api: TestApi;
  let orgId: string;
  let key: TestKey;
  beforeAll(async () => {
    api = await startTestApi({ HAL9_RATE_LIMIT: '0' });
    orgId = await api.database.organisation('Acme');
    key = await api.key(orgId);
  });
  afterAll(() => api.stop());

  const asKey = async (method: string, path: string, body?: unknown) => {
    const response = await fetch(api.url + path, { method, headers: { authorization: `Bearer ${key.text}`, 'content-type': 'application/json' }, ...(body === undefined ? {} : { body: JSON.stringify(body) }) });
    return response.status === 204 ? undefined : JSON.parse(await response.text());
  };
  /** Accepts an invitation with these roles and is signed in by it. */
  const join = async (userName: string, roles: readonly string[]): Promise<{ browser: Browser; id: string }> => {
    const { link } = await asKey('POST', '/v1/invitations', { roles });
    const browser = new Browser(api.url);
    const token = String(link).split('/').at(-1);
    expect(await browser.call('POST', '/v1/sign-in/invitation', { token })).toMatchObject({ status: 200, body: { organisation: 'Acme', userName: null } });
    const accepted = await browser.call('POST', '/v1/sign-in/invitation/accept', { token, userName, displayName: null, password: PASSWORD });
    expect(accepted).toMatchObject({ status: 200, body: { kind: 'session' } });
    expect((await browser.call('POST', '/v1/sign-in/invitation/accept', { token, userName: `${userName}2`, displayName: null, password: PASSWORD })).status).toBe(404);
    const { body } = await browser.session();
    return { browser, id: body.actor.id };
  };

  it('come by an invitation and may what their roles say, until these are taken', async () => {
    const { browser, id } = await join('viewer', ['viewer']);
    expect(await browser.call('GET', '/v1/runs')).toMatchObject({ status: 200 });
    expect(await browser.call('GET', '/v1/users')).toMatchObject({ status: 403 });
    const [binding] = (await asKey('GET', `/v1/role-bindings?userId=${id}`)).items;
    await asKey('DELETE', `/v1/role-bindings/${binding.id}`);
    await expect.poll(async () => (await browser.call('GET', '/v1/runs')).status, { interval: 20 }).toBe(403);
    await asKey('POST', `/v1/users/${id}/deactivate`);
    await expect.poll(async () => (await browser.call('GET', '/v1/session')).status, { interval: 20 }).toBe(401);
  });

  it('have a role from where its conditions say only', async () => {
    const { browser, id } = await join('nomad', []);
    const here = (await asKey('POST', '/v1/role-bindings', { userId: id, role: 'operator', conditions: { networks: ['10.0.0.0/8'] } })).id;
    expect((await browser.call('GET', '/v1/runs')).status).toBe(403);
    await asKey('PUT', `/v1/role-bindings/${here}`, { conditions: { networks: ['127.0.0.0/8', '::1/128'] } });
    await expect.poll(async () => (await browser.call('GET', '/v1/runs')).status, { interval: 20 }).toBe(200);
    await asKey('PUT', `/v1/role-bindings/${here}`, { conditions: { resource: { type: ['remediate'] } } });
    await expect.poll(async () => (await browser.call('POST', '/v1/workflows/greet/runs', { input: {} })).status, { interval: 20 }).toBe(403);
    expect((await browser.call('POST', '/v1/workflows/remediate/runs', { input: {} })).status).toBe(422);
  });

  it('act below their own organisation if their role reaches, and nowhere else', async () => {
    const { browser: owner } = await join('owner', ['owner']);
    const { browser: admin } = await join('admin', ['admin']);
    const child = (await asKey('POST', '/v1/organisations', { name: 'child' })).id;
    const below = { 'hal9-organisation': child };
    expect(await owner.call('POST', '/v1/users', { userName: 'native' }, below)).toMatchObject({ status: 201 });
    expect((await owner.call('GET', '/v1/users', undefined, below)).body.items.map((user: { userName: string }) => user.userName)).toEqual(['native']);
    expect((await owner.call('GET', '/v1/users?search=native')).body.items).toEqual([]);
    expect((await admin.call('GET', '/v1/users', undefined, below)).status).toBe(403);
    const elsewhere = { 'hal9-organisation': await api.database.organisation('elsewhere') };
    expect((await owner.call('GET', '/v1/users', undefined, elsewhere)).status).toBe(403);
    const made = await owner.call('POST', '/v1/api-keys', { name: 'from above', scopes: ['users:read'] }, below);
    expect(made.status).toBe(201);
    const works = async () => (await fetch(`${api.url}/v1/users`, { headers: { authorization: `Bearer ${made.body.secret}` } })).status;
    expect(await works()).toBe(200);
    await asKey('POST', `/v1/organisations/${child}/suspend`);
    await expect.poll(works, { interval: 20 }).toBe(401);
    expect((await owner.call('GET', '/v1/users', undefined, below)).status).toBe(403);
  });

  it('act as somebody else, with what both may, until who acts is gone', async () => {
    const { browser: root } = await join('second owner', ['owner']);
    const { browser, id: adminId } = await join('helpful', ['admin']);
    const { id: operatorId } = await join('stuck', ['operator']);
    expect((await root.session()).body.scopes).toEqual(['*']);
    const begun = await browser.call('POST', `/v1/users/${operatorId}/impersonate`, { reason: 'ticket 4711' });
    expect(begun).toMatchObject({ status: 200, body: { sessionId: expect.any(String) } });
    const { body } = await browser.session();
    expect(body).toMatchObject({ id: begun.body.sessionId, actor: { kind: 'user', id: operatorId }, impersonatorId: adminId, method: 'impersonation' });
    expect(body.scopes).toContain('runs:write');
    expect((await browser.call('GET', '/v1/users')).status).toBe(403);
    expect((await browser.call('POST', `/v1/users/${operatorId}/impersonate`, { reason: 'again' })).status).toBe(403);
    const [binding] = (await asKey('GET', `/v1/role-bindings?userId=${adminId}`)).items;
    await asKey('POST', '/v1/role-bindings', { userId: adminId, role: 'viewer' });
    await asKey('DELETE', `/v1/role-bindings/${binding.id}`);
    await expect.poll(async () => (await browser.session()).body.scopes.includes('runs:write'), { interval: 20 }).toBe(false);
    await asKey('POST', `/v1/users/${adminId}/deactivate`);
    await expect.poll(async () => (await browser.call('GET', '/v1/session')).status, { interval: 20 }).toBe(401);
  });
});
