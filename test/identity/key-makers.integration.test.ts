import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ApiKeys } from '../../platform/identity/api-keys.ts';
import { startDirectory, type TestDirectory } from './directory.ts';

describe('keys of people', () => {
  let house: TestDirectory;
  let keys: ApiKeys;
  let elsewhere: ApiKeys;
  beforeAll(async () => {
    house = await startDirectory();
    [keys, elsewhere] = [new ApiKeys(house.test.database), new ApiKeys(house.test.database)];
    keys.start();
    elsewhere.start();
  });
  afterAll(async () => {
    await keys.stop();
    await elsewhere.stop();
    await house.stop();
  });

  const works = async (secret: string): Promise<boolean> => (await elsewhere.authenticate(secret)) !== undefined;

  it('stop with the person, with what those keys made, and do not come back', async () => {
    const orgId = await house.test.organisation();
    const root = house.admin(orgId);
    const person = await house.person(orgId, ['admin']);
    const mine = await keys.create(person, { name: 'mine', scopes: ['api-keys:write', 'runs:read'] });
    const second = await keys.create({ ...root, actor: { kind: 'api-key', id: mine.key.id }, scopes: mine.key.scopes }, { name: 'of the key', scopes: ['runs:read'] });
    const third = await keys.create({ ...root, actor: { kind: 'service', id: mine.key.id }, scopes: mine.key.scopes }, { name: 'of its token', scopes: ['runs:read'] });
    const rotated = await keys.rotate(root, mine.key.id, 600);
    expect([mine, second, third, rotated].map(({ key }) => key.createdBy)).toEqual(Array.from({ length: 4 }, () => ({ orgId, userId: person.actor.id })));
    const all = [mine.secret, second.secret, third.secret, rotated.secret];
    expect(await Promise.all(all.map(works))).toEqual([true, true, true, true]);
    await house.users.deactivate(root, person.actor.id);
    await expect.poll(() => Promise.all(all.map(works)), { interval: 20 }).toEqual([false, false, false, false]);
    await house.users.activate(root, person.actor.id);
    expect(await keys.authenticate(mine.secret)).toBeUndefined();
    expect((await keys.get(root, mine.key.id)).revokedAt).not.toBeNull();
  });

  it('are gone with a person who is deleted', async () => {
    const orgId = await house.test.organisation();
    const person = await house.person(orgId, ['admin']);
    const { key, secret } = await keys.create(person, { name: 'mine', scopes: ['runs:read'] });
    expect(await works(secret)).toBe(true);
    await house.users.remove(house.admin(orgId), person.actor.id);
    await expect.poll(() => works(secret), { interval: 20 }).toBe(false);
    await expect(keys.get(house.admin(orgId), key.id)).rejects.toMatchObject({ type: 'NotFound' });
  });

  it('stop when the organisation, or one above, is suspended or moved away from its maker', async () => {
    const top = await house.test.organisation();
    const root = house.admin(top);
    const [left, right] = [await house.organisations.create(root, { name: 'left' }), await house.organisations.create(root, { name: 'right' })];
    const below = await house.organisations.create(root, { name: 'below', parentId: left.orgId });
    const owner = await house.person(left.orgId, ['owner']);
    const machine = await keys.create(house.admin(below.orgId), { name: 'machine', scopes: ['runs:read'] });
    const made = await keys.create(await house.in(owner, below.orgId), { name: 'from above', scopes: ['runs:read'] });
    expect(made.key.createdBy).toEqual({ orgId: left.orgId, userId: owner.actor.id });
    const both = () => Promise.all([works(machine.secret), works(made.secret)]);
    expect(await both()).toEqual([true, true]);
    await house.organisations.suspend(root, left.orgId);
    await expect.poll(both, { interval: 20 }).toEqual([false, false]);
    await house.organisations.resume(root, left.orgId);
    await expect.poll(both, { interval: 20 }).toEqual([true, true]);
    await house.organisations.move(root, below.orgId, right.orgId);
    await expect.poll(both, { interval: 20 }).toEqual([true, false]);
  });

  it('cannot do what the person may do under conditions only', async () => {
    const orgId = await house.test.organisation();
    const person = await house.person(orgId, ['viewer']);
    await house.bindings.create(house.admin(orgId), { userId: person.actor.id, role: 'admin', conditions: { times: [{ zone: 'UTC', weekdays: [1, 2, 3, 4, 5, 6, 7], from: '00:00', to: '24:00' }] } });
    const now = await house.in(person, orgId);
    await expect(keys.create(now, { name: 'night', scopes: ['users:read'] })).rejects.toMatchObject({ type: 'Forbidden' });
    expect(await keys.create(now, { name: 'day', scopes: ['runs:read'] })).toMatchObject({ key: { scopes: ['runs:read'] } });
  });

  it('are written down when made, rotated and revoked', async () => {
    const orgId = await house.test.organisation();
    const root = house.admin(orgId);
    const { key } = await keys.create(root, { name: 'x', scopes: ['runs:read'] });
    await keys.rotate(root, key.id, 60);
    await keys.revoke(root, key.id);
    expect(await house.acts(orgId)).toEqual(['api-key.create', 'api-key.rotate', 'api-key.revoke'].map((action) => ({ action, actor: `api-key:${root.actor.id}`, resource: `api-key:${key.id}` })));
  });
});
