import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { can } from '../../platform/identity/permissions.ts';
import { DEEPEST_TEAM, effectiveFeatures } from '../../platform/identity/teams.ts';
import { startDirectory, type TestDirectory } from './directory.ts';

describe('teams', () => {
  let house: TestDirectory;
  beforeAll(async () => {
    house = await startDirectory();
  });
  afterAll(() => house.stop());

  it('stand below each other, never in a ring and not too deep', async () => {
    const admin = house.admin(await house.test.organisation());
    const line = [await house.teams.create(admin, { name: 't1' })];
    while (line.length < DEEPEST_TEAM) line.push(await house.teams.create(admin, { name: `t${line.length + 1}`, parentId: line.at(-1)!.id }));
    const [top, second] = line as [(typeof line)[number], (typeof line)[number]];
    await expect(house.teams.create(admin, { name: 'deeper', parentId: line.at(-1)!.id })).rejects.toMatchObject({ type: 'InvalidInput' });
    const other = await house.teams.create(admin, { name: 'other' });
    await expect(house.teams.change(admin, top.id, { parentId: other.id })).rejects.toMatchObject({ errors: [{ path: '/parentId', message: `teams stand at most ${DEEPEST_TEAM} deep` }] });
    await expect(house.teams.change(admin, top.id, { parentId: line.at(-1)!.id })).rejects.toMatchObject({ errors: [{ path: '/parentId', message: 'a team cannot stand below itself' }] });
    await expect(house.teams.change(admin, top.id, { parentId: top.id })).rejects.toMatchObject({ type: 'InvalidInput' });
    await expect(house.teams.change(admin, top.id, { parentId: randomUUID() })).rejects.toMatchObject({ type: 'InvalidInput' });
    expect(await house.teams.change(admin, second.id, { parentId: other.id })).toMatchObject({ parentId: other.id });
    await expect(house.teams.remove(admin, second.id)).rejects.toMatchObject({ type: 'Conflict' });
    await house.teams.remove(admin, top.id);
    await expect(house.teams.get(admin, top.id)).rejects.toMatchObject({ type: 'NotFound' });
  });

  it('make no ring when two are moved below each other at once', async () => {
    const admin = house.admin(await house.test.organisation());
    for (let round = 0; round < 10; round += 1) {
      const [left, right] = [await house.teams.create(admin, { name: `l${round}` }), await house.teams.create(admin, { name: `r${round}` })];
      const moves = await Promise.allSettled([house.teams.change(admin, left.id, { parentId: right.id }), house.teams.change(admin, right.id, { parentId: left.id })]);
      expect(moves.map((move) => move.status).sort()).toEqual(['fulfilled', 'rejected']);
    }
  });

  it('give their members what was shared with them, and those below', async () => {
    const orgId = await house.test.organisation();
    const admin = house.admin(orgId);
    const member = await house.person(orgId, []);
    const top = await house.teams.create(admin, { name: 'top' });
    const below = await house.teams.create(admin, { name: 'below', parentId: top.id });
    await house.teams.changeMembers(admin, below.id, { add: [member.actor.id, member.actor.id] });
    expect(await house.teams.members(admin, below.id)).toEqual([member.actor.id]);
    await house.teams.share(admin, top.id, { kind: 'connections', id: 'c-1', access: 'read' });
    await house.teams.share(admin, top.id, { kind: 'connections', id: 'c-1', access: 'write' });
    expect(await house.teams.shares(admin, top.id)).toEqual([{ kind: 'connections', id: 'c-1', access: 'write' }]);
    const now = await house.in(member, orgId);
    expect([can(now, 'connections:write', { id: 'c-1' }), can(now, 'connections:read', { id: 'c-1' }), can(now, 'connections:read', { id: 'c-2' }), can(now, 'connections:read'), can(now, 'neurons:read', { id: 'c-1' })]).toEqual([true, true, false, false, false]);
    await expect(house.teams.share(now, top.id, { kind: 'connections', id: 'c-2', access: 'read' })).rejects.toMatchObject({ type: 'Forbidden' });
    await house.teams.unshare(admin, top.id, { kind: 'connections', id: 'c-1' });
    expect((await house.in(member, orgId)).scopes).toEqual([]);
    await expect(house.teams.unshare(admin, top.id, { kind: 'connections', id: 'c-1' })).rejects.toMatchObject({ type: 'NotFound' });
    await expect(house.teams.changeMembers(admin, top.id, { add: [randomUUID()] })).rejects.toMatchObject({ type: 'InvalidInput' });
    expect((await house.acts(orgId)).map(({ action }) => action).filter((action) => action.startsWith('team.'))).toEqual(['team.create', 'team.create', 'team.change-members', 'team.share', 'team.share', 'team.unshare']);
  });

  it('with more than somebody has do not take members from them, nor are put above their own', async () => {
    const orgId = await house.test.organisation();
    const root = house.admin(orgId);
    const [admin, friend] = [await house.person(orgId, ['admin']), await house.person(orgId, [])];
    const owners = await house.teams.create(root, { name: 'owners' });
    await house.bindings.create(root, { teamId: owners.id, role: 'owner', conditions: {} });
    const mine = await house.teams.create(admin, { name: 'mine' });
    await house.teams.changeMembers(admin, mine.id, { add: [friend.actor.id] });
    await expect(house.teams.changeMembers(admin, owners.id, { add: [admin.actor.id] })).rejects.toMatchObject({ type: 'Forbidden' });
    await expect(house.teams.change(admin, mine.id, { parentId: owners.id })).rejects.toMatchObject({ type: 'Forbidden' });
    await expect(house.teams.create(admin, { name: 'below owners', parentId: owners.id })).rejects.toMatchObject({ type: 'Forbidden' });
    await house.teams.changeMembers(root, owners.id, { add: [friend.actor.id] });
    await expect(house.teams.changeMembers(admin, owners.id, { remove: [friend.actor.id] })).rejects.toMatchObject({ type: 'Forbidden' });
    await expect(house.teams.remove(admin, owners.id)).rejects.toMatchObject({ type: 'Forbidden' });
    await expect(house.teams.changeMembers(root, owners.id, { remove: [friend.actor.id] })).rejects.toMatchObject({ constraint: 'last_owner' });
  });

  it('of another organisation are not there', async () => {
    const admin = house.admin(await house.test.organisation());
    const stranger = house.admin(await house.test.organisation());
    const team = await house.teams.create(admin, { name: 'mine' });
    const foreign = await house.users.create(stranger, { userName: 'foreign' });
    for (const attempt of [() => house.teams.get(stranger, team.id), () => house.teams.change(stranger, team.id, { name: 'x' }), () => house.teams.remove(stranger, team.id), () => house.teams.members(stranger, team.id), () => house.teams.share(stranger, team.id, { kind: 'runs', id: 'x', access: 'read' })]) {
      await expect(attempt()).rejects.toMatchObject({ type: 'NotFound' });
    }
    await expect(house.teams.changeMembers(admin, team.id, { add: [foreign.id] })).rejects.toMatchObject({ type: 'InvalidInput' });
    await expect(house.teams.create(stranger, { name: 'x', parentId: team.id })).rejects.toMatchObject({ type: 'InvalidInput' });
    expect(await house.teams.list(stranger, {}, 10)).toEqual([]);
  });

  it('switch features: the nearest toggle of a line counts, and one team is enough', async () => {
    expect(effectiveFeatures([[{ a: true }, { a: false, b: true }], [{ b: false, c: false }]])).toEqual({ a: true, b: true, c: false });
    expect(effectiveFeatures([])).toEqual({});
    const orgId = await house.test.organisation();
    const admin = house.admin(orgId);
    const person = await house.person(orgId, []);
    const top = await house.teams.create(admin, { name: 'top', features: { canary: true, 'new-editor': true } });
    const below = await house.teams.create(admin, { name: 'below', parentId: top.id, features: { canary: false } });
    expect(await house.teams.features(person)).toEqual({});
    await house.teams.changeMembers(admin, below.id, { add: [person.actor.id] });
    expect(await house.teams.features(person)).toEqual({ canary: false, 'new-editor': true });
    await house.teams.changeMembers(admin, top.id, { add: [person.actor.id] });
    expect(await house.teams.features(person)).toEqual({ canary: true, 'new-editor': true });
    expect(await house.teams.features(admin)).toEqual({});
  });
});
