import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Tx } from '../../database/database.ts';
import { startTestApi, type TestApi } from '../api/running-api.ts';
import { URN } from '../../schemas/rest/scim.ts';

interface Answer {
  status: number;
  type: string | null;
  etag: string | null;
  location: string | null;
  body: Record<string, unknown> & { id: string; Resources: Record<string, unknown>[]; meta: { version: string; location: string }; members: { value: string }[] };
}

const PATCH = [URN.patch];

describe('SCIM', () => {
  let test: TestApi;
  let orgId: string;
  let key: string;

  beforeAll(async () => {
    test = await startTestApi();
    orgId = await test.database.organisation();
    key = (await test.key(orgId, ['scim:read', 'scim:write'])).text;
  });
  afterAll(() => test.stop());

  async function call(method: string, path: string, body?: unknown, options: { key?: string; headers?: Record<string, string> } = {}): Promise<Answer> {
    const response = await fetch(`${test.url}/scim/v2${path}`, {
      method,
      headers: { Authorization: `Bearer ${options.key ?? key}`, ...(body === undefined ? {} : { 'Content-Type': 'application/scim+json' }), ...options.headers },
      ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    });
    const text = await response.text();
    return { status: response.status, type: response.headers.get('content-type'), etag: response.headers.get('etag'), location: response.headers.get('location'), body: (text === '' ? {} : JSON.parse(text)) as Answer['body'] };
  }
  const search = (kind: 'Users' | 'Groups', filter: string, more = '') => call('GET', `/${kind}?filter=${encodeURIComponent(filter)}${more}`);
  const names = ({ body }: Answer): unknown[] => body.Resources.map((one) => one['userName'] ?? one['displayName']);
  const unique = (prefix: string): string => `${prefix}-${randomUUID().slice(0, 8)}`;
  const make = async (userName: string, more: object = {}): Promise<string> => {
    const made = await call('POST', '/Users', { schemas: [URN.user], userName, ...more });
    expect(made.status).toBe(201);
    return made.body.id;
  };
  const acts = (resourceId: string) =>
    test.database.database.withOrg(orgId, (tx) => tx.selectFrom('audit_acts').select(['action', 'result', 'details']).where('resource_id', '=', resourceId).orderBy('at').execute());
  const inOrg = (work: (tx: Tx) => Promise<void>): Promise<void> => test.database.database.withOrg(orgId, work);

  it('says what it can do', async () => {
    const config = await call('GET', '/ServiceProviderConfig');
    expect(config).toMatchObject({ status: 200, type: 'application/scim+json', body: { patch: { supported: true }, bulk: { supported: false }, etag: { supported: true } } });
    const kinds = await call('GET', '/ResourceTypes');
    expect(kinds.body.Resources.map((one) => one['id'])).toEqual(['User', 'Group']);
    expect((await call('GET', '/ResourceTypes/User')).body).toMatchObject({ endpoint: '/Users', schema: URN.user });
    const described = await call('GET', '/Schemas');
    expect(described.body.Resources.map((one) => one['id'])).toEqual([URN.user, URN.enterprise, URN.group]);
    expect((await call('GET', `/Schemas/${URN.user}`)).body).toMatchObject({ name: 'User' });
    expect((await call('GET', '/Schemas/urn:nothing')).status).toBe(404);
  });

  it('gives nobody more than an administrator has: no team of a custom role that can do all, no mail of who has it', async () => {
    const [mighty, modest] = [unique('mighty'), unique('modest')];
    const [manager, admins, mine] = [await make(unique('manager')), unique('admins'), await make(unique('mine'))];
    const groups = await Promise.all([mighty, modest, admins].map(async (displayName) => (await call('POST', '/Groups', { schemas: [URN.group], displayName })).body.id));
    const [all, billing, normal] = groups as [string, string, string];
    await inOrg(async (tx) => {
      await tx.insertInto('roles').values([{ org_id: orgId, name: 'deputy', scopes: [], inherits: ['all-powerful'] }, { org_id: orgId, name: 'all-powerful', scopes: ['*'] }, { org_id: orgId, name: 'bookkeeper', scopes: ['billing:write'] }]).execute();
      await tx
        .insertInto('role_bindings')
        .values([{ team_id: all, role: 'deputy' }, { team_id: billing, role: 'bookkeeper' }, { team_id: normal, role: 'admin' }].map((binding) => ({ org_id: orgId, id: randomUUID(), user_id: null, provider_id: null, ...binding })))
        .execute();
      await tx.insertInto('role_bindings').values({ org_id: orgId, id: randomUUID(), user_id: manager, team_id: null, role: 'bookkeeper', provider_id: null }).execute();
    });
    const join = (group: string) => call('PATCH', `/Groups/${group}`, { schemas: PATCH, Operations: [{ op: 'add', path: 'members', value: [{ value: mine }] }] });
    for (const group of [all, billing]) {
      expect(await join(group)).toMatchObject({ status: 403, body: { scimType: 'mutability' } });
      expect((await call('PUT', `/Groups/${group}`, { schemas: [URN.group], displayName: unique('x'), members: [{ value: mine }] })).status).toBe(403);
    }
    expect(await join(normal)).toMatchObject({ status: 200, body: { members: [{ value: mine }] } });
    const change = (path: string, value: unknown) => call('PATCH', `/Users/${manager}`, { schemas: PATCH, Operations: [{ op: 'replace', path, value }] });
    expect((await change('emails[type eq "work"].value', 'mine@example.com')).status).toBe(403);
    expect((await change('userName', unique('renamed'))).status).toBe(403);
    expect((await change('title', 'Head of books')).status).toBe(200);
    expect((await change('active', false)).status).toBe(200);
  });

  it('is closed to everybody without the scope, and says so in its own format', async () => {
    const other = (await test.key(orgId, ['users:read'])).text;
    const reader = (await test.key(orgId, ['scim:read'])).text;
    expect(await call('GET', '/Users', undefined, { key: 'wrong' })).toMatchObject({ status: 401, type: 'application/scim+json', body: { schemas: [URN.error], status: '401' } });
    expect(await call('GET', '/Users', undefined, { key: other })).toMatchObject({ status: 403, body: { status: '403' } });
    expect((await call('POST', '/Users', { userName: 'x' }, { key: reader })).status).toBe(403);
    expect(await call('POST', '/Users', '{"userName": ')).toMatchObject({ status: 400, body: { scimType: 'invalidSyntax' } });
    expect(await call('POST', '/Users', { schemas: [URN.user] })).toMatchObject({ status: 400, body: { scimType: 'invalidValue' } });
    expect(await call('POST', '/Bulk', {})).toMatchObject({ status: 404, type: 'application/scim+json' });
  });

  it('keeps what a client writes, and gives it back', async () => {
    const userName = unique('ada');
    const made = await call('POST', '/Users', {
      schemas: [URN.user, URN.enterprise],
      userName,
      externalId: 'ext-1',
      name: { givenName: 'Ada', familyName: 'Lovelace' },
      emails: [{ value: `${userName}@example.com`, type: 'work', primary: true }, { value: `${userName}@home.example`, type: 'home' }],
      title: 'Countess',
      password: 'never kept',
      phoneNumbers: [{ value: '1', type: 'work' }],
      [URN.enterprise]: { department: 'Engines', manager: { value: 'm-1' } },
    });
    expect(made).toMatchObject({ status: 201, type: 'application/scim+json', location: made.body.meta.location, etag: made.body.meta.version });
    expect(made.body).toMatchObject({ userName, externalId: 'ext-1', displayName: 'Ada Lovelace', active: true, title: 'Countess', name: { givenName: 'Ada' }, [URN.enterprise]: { department: 'Engines', manager: { value: 'm-1' } }, groups: [] });
    expect(JSON.stringify(made.body)).not.toContain('never kept');
    expect((await call('GET', `/Users/${made.body.id}`)).body).toEqual(made.body);
    expect(await call('GET', `/Users/${made.body.id}`, undefined, { headers: { 'If-None-Match': made.body.meta.version } })).toMatchObject({ status: 304 });
    expect(await call('POST', '/Users', { userName: userName.toUpperCase() })).toMatchObject({ status: 409, body: { scimType: 'uniqueness', status: '409' } });
    const found = await call('GET', `/Users/${made.body.id}?attributes=userName,emails.value`);
    expect(found.body).toEqual({ schemas: made.body['schemas'], id: made.body.id, userName, emails: [{ value: `${userName}@example.com` }, { value: `${userName}@home.example` }] });
    expect((await call('GET', `/Users/${made.body.id}?excludedAttributes=emails,name.givenName`)).body).not.toHaveProperty('emails');
    expect(await acts(made.body.id)).toEqual([{ action: 'user.create', result: 'succeeded', details: { by: 'scim', active: true } }]);
  });

  it('searches, sorts and pages', async () => {
    const mark = unique('s');
    for (const [letter, department, active] of [['a', 'North', true], ['b', 'South', true], ['c', 'north', false]] as const) {
      await make(`${mark}-${letter}`, { active, title: mark, name: { familyName: `F${letter}` }, emails: [{ value: `${letter}@${mark}.example`, type: letter === 'b' ? 'home' : 'work' }], [URN.enterprise]: { department } });
    }
    const all = [`${mark}-a`, `${mark}-b`, `${mark}-c`];
    const expected: [string, string[]][] = [
      [`userName eq "${mark}-A"`, [`${mark}-a`]],
      [`title eq "${mark}" and active eq false`, [`${mark}-c`]],
      [`title eq "${mark}" and not (active eq true)`, [`${mark}-c`]],
      [`title eq "${mark}" and (userName ew "-a" or userName ew "-b")`, [`${mark}-a`, `${mark}-b`]],
      [`emails.value co "@${mark}"`, all],
      [`emails co "b@${mark}"`, [`${mark}-b`]],
      [`emails[type eq "work" and value sw "c@${mark}"]`, [`${mark}-c`]],
      [`emails[type eq "work" and value sw "b@${mark}"]`, []],
      [`title eq "${mark}" and ${URN.enterprise}:department eq "NORTH"`, [`${mark}-a`, `${mark}-c`]],
      [`${URN.user}:title eq "${mark}" and name.familyName gt "FA"`, [`${mark}-b`, `${mark}-c`]],
      [`title eq "${mark}" and nickName pr`, []],
      [`title eq "${mark}" and nickName eq null`, all],
      [`title eq "${mark}" and title ne "x"`, all],
      [`title eq "${mark}" and meta.created gt "2020-01-01T00:00:00Z" and meta.lastModified le "2999-01-01T00:00:00Z"`, all],
      [`userName sw "${mark}'; drop table users; --"`, []],
      [`userName sw "${mark}%"`, []],
    ];
    for (const [filter, wanted] of expected) expect(names(await search('Users', filter)), filter).toEqual(wanted);
    const mine = `title eq "${mark}"`;
    expect(names(await search('Users', mine, '&sortBy=userName&sortOrder=descending'))).toEqual([...all].reverse());
    expect(names(await search('Users', mine, '&sortBy=emails.value'))).toEqual(all);
    const second = await search('Users', mine, '&startIndex=2&count=1');
    expect(second.body).toMatchObject({ schemas: [URN.list], totalResults: 3, startIndex: 2, itemsPerPage: 1 });
    expect(names(second)).toEqual([`${mark}-b`]);
    expect((await search('Users', mine, '&count=0')).body).toMatchObject({ totalResults: 3, itemsPerPage: 0, Resources: [] });
    expect((await search('Users', mine, '&startIndex=-3&count=-1')).body).toMatchObject({ startIndex: 1, itemsPerPage: 0 });
    expect(names(await call('POST', '/Users/.search', { schemas: [URN.search], filter: mine, attributes: ['userName'] }))).toEqual(all);
    for (const bad of ['userName', 'shoeSize eq "5"', 'active eq "x"', 'active co true', 'userName eq 5', 'meta.created eq "yesterday"', 'name[givenName eq "x"]', 'emails[shoe eq "x"]', 'emails.shoe eq "x"', '__proto__ eq "x"', 'constructor.name eq "x"']) {
      expect(await search('Users', bad), bad).toMatchObject({ status: 400, body: { scimType: 'invalidFilter' } });
    }
    expect((await search('Users', mine, '&sortBy=shoeSize')).status).toBe(400);
  });

  it('changes with versions', async () => {
    const id = await make(unique('etag'));
    const before = await call('GET', `/Users/${id}`);
    const rename = (displayName: string, match: string) => call('PATCH', `/Users/${id}`, { schemas: PATCH, Operations: [{ op: 'replace', path: 'displayName', value: displayName }] }, { headers: { 'If-Match': match } });
    const [one, other] = await Promise.all([rename('one', String(before.etag)), rename('other', String(before.etag))]);
    expect(new Set([one.status, other.status])).toEqual(new Set([200, 412]));
    expect((await rename('any', '*')).status).toBe(200);
    expect(await call('DELETE', `/Users/${id}`, undefined, { headers: { 'If-Match': String(before.etag) } })).toMatchObject({ status: 412, body: { status: '412' } });
    expect((await call('DELETE', `/Users/${id}`)).status).toBe(204);
    expect((await call('GET', `/Users/${id}`)).status).toBe(404);
    expect((await call('DELETE', `/Users/${id}`)).status).toBe(404);
    expect((await call('GET', '/Users/not-an-id')).status).toBe(404);
    expect((await acts(id)).map((act) => act.action)).toEqual(['user.create', 'user.change', 'user.change', 'user.delete']);
  });

  it('replaces, and refuses what would not be valid', async () => {
    const userName = unique('put');
    const id = await make(userName, { title: 'before', externalId: 'x' });
    const put = await call('PUT', `/Users/${id}`, { schemas: [URN.user], id, userName, active: 'False', emails: [{ value: 'put@example.com' }] });
    expect(put.body).toMatchObject({ active: false, emails: [{ value: 'put@example.com' }] });
    expect(put.body).not.toHaveProperty('title');
    expect(put.body).not.toHaveProperty('externalId');
    const patch = (operation: object) => call('PATCH', `/Users/${id}`, { schemas: PATCH, Operations: [operation] });
    expect(await patch({ op: 'remove', path: 'userName' })).toMatchObject({ status: 400, body: { scimType: 'invalidValue' } });
    expect(await patch({ op: 'replace', path: 'emails[primary eq true].value', value: 'x' })).toMatchObject({ status: 400 });
    expect(await patch({ op: 'replace', path: 'shoeSize', value: 5 })).toMatchObject({ status: 400, body: { scimType: 'invalidPath' } });
    expect(await patch({ op: 'replace', path: 'id', value: 'x' })).toMatchObject({ status: 400, body: { scimType: 'mutability' } });
    expect(await patch({ op: 'jump', path: 'title', value: 'x' })).toMatchObject({ status: 400 });
    expect(await patch({ op: 'replace', path: 'title', value: 'a\0b' })).toMatchObject({ status: 400, body: { scimType: 'invalidValue' } });
    expect((await call('PUT', `/Users/${randomUUID()}`, { userName: 'x' })).status).toBe(404);
  });

  it('serves the requests of Okta', async () => {
    const login = `${unique('okta')}@example.com`;
    expect((await search('Users', `userName eq "${login}"`, '&startIndex=1&count=100')).body.totalResults).toBe(0);
    const made = await call('POST', '/Users', {
      schemas: [URN.user],
      userName: login,
      name: { givenName: 'Grace', familyName: 'Hopper' },
      emails: [{ primary: true, value: login, type: 'work' }],
      displayName: 'Grace Hopper',
      locale: 'en-US',
      externalId: '00ujl29u0le5T6Aj10h7',
      groups: [],
      password: '1mz050nq',
      active: true,
    });
    expect(made.status).toBe(201);
    const id = made.body.id;
    const group = await call('POST', '/Groups', { schemas: [URN.group], displayName: unique('Okta group'), members: [{ value: id, display: login }] });
    expect(group.status).toBe(201);
    expect((await call('GET', `/Users/${id}`)).body['groups']).toMatchObject([{ value: group.body.id }]);
    const renamed = await call('PATCH', `/Groups/${group.body.id}`, { schemas: PATCH, Operations: [{ op: 'replace', value: { id: group.body.id, displayName: `${String(group.body['displayName'])} 2` } }] });
    expect(renamed.body).toMatchObject({ displayName: `${String(group.body['displayName'])} 2`, members: [{ value: id }] });
    await call('PATCH', `/Groups/${group.body.id}`, { schemas: PATCH, Operations: [{ op: 'remove', path: `members[value eq "${id}"]` }] });
    expect((await call('GET', `/Groups/${group.body.id}`)).body.members).toEqual([]);
    await call('PATCH', `/Groups/${group.body.id}`, { schemas: PATCH, Operations: [{ op: 'add', path: 'members', value: [{ value: id, display: login }] }] });
    expect((await search('Groups', `members.value eq "${id}"`)).body.Resources).toMatchObject([{ id: group.body.id }]);
    const off = await call('PATCH', `/Users/${id}`, { schemas: PATCH, Operations: [{ op: 'replace', value: { active: false } }] });
    expect(off.body['active']).toBe(false);
    expect((await acts(id)).map((act) => act.action)).toEqual(['user.create', 'user.deactivate']);
    expect((await call('DELETE', `/Groups/${group.body.id}`)).status).toBe(204);
  });

  it('serves the requests of Entra ID', async () => {
    const login = `${unique('entra')}@example.com`;
    expect((await search('Users', `externalId eq "${login}"`)).body).toMatchObject({ totalResults: 0, Resources: [] });
    const made = await call('POST', '/Users', {
      schemas: [URN.user, URN.enterprise],
      externalId: login,
      userName: login,
      active: true,
      emails: [{ primary: true, type: 'work', value: login }],
      addresses: [{ type: 'work', formatted: 'x' }],
      meta: { resourceType: 'User' },
      name: { formatted: 'given family', familyName: 'family', givenName: 'given' },
      roles: [],
    });
    expect(made.status).toBe(201);
    const id = made.body.id;
    const changed = await call('PATCH', `/Users/${id}`, {
      schemas: PATCH,
      Operations: [
        { op: 'Replace', path: 'emails[type eq "work"].value', value: `new-${login}` },
        { op: 'Add', path: 'name.familyName', value: 'updated' },
        { op: 'Add', path: 'phoneNumbers[type eq "work"].value', value: '1' },
        { op: 'Add', path: `${URN.enterprise}:department`, value: 'R&D' },
        { op: 'Add', path: `${URN.enterprise}:manager`, value: 'manager-id' },
        { op: 'Replace', path: 'active', value: 'False' },
      ],
    });
    expect(changed.status).toBe(200);
    expect(changed.body).toMatchObject({ active: false, emails: [{ value: `new-${login}` }], name: { familyName: 'updated' }, [URN.enterprise]: { department: 'R&D', manager: { value: 'manager-id' } } });
    const groupName = unique('Entra group');
    const group = await call('POST', '/Groups', { schemas: [URN.group, 'http://schemas.microsoft.com/2006/11/ResourceManagement/ADSCIM/2.0/Group'], externalId: 'g-1', displayName: groupName, meta: { resourceType: 'Group' } });
    expect(group.status).toBe(201);
    const found = await search('Groups', `displayName eq "${groupName}"`, '&excludedAttributes=members');
    expect(found.body.Resources[0]).not.toHaveProperty('members');
    const path = `/Groups/${group.body.id}`;
    expect((await call('PATCH', path, { schemas: PATCH, Operations: [{ op: 'Add', path: 'members', value: [{ $ref: null, value: id }] }] })).body.members).toMatchObject([{ value: id }]);
    expect((await call('PATCH', path, { schemas: PATCH, Operations: [{ op: 'Remove', path: 'members', value: [{ $ref: null, value: id }] }] })).body.members).toEqual([]);
    expect(await call('PATCH', path, { schemas: PATCH, Operations: [{ op: 'Add', path: 'members', value: [{ value: randomUUID() }] }] })).toMatchObject({ status: 400, body: { scimType: 'invalidValue' } });
    expect(await call('POST', '/Groups', { displayName: groupName.toUpperCase() })).toMatchObject({ status: 409, body: { scimType: 'uniqueness' } });
    expect((await call('DELETE', `/Users/${id}`)).status).toBe(204);
  });

  it('ends keys of the person at once, and leaves the last owner', async () => {
    const owner = await make(unique('owner'), { emails: [{ value: 'owner@example.com' }] });
    const person = await make(unique('leaver'));
    const [binding, keyOfPerson] = [randomUUID(), await test.key(orgId, ['scim:read'])];
    await inOrg(async (tx) => {
      await tx.insertInto('role_bindings').values({ org_id: orgId, id: binding, user_id: owner, role: 'owner' }).execute();
      await tx.updateTable('api_keys').set({ created_by_org: orgId, created_by_user: person }).where('id', '=', keyOfPerson.id).execute();
    });
    expect((await call('GET', '/ServiceProviderConfig', undefined, { key: keyOfPerson.text })).status).toBe(200);
    expect((await call('PATCH', `/Users/${person}`, { schemas: PATCH, Operations: [{ op: 'replace', path: 'active', value: false }] })).status).toBe(200);
    await expect.poll(async () => (await call('GET', '/ServiceProviderConfig', undefined, { key: keyOfPerson.text })).status, { interval: 20 }).toBe(401);
    expect(await call('PATCH', `/Users/${owner}`, { schemas: PATCH, Operations: [{ op: 'replace', path: 'active', value: false }] })).toMatchObject({ status: 409 });
    expect(await call('DELETE', `/Users/${owner}`)).toMatchObject({ status: 409 });
    expect((await call('GET', `/Users/${owner}`)).body['active']).toBe(true);
  });

  it('leaves the address of an owner, and the teams that make owners, to people', async () => {
    const person = await make(unique('person'));
    const owner = await make(unique('second-owner'), { emails: [{ value: 'second@example.com' }] });
    const team = await call('POST', '/Groups', { displayName: unique('owners'), members: [{ value: owner }] });
    const below = randomUUID();
    await inOrg(async (tx) => {
      await tx.insertInto('role_bindings').values({ org_id: orgId, id: randomUUID(), team_id: team.body.id, role: 'owner' }).execute();
      await tx.insertInto('teams').values({ org_id: orgId, id: below, name: unique('below'), parent_id: team.body.id }).execute();
    });
    const add = (id: string) => call('PATCH', `/Groups/${id}`, { schemas: PATCH, Operations: [{ op: 'add', path: 'members', value: [{ value: person }] }] });
    expect(await add(team.body.id)).toMatchObject({ status: 403, body: { scimType: 'mutability' } });
    expect((await add(below)).status).toBe(403);
    expect((await call('DELETE', `/Groups/${team.body.id}`)).status).toBe(403);
    const steal = (operation: object) => call('PATCH', `/Users/${owner}`, { schemas: PATCH, Operations: [operation] });
    expect((await steal({ op: 'replace', path: 'emails[primary eq true].value', value: 'thief@example.com' })).status).toBe(403);
    expect((await steal({ op: 'replace', path: 'userName', value: 'thief' })).status).toBe(403);
    expect((await steal({ op: 'replace', path: 'title', value: 'Chair' })).status).toBe(200);
    expect((await call('GET', `/Users/${owner}`)).body).toMatchObject({ emails: [{ value: 'second@example.com' }], title: 'Chair' });
  });

  it('shows nothing of another organisation', async () => {
    const elsewhere = await test.database.organisation();
    const foreign = (await test.key(elsewhere, ['scim:read', 'scim:write'])).text;
    const id = await make(unique('hidden'));
    const group = await call('POST', '/Groups', { displayName: unique('hidden group') });
    const as = { key: foreign };
    expect((await call('GET', '/Users', undefined, as)).body.totalResults).toBe(0);
    for (const path of [`/Users/${id}`, `/Groups/${group.body.id}`]) {
      expect((await call('GET', path, undefined, as)).status).toBe(404);
      expect((await call('PATCH', path, { schemas: PATCH, Operations: [{ op: 'replace', path: 'displayName', value: 'x' }] }, as)).status).toBe(404);
      expect((await call('DELETE', path, undefined, as)).status).toBe(404);
    }
    const theirs = await call('POST', '/Groups', { displayName: 'theirs', members: [{ value: id }] }, as);
    expect(theirs).toMatchObject({ status: 400, body: { scimType: 'invalidValue' } });
    const unknown = await call('POST', '/Groups', { displayName: 'theirs', members: [{ value: randomUUID() }] }, as);
    expect(unknown.body).toEqual(theirs.body);
    expect((await call('POST', '/Users', { userName: (await call('GET', `/Users/${id}`)).body['userName'] }, as)).status).toBe(201);
  });
});
