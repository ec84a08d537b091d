import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startDirectory, type TestDirectory } from './directory.ts';

describe('users', () => {
  let house: TestDirectory;
  beforeAll(async () => {
    house = await startDirectory();
  });
  afterAll(() => house.stop());

  it('are made, found, changed and deleted, each with its act', async () => {
    const orgId = await house.test.organisation();
    const admin = house.admin(orgId);
    const user = await house.users.create(admin, { userName: 'Ada', email: 'ada@example.org', emailVerified: true, displayName: 'Ada L.' });
    expect(user).toMatchObject({ userName: 'Ada', active: true, hasPassword: false, lastSignInAt: null });
    await expect(house.users.create(admin, { userName: 'aDA' })).rejects.toMatchObject({ code: '23505' });
    expect(await house.users.change(admin, user.id, { displayName: 'Ada Lovelace' })).toMatchObject({ displayName: 'Ada Lovelace', emailVerified: true });
    expect(await house.users.change(admin, user.id, { email: 'ada@elsewhere.org' })).toMatchObject({ emailVerified: false });
    expect(await house.users.deactivate(admin, user.id)).toMatchObject({ active: false });
    expect(await house.users.activate(admin, user.id)).toMatchObject({ active: true });
    await house.users.remove(admin, user.id);
    await expect(house.users.get(admin, user.id)).rejects.toMatchObject({ type: 'NotFound' });
    const acts = await house.acts(orgId);
    expect(acts.map((act) => act.action)).toEqual(['user.create', 'user.change', 'user.change', 'user.deactivate', 'user.activate', 'user.delete']);
    expect(acts.every((act) => act.resource === `user:${user.id}` && act.actor === `api-key:${admin.actor.id}`)).toBe(true);
    const stored = await house.test.database.system.selectFrom('audit_acts').selectAll().where('org_id', '=', orgId).execute();
    expect(JSON.stringify(stored)).not.toMatch(/ada|lovelace/i);
  });

  it('are listed page by page and found by beginning, state and team', async () => {
    const admin = house.admin(await house.test.organisation());
    for (const name of ['anna', 'bert_1', 'bertx1', 'carl']) await house.users.create(admin, { userName: name, email: `${name}@mail.example`, displayName: `The ${name}` });
    const first = await house.users.list(admin, {}, 3);
    const last = first.at(-1)!;
    const rest = await house.users.list(admin, {}, 3, { createdAt: last.createdAt, id: last.id });
    expect([...first, ...rest].map((user) => user.userName).sort()).toEqual(['anna', 'bert_1', 'bertx1', 'carl']);
    expect(rest).toHaveLength(1);
    const names = async (filter: Parameters<typeof house.users.list>[1]) => (await house.users.list(admin, filter, 10)).map((user) => user.userName).sort();
    expect(await names({ search: 'BERT_' })).toEqual(['bert_1']);
    expect(await names({ search: 'the c' })).toEqual(['carl']);
    expect(await names({ search: '%' })).toEqual([]);
    expect(await names({ userName: 'ANNA' })).toEqual(['anna']);
    const [anna] = await house.users.list(admin, { userName: 'anna' }, 1);
    await house.users.deactivate(admin, anna!.id);
    expect(await names({ active: false })).toEqual(['anna']);
    const team = await house.teams.create(admin, { name: 'team' });
    await house.teams.changeMembers(admin, team.id, { add: [anna!.id] });
    expect(await names({ teamId: team.id })).toEqual(['anna']);
  });

  it('of another organisation are not there', async () => {
    const admin = house.admin(await house.test.organisation());
    const stranger = house.admin(await house.test.organisation());
    const user = await house.users.create(admin, { userName: 'mine' });
    for (const attempt of [() => house.users.get(stranger, user.id), () => house.users.change(stranger, user.id, { displayName: 'x' }), () => house.users.deactivate(stranger, user.id), () => house.users.remove(stranger, user.id)]) {
      await expect(attempt()).rejects.toMatchObject({ type: 'NotFound' });
    }
    expect(await house.users.list(stranger, {}, 10)).toEqual([]);
    const everything = await house.test.database.withOrg(stranger.orgId, (tx) => tx.selectFrom('users').selectAll().execute());
    expect(everything).toEqual([]);
  });

  it('who may do more are not touched by those who may do less', async () => {
    const orgId = await house.test.organisation();
    const [owner, admin, viewer] = [await house.person(orgId, ['owner']), await house.person(orgId, ['admin']), await house.person(orgId, ['viewer'])];
    await expect(house.users.change(admin, owner.actor.id, { email: 'x@example.org' })).rejects.toMatchObject({ type: 'Forbidden' });
    await expect(house.users.deactivate(admin, owner.actor.id)).rejects.toMatchObject({ type: 'Forbidden' });
    await expect(house.users.remove(admin, owner.actor.id)).rejects.toMatchObject({ type: 'Forbidden' });
    expect(await house.users.deactivate(admin, viewer.actor.id)).toMatchObject({ active: false });
    // Being asleep makes nobody smaller: who wakes them up could sign in as them.
    await house.bindings.create(house.admin(orgId), { userId: viewer.actor.id, role: 'owner', conditions: {} });
    await expect(house.users.activate(admin, viewer.actor.id)).rejects.toMatchObject({ type: 'Forbidden' });
    expect(await house.users.change(owner, admin.actor.id, { displayName: 'Admin' })).toMatchObject({ displayName: 'Admin' });
    expect(await house.users.change(admin, admin.actor.id, { displayName: 'Me' })).toMatchObject({ displayName: 'Me' });
  });

  it('keep their last owner, whoever asks', async () => {
    const orgId = await house.test.organisation();
    const owner = await house.person(orgId, ['owner']);
    const everything = house.admin(orgId);
    for (const attempt of [() => house.users.deactivate(everything, owner.actor.id), () => house.users.remove(owner, owner.actor.id)]) await expect(attempt()).rejects.toMatchObject({ constraint: 'last_owner' });
    const heir = await house.person(orgId, ['owner']);
    const both = await Promise.allSettled([house.users.remove(everything, owner.actor.id), house.users.deactivate(everything, heir.actor.id)]);
    expect(both.filter((one) => one.status === 'fulfilled')).toHaveLength(1);
    expect((await house.acts(orgId)).filter(({ action }) => action === 'user.delete' || action === 'user.deactivate')).toHaveLength(1);
  });

  it('announce every change of theirs', async () => {
    const orgId = await house.test.organisation();
    const admin = house.admin(orgId);
    const client = await house.test.database.systemPool.connect();
    const heard: (string | undefined)[] = [];
    client.on('notification', ({ payload }) => heard.push(payload));
    await client.query('listen hal9_identity');
    try {
      const user = await house.users.create(admin, { userName: randomUUID() });
      await house.users.deactivate(admin, user.id);
      await house.users.remove(admin, user.id);
      await expect.poll(() => heard).toEqual([orgId, orgId, orgId]);
    } finally {
      client.release(true);
    }
  });
});
