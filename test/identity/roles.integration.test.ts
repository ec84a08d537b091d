import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { covers } from '../../platform/identity/permissions.ts';
import type { NewRole } from '../../database/roles.ts';
import { startDirectory, type TestDirectory } from './directory.ts';

const role = (name: string, draft: Partial<NewRole> = {}): NewRole => ({ name, description: '', inherits: [], scopes: [], reachesDescendants: false, ...draft });

describe('roles', () => {
  let house: TestDirectory;
  beforeAll(async () => {
    house = await startDirectory();
  });
  afterAll(() => house.stop());

  it('of HAL9 come first and cannot be changed', async () => {
    const admin = house.admin(await house.test.organisation());
    await house.book.create(admin, role('auditor', { scopes: ['audit:read'] }));
    expect((await house.book.list(admin)).map(({ name, predefined }) => [name, predefined])).toEqual([['viewer', true], ['operator', true], ['developer', true], ['admin', true], ['owner', true], ['auditor', false]]);
    for (const attempt of [() => house.book.create(admin, role('viewer')), () => house.book.replace(admin, role('admin')), () => house.book.remove(admin, 'owner')]) await expect(attempt()).rejects.toMatchObject({ type: 'Conflict' });
    expect((await house.book.get(admin, 'operator')).allScopes).toEqual(expect.arrayContaining(['runs:write', 'runs:read']));
  });

  it('are made, replaced and deleted, unless somebody needs them', async () => {
    const orgId = await house.test.organisation();
    const admin = house.admin(orgId);
    const person = await house.person(orgId, []);
    await house.book.create(admin, role('base', { scopes: ['runs:read'] }));
    expect(await house.book.create(admin, role('lead', { inherits: ['base'], scopes: ['runs:write:type=greet'] }))).toMatchObject({ allScopes: ['runs:write:type=greet', 'runs:read'], predefined: false });
    await expect(house.book.create(admin, role('lead'))).rejects.toMatchObject({ type: 'Conflict' });
    const binding = await house.bindings.create(admin, { userId: person.actor.id, role: 'lead', conditions: {} });
    expect([...(await house.in(person, orgId)).scopes].sort()).toEqual(['runs:read', 'runs:write:type=greet']);
    await house.book.replace(admin, role('base', { scopes: ['signals:read'] }));
    expect([...(await house.in(person, orgId)).scopes].sort()).toEqual(['runs:write:type=greet', 'signals:read']);
    await expect(house.book.remove(admin, 'base')).rejects.toMatchObject({ type: 'Conflict', message: 'inherited by lead' });
    await expect(house.book.remove(admin, 'lead')).rejects.toMatchObject({ type: 'Conflict', message: '1 binding names the role; delete them first' });
    await house.bindings.remove(admin, binding.id);
    await house.book.remove(admin, 'lead');
    await house.book.remove(admin, 'base');
    await expect(house.book.remove(admin, 'base')).rejects.toMatchObject({ type: 'NotFound' });
    await expect(house.book.replace(admin, role('base'))).rejects.toMatchObject({ type: 'NotFound' });
    expect((await house.acts(orgId)).map(({ action, resource }) => (action.startsWith('role.') ? `${action} ${resource}` : action))).toEqual([
      'user.create', 'role.create role:base', 'role.create role:lead', 'role-binding.create', 'role.change role:base', 'role-binding.delete', 'role.delete role:lead', 'role.delete role:base',
    ]);
  });

  it('refuse malformed scopes, unknown roles and rings', async () => {
    const admin = house.admin(await house.test.organisation());
    await house.book.create(admin, role('aa', { inherits: [] }));
    await house.book.create(admin, role('bb', { inherits: ['aa'] }));
    const refused: [NewRole, string][] = [
      [role('cc', { scopes: ['runs'] }), '/scopes/0'],
      [role('cc', { inherits: ['gone'] }), '/inherits'],
      [role('cc', { inherits: ['cc'] }), '/inherits'],
      [role('cc', { inherits: ['owner'] }), '/inherits'],
    ];
    for (const [draft, path] of refused) await expect(house.book.create(admin, draft)).rejects.toMatchObject({ type: 'InvalidInput', errors: [{ path }] });
    await expect(house.book.replace(admin, role('aa', { inherits: ['bb'] }))).rejects.toMatchObject({ errors: [{ message: 'the role would inherit itself' }] });
  });

  it('make no ring when two inherit each other at once', async () => {
    const admin = house.admin(await house.test.organisation());
    await house.book.create(admin, role('aa'));
    await house.book.create(admin, role('bb'));
    const both = await Promise.allSettled([house.book.replace(admin, role('aa', { inherits: ['bb'] })), house.book.replace(admin, role('bb', { inherits: ['aa'] }))]);
    expect(both.map((one) => one.status).sort()).toEqual(['fulfilled', 'rejected']);
  });

  it('grant nobody more than who gives them', async () => {
    const orgId = await house.test.organisation();
    const root = house.admin(orgId);
    const [admin, viewer] = [await house.person(orgId, ['admin']), await house.person(orgId, ['viewer'])];
    const forbidden = { type: 'Forbidden' };
    await expect(house.book.create(admin, role('mighty', { scopes: ['*'] }))).rejects.toMatchObject(forbidden);
    await expect(house.book.create(admin, role('mighty', { scopes: ['organisations:write'] }))).rejects.toMatchObject(forbidden);
    await expect(house.bindings.create(admin, { userId: admin.actor.id, role: 'owner', conditions: {} })).rejects.toMatchObject(forbidden);
    await expect(house.bindings.create(admin, { userId: admin.actor.id, role: 'owner', conditions: { maxRisk: 1 } })).rejects.toMatchObject(forbidden);
    await house.book.create(root, role('mighty', { scopes: ['organisations:write'] }));
    await expect(house.book.replace(admin, role('mighty', { scopes: ['runs:read'] }))).rejects.toMatchObject(forbidden);
    await expect(house.book.create(admin, role('heir', { inherits: ['mighty'] }))).rejects.toMatchObject(forbidden);
    const given = await house.bindings.create(root, { userId: viewer.actor.id, role: 'mighty', conditions: {} });
    await expect(house.bindings.remove(admin, given.id)).rejects.toMatchObject(forbidden);
    await expect(house.bindings.setConditions(admin, given.id, {})).rejects.toMatchObject(forbidden);
    await house.book.create(admin, role('modest', { scopes: ['users:read'] }));
    await house.bindings.create(admin, { userId: viewer.actor.id, role: 'modest', conditions: {} });
    const bindings = await house.bindings.list(root, { userId: viewer.actor.id }, 10);
    expect(bindings.map((binding) => binding.role)).toEqual(['modest', 'mighty', 'viewer']);
    await expect(house.book.create(admin, role('far', { scopes: ['users:read'], reachesDescendants: true }))).rejects.toMatchObject(forbidden);
    expect(await house.book.create(await house.person(orgId, ['owner']), role('far', { scopes: ['users:read'], reachesDescendants: true }))).toMatchObject({ reachesDescendants: true });
    await expect(house.bindings.create(admin, { userId: viewer.actor.id, role: 'far', conditions: {} })).rejects.toMatchObject(forbidden);
  });

  it('that count under conditions only are not handed on', async () => {
    const orgId = await house.test.organisation();
    const root = house.admin(orgId);
    const person = await house.person(orgId, ['viewer']);
    await house.bindings.create(root, { userId: person.actor.id, role: 'admin', conditions: { networks: ['127.0.0.0/8'] } });
    const now = await house.in(person, orgId);
    expect(covers(now.scopes, 'roles:write')).toBe(true);
    await expect(house.book.create(now, role('night', { scopes: ['users:read'] }))).rejects.toMatchObject({ type: 'Forbidden' });
    await expect(house.bindings.create(now, { userId: person.actor.id, role: 'operator', conditions: {} })).rejects.toMatchObject({ type: 'Forbidden' });
    expect(await house.bindings.create(now, { userId: person.actor.id, role: 'viewer', conditions: {} })).toMatchObject({ role: 'viewer' });
  });

  it('that another inherits to reach down are not made larger by who has nothing below', async () => {
    const orgId = await house.test.organisation();
    const [owner, admin] = [await house.person(orgId, ['owner']), await house.person(orgId, ['admin'])];
    await house.book.create(admin, role('base', { scopes: ['runs:read'] }));
    await house.book.create(admin, role('support', { inherits: ['base'] }));
    await house.book.replace(owner, role('support', { inherits: ['base'], reachesDescendants: true }));
    await house.bindings.create(owner, { userId: admin.actor.id, role: 'support', conditions: {} });
    await expect(house.book.replace(admin, role('base', { scopes: ['users:*'] }))).rejects.toMatchObject({ type: 'Forbidden' });
    const below = await house.test.organisation();
    await house.test.database.system.updateTable('organisations').set({ parent_id: orgId }).where('org_id', '=', below).execute();
    expect((await house.in(admin, below)).scopes).toEqual(['runs:read']);
    expect(await house.book.replace(owner, role('base', { scopes: ['users:read'] }))).toMatchObject({ scopes: ['users:read'] });
  });

  it('are bound to people and teams that are there', async () => {
    const orgId = await house.test.organisation();
    const admin = house.admin(orgId);
    const stranger = house.admin(await house.test.organisation());
    const foreign = await house.users.create(stranger, { userName: 'foreign' });
    for (const draft of [{ userId: foreign.id }, { teamId: randomUUID() }]) await expect(house.bindings.create(admin, { ...draft, role: 'viewer', conditions: {} })).rejects.toMatchObject({ type: 'InvalidInput' });
    await expect(house.bindings.create(stranger, { userId: foreign.id, role: 'gone', conditions: {} })).rejects.toMatchObject({ errors: [{ path: '/role' }] });
    const binding = await house.bindings.create(stranger, { userId: foreign.id, role: 'viewer', conditions: { maxRisk: 20 } });
    for (const attempt of [() => house.bindings.get(admin, binding.id), () => house.bindings.setConditions(admin, binding.id, {}), () => house.bindings.remove(admin, binding.id)]) await expect(attempt()).rejects.toMatchObject({ type: 'NotFound' });
    expect(await house.bindings.setConditions(stranger, binding.id, { maxRisk: 30 })).toMatchObject({ conditions: { maxRisk: 30 } });
    expect(await house.bindings.list(admin, {}, 10)).toEqual([]);
    await expect(house.book.get(admin, 'nobody')).rejects.toMatchObject({ type: 'NotFound' });
  });

  it('keep the last owner', async () => {
    const orgId = await house.test.organisation();
    const owner = await house.person(orgId, ['owner']);
    const [binding] = await house.bindings.list(owner, {}, 1);
    await expect(house.bindings.remove(owner, binding!.id)).rejects.toMatchObject({ constraint: 'last_owner' });
    await expect(house.bindings.setConditions(owner, binding!.id, { maxRisk: 100 })).rejects.toMatchObject({ constraint: 'last_owner' });
  });
});
