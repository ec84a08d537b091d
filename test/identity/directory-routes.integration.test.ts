import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTestApi, type TestApi, type TestKey } from '../api/running-api.ts';

describe('users, teams, roles, organisations and invitations over REST', () => {
  let api: TestApi;
  let mine: TestKey;
  let other: TestKey;
  beforeAll(async () => {
    api = await startTestApi({ HAL9_RATE_LIMIT: '0', HAL9_PUBLIC_URL: 'https://hal9.example' });
    await api.database.organisation('platform');
    mine = await api.key(await api.database.organisation('mine'));
    other = await api.key(await api.database.organisation('other'));
  });
  afterAll(() => api.stop());

  const call = async (method: string, path: string, body?: unknown, key: TestKey = mine) => {
    const response = await fetch(api.url + path, { method, headers: { authorization: `Bearer ${key.text}`, ...(body === undefined ? {} : { 'content-type': 'application/json' }) }, ...(body === undefined ? {} : { body: JSON.stringify(body) }) });
    const text = await response.text();
    return { status: response.status, location: response.headers.get('location'), body: text === '' ? undefined : JSON.parse(text) };
  };

  it('go the whole way, and the other organisation sees nothing of it', async () => {
    const user = (await call('POST', '/v1/users', { userName: 'ada', email: 'ada@example.org' })).body;
    expect(await call('PATCH', `/v1/users/${user.id}`, { displayName: 'Ada' })).toMatchObject({ status: 200, body: { displayName: 'Ada', email: 'ada@example.org' } });
    const team = await call('POST', '/v1/teams', { name: 'ops', features: { canary: true } });
    expect(team).toMatchObject({ status: 201, location: `/v1/teams/${team.body.id}`, body: { parentId: null } });
    expect(await call('POST', `/v1/teams/${team.body.id}/members`, { add: [user.id] })).toMatchObject({ status: 200, body: { members: [user.id] } });
    expect((await call('GET', `/v1/users?teamId=${team.body.id}&active=true&search=AD`)).body.items).toMatchObject([{ id: user.id }]);
    expect((await call('GET', `/v1/teams?userId=${user.id}`)).body.items).toMatchObject([{ id: team.body.id }]);
    expect(await call('PUT', `/v1/teams/${team.body.id}/shares/connections/c-1`, { access: 'read' })).toMatchObject({ status: 200, body: { shares: [{ kind: 'connections', id: 'c-1', access: 'read' }] } });
    expect(await call('GET', '/v1/features')).toMatchObject({ status: 200, body: { features: {} } });
    expect(await call('POST', '/v1/roles', { name: 'lead', inherits: ['viewer'], scopes: ['runs:write:type=greet'] })).toMatchObject({ status: 201, body: { predefined: false } });
    expect((await call('GET', '/v1/roles')).body.items.map((role: { name: string }) => role.name)).toEqual(['viewer', 'operator', 'developer', 'admin', 'owner', 'lead']);
    const binding = (await call('POST', '/v1/role-bindings', { teamId: team.body.id, role: 'lead', conditions: { networks: ['10.0.0.0/8'] } })).body;
    expect(await call('PUT', `/v1/role-bindings/${binding.id}`, { conditions: { maxRisk: 40 } })).toMatchObject({ status: 200, body: { conditions: { maxRisk: 40 } } });
    const child = (await call('POST', '/v1/organisations', { name: 'child' })).body;
    expect(child).toMatchObject({ parentId: mine.orgId, suspendedAt: null });
    const invitation = (await call('POST', '/v1/invitations', { email: 'new@example.org', roles: ['lead'] })).body;
    expect(invitation).toMatchObject({ link: expect.stringMatching(/^https:\/\/hal9\.example\/invitations\/[\w-]{43}$/), mailFailure: null, invitedBy: null });
    expect((await call('GET', '/v1/invitations?open=true')).body.items[0]).not.toHaveProperty('link');

    const paths = [`/v1/users/${user.id}`, `/v1/teams/${team.body.id}`, `/v1/teams/${team.body.id}/members`, `/v1/teams/${team.body.id}/shares`, '/v1/roles/lead', `/v1/role-bindings/${binding.id}`, `/v1/organisations/${child.id}`, `/v1/invitations/${invitation.id}`];
    for (const path of paths) expect([path, (await call('GET', path)).status, (await call('GET', path, undefined, other)).status]).toEqual([path, 200, 404]);
    for (const [method, path, body] of [
      ['PATCH', `/v1/users/${user.id}`, { displayName: 'x' }], ['POST', `/v1/users/${user.id}/deactivate`], ['POST', `/v1/users/${user.id}/activate`], ['DELETE', `/v1/users/${user.id}`],
      ['PATCH', `/v1/teams/${team.body.id}`, { name: 'x' }], ['POST', `/v1/teams/${team.body.id}/members`, { remove: [user.id] }], ['DELETE', `/v1/teams/${team.body.id}`], ['PUT', `/v1/teams/${team.body.id}/shares/runs/r`, { access: 'read' }], ['DELETE', `/v1/teams/${team.body.id}/shares/connections/c-1`],
      ['PUT', '/v1/roles/lead', {}], ['DELETE', '/v1/roles/lead'], ['PUT', `/v1/role-bindings/${binding.id}`, { conditions: {} }], ['DELETE', `/v1/role-bindings/${binding.id}`],
      ['PATCH', `/v1/organisations/${child.id}`, { name: 'x' }], ['POST', `/v1/organisations/${child.id}/move`, { parentId: other.orgId }], ['POST', `/v1/organisations/${child.id}/suspend`], ['POST', `/v1/organisations/${child.id}/resume`], ['DELETE', `/v1/invitations/${invitation.id}`],
    ] as const) {
      expect([method, path, (await call(method, path, body, other)).status]).toEqual([method, path, 404]);
    }
    for (const path of ['/v1/users', '/v1/teams', '/v1/role-bindings', '/v1/invitations']) expect([path, (await call('GET', path, undefined, other)).body.items]).toEqual([path, []]);
    expect((await call('GET', '/v1/organisations', undefined, other)).body.items.map((one: { id: string }) => one.id)).toEqual([other.orgId]);

    expect((await call('DELETE', `/v1/teams/${team.body.id}/shares/connections/c-1`)).status).toBe(204);
    expect((await call('DELETE', `/v1/role-bindings/${binding.id}`)).status).toBe(204);
    expect((await call('DELETE', '/v1/roles/lead')).status).toBe(204);
    expect(await call('DELETE', `/v1/invitations/${invitation.id}`)).toMatchObject({ status: 200, body: { revokedAt: expect.any(String) } });
    expect((await call('PATCH', `/v1/teams/${team.body.id}`, { features: {} })).body.features).toEqual({});
    expect((await call('DELETE', `/v1/teams/${team.body.id}`)).status).toBe(204);
    expect((await call('POST', `/v1/users/${user.id}/deactivate`)).body.active).toBe(false);
    expect((await call('POST', `/v1/users/${user.id}/activate`)).body.active).toBe(true);
    expect((await call('DELETE', `/v1/users/${user.id}`)).status).toBe(204);
    expect((await call('PATCH', `/v1/organisations/${child.id}`, { slug: 'child' })).body.slug).toBe('child');
  });

  it('page by page', async () => {
    for (let count = 0; count < 5; count += 1) {
      await call('POST', '/v1/users', { userName: `page-${count}` }, other);
      await call('POST', '/v1/teams', { name: `page-${count}` }, other);
      await call('POST', '/v1/invitations', {}, other);
      await call('POST', '/v1/organisations', { name: `page-${count}` }, other);
      const [user] = (await call('GET', `/v1/users?search=page-${count}`, undefined, other)).body.items;
      await call('POST', '/v1/role-bindings', { userId: user.id, role: 'viewer' }, other);
    }
    for (const [path, total] of [['/v1/users', 5], ['/v1/teams', 5], ['/v1/invitations', 5], ['/v1/role-bindings', 5], ['/v1/organisations', 6]] as const) {
      const seen: string[] = [];
      for (let cursor = ''; ; ) {
        const { body } = await call('GET', `${path}?limit=2${cursor === '' ? '' : `&cursor=${cursor}`}`, undefined, other);
        seen.push(...body.items.map((item: { id: string }) => item.id));
        if (body.nextCursor === null) break;
        cursor = body.nextCursor;
      }
      expect([path, seen.length, new Set(seen).size]).toEqual([path, total, total]);
    }
  });

  it('refuse what is wrong by field and by state', async () => {
    expect(await call('POST', '/v1/users', { userName: 'has space' })).toMatchObject({ status: 422, body: { errors: [{ path: '/userName' }] } });
    expect(await call('POST', '/v1/role-bindings', { role: 'viewer' })).toMatchObject({ status: 422, body: { errors: [{ path: '/userId' }] } });
    expect(await call('POST', '/v1/invitations', { connection: 'mail' })).toMatchObject({ status: 422, body: { errors: [{ path: '/email' }] } });
    expect(await call('POST', '/v1/organisations', { name: 'x', slug: 'Not a slug' })).toMatchObject({ status: 422, body: { errors: [{ path: '/slug' }] } });
    const owner = (await call('POST', '/v1/users', { userName: 'owner' })).body;
    expect((await call('POST', '/v1/users', { userName: 'OWNER' })).status).toBe(409);
    const binding = (await call('POST', '/v1/role-bindings', { userId: owner.id, role: 'owner' })).body;
    const last = { status: 409, body: { detail: 'the organisation would have no owner; make somebody else an owner first' } };
    expect(await call('DELETE', `/v1/role-bindings/${binding.id}`)).toMatchObject(last);
    expect(await call('POST', `/v1/users/${owner.id}/deactivate`)).toMatchObject(last);
    expect(await call('DELETE', `/v1/users/${owner.id}`)).toMatchObject(last);
    expect(await call('POST', `/v1/organisations/${mine.orgId}/suspend`)).toMatchObject({ status: 403 });
    const modest = await api.key(mine.orgId, ['users:*', 'roles:*']);
    expect(await call('PATCH', `/v1/users/${owner.id}`, { displayName: 'x' }, modest)).toMatchObject({ status: 403 });
    expect(await call('POST', '/v1/role-bindings', { userId: owner.id, role: 'viewer' }, modest)).toMatchObject({ status: 403 });
    expect((await call('GET', '/v1/teams', undefined, modest)).status).toBe(403);
  });

  it('open one resource to whom it was shared with, and no other', async () => {
    const ids = [];
    for (const name of ['one', 'two']) ids.push((await call('POST', '/v1/users', { userName: `shared-${name}` })).body.id);
    const guest = await api.key(mine.orgId, [`users:read:id=${ids[0]}`, `users:write:id=${ids[0]}`]);
    expect(await Promise.all(ids.map(async (id) => (await call('GET', `/v1/users/${id}`, undefined, guest)).status))).toEqual([200, 403]);
    expect((await call('PATCH', `/v1/users/${ids[0]}`, { displayName: 'Guest' }, guest)).status).toBe(200);
    expect((await call('PATCH', `/v1/users/${ids[1]}`, { displayName: 'Guest' }, guest)).body.detail).toBe('needs the permission users:write');
    expect((await call('GET', '/v1/users', undefined, guest)).status).toBe(403);
  });

  it('stop a suspended organisation\'s keys at once', async () => {
    const child = (await call('POST', '/v1/organisations', { name: 'stopped' })).body;
    const key = await api.key(child.id);
    expect((await call('GET', '/v1/users', undefined, key)).status).toBe(200);
    await call('POST', `/v1/organisations/${child.id}/suspend`);
    await expect.poll(async () => (await call('GET', '/v1/users', undefined, key)).status, { interval: 20 }).toBe(401);
    await call('POST', `/v1/organisations/${child.id}/resume`);
    await expect.poll(async () => (await call('GET', '/v1/users', undefined, key)).status, { interval: 20 }).toBe(200);
  });
});
