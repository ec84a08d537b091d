import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DEEPEST_ORGANISATION } from '../../platform/identity/organisations.ts';
import { startDirectory, type TestDirectory } from './directory.ts';

const missing = { type: 'NotFound' };
const forbidden = { type: 'Forbidden' };

describe('organisations', () => {
  let house: TestDirectory;
  /** The first one runs the installation. */
  let platform: string;
  beforeAll(async () => {
    house = await startDirectory();
    platform = await house.test.organisation('platform');
  });
  afterAll(() => house.stop());

  const slug = () => `s-${randomUUID().slice(0, 8)}`;

  it('are made below, changed, and written down on both sides', async () => {
    const top = await house.test.organisation();
    const root = house.admin(top);
    const child = await house.organisations.create(root, { name: 'child', slug: slug(), region: 'eu-1' });
    expect(child).toMatchObject({ parentId: top, region: 'eu-1', suspendedAt: null });
    const grandchild = await house.organisations.create(root, { name: 'grandchild', parentId: child.orgId });
    expect(grandchild).toMatchObject({ parentId: child.orgId, region: 'eu-1', slug: null });
    expect((await house.organisations.list(root, 10)).map((one) => one.orgId)).toEqual([top, child.orgId, grandchild.orgId]);
    expect((await house.organisations.list(root, 10, { createdAt: child.createdAt, id: child.orgId })).map((one) => one.orgId)).toEqual([grandchild.orgId]);
    expect(await house.organisations.change(root, child.orgId, { name: 'Child', slug: null })).toMatchObject({ name: 'Child', slug: null, region: 'eu-1' });
    expect(await house.organisations.change(house.admin(child.orgId), child.orgId, { region: 'eu-2' })).toMatchObject({ region: 'eu-2' });
    await expect(house.organisations.create(root, { name: 'x', slug: (await house.organisations.change(root, top, { slug: slug() })).slug })).rejects.toMatchObject({ code: '23505' });
    expect((await house.acts(child.orgId)).map(({ action }) => action)).toEqual(['organisation.create', 'organisation.change', 'organisation.change']);
    expect((await house.acts(top)).map(({ action }) => action)).toEqual(['organisation.create', 'organisation.create', 'organisation.change', 'organisation.change']);
  });

  it('see and manage neither siblings nor those above', async () => {
    const top = house.admin(await house.test.organisation());
    const [left, right] = [await house.organisations.create(top, { name: 'left' }), await house.organisations.create(top, { name: 'right' })];
    const below = await house.organisations.create(top, { name: 'below', parentId: left.orgId });
    const asLeft = house.admin(left.orgId);
    for (const other of [top.orgId, right.orgId, platform]) {
      await expect(house.organisations.get(asLeft, other)).rejects.toMatchObject(missing);
      await expect(house.organisations.change(asLeft, other, { name: 'x' })).rejects.toMatchObject(missing);
      await expect(house.organisations.suspend(asLeft, other)).rejects.toMatchObject(missing);
      await expect(house.organisations.resume(asLeft, other)).rejects.toMatchObject(missing);
      await expect(house.organisations.move(asLeft, other, left.orgId)).rejects.toMatchObject(missing);
      await expect(house.organisations.create(asLeft, { name: 'x', parentId: other })).rejects.toMatchObject(missing);
      await expect(house.organisations.move(asLeft, below.orgId, other)).rejects.toMatchObject(missing);
    }
    expect((await house.organisations.list(asLeft, 10)).map((one) => one.orgId)).toEqual([left.orgId, below.orgId]);
    for (const attempt of [() => house.organisations.suspend(asLeft, left.orgId), () => house.organisations.resume(asLeft, left.orgId), () => house.organisations.move(asLeft, left.orgId, below.orgId), () => house.organisations.create(asLeft, { name: 'x', parentId: null }), () => house.organisations.move(asLeft, below.orgId, null)]) {
      await expect(attempt()).rejects.toMatchObject(forbidden);
    }
  });

  it('at the top are the platform organisation\'s', async () => {
    const root = house.admin(platform);
    const made = await house.organisations.create(root, { name: 'tenant', parentId: null });
    expect(made).toMatchObject({ parentId: null, region: 'local' });
    expect(await house.organisations.suspend(root, made.orgId)).toMatchObject({ suspendedAt: expect.any(Date) });
    expect(await house.organisations.resume(root, made.orgId)).toMatchObject({ suspendedAt: null });
    expect((await house.organisations.list(root, 500)).map((one) => one.orgId)).toEqual(expect.arrayContaining([platform, made.orgId]));
    expect(await house.organisations.get(root, made.orgId)).toMatchObject({ name: 'tenant' });
    await expect(house.organisations.get(root, randomUUID())).rejects.toMatchObject(missing);
  });

  it('move within reach, in no ring and not too deep', async () => {
    const top = house.admin(await house.test.organisation());
    const [left, right] = [await house.organisations.create(top, { name: 'left' }), await house.organisations.create(top, { name: 'right' })];
    const below = await house.organisations.create(top, { name: 'below', parentId: left.orgId });
    await expect(house.organisations.move(top, left.orgId, below.orgId)).rejects.toMatchObject({ type: 'InvalidInput' });
    expect(await house.organisations.move(top, below.orgId, right.orgId)).toMatchObject({ parentId: right.orgId });
    await expect(house.organisations.get(house.admin(left.orgId), below.orgId)).rejects.toMatchObject(missing);
    let deepest = below.orgId;
    for (let depth = 4; depth <= DEEPEST_ORGANISATION; depth += 1) deepest = (await house.organisations.create(top, { name: `d${depth}`, parentId: deepest })).orgId;
    await expect(house.organisations.create(top, { name: 'deeper', parentId: deepest })).rejects.toMatchObject({ type: 'InvalidInput' });
    await expect(house.organisations.move(top, right.orgId, left.orgId)).rejects.toMatchObject({ type: 'InvalidInput' });
    const both = await Promise.allSettled([house.organisations.move(top, left.orgId, right.orgId), house.organisations.move(top, right.orgId, left.orgId)]);
    expect(both.filter((one) => one.status === 'rejected').length).toBeGreaterThanOrEqual(1);
  });

  it('below are acted in by people whose role reaches, and by nobody else', async () => {
    const top = await house.test.organisation();
    const root = house.admin(top);
    const child = await house.organisations.create(root, { name: 'child' });
    const [owner, admin] = [await house.person(top, ['owner']), await house.person(top, ['admin'])];
    const ownerBelow = await house.in(owner, child.orgId);
    expect([ownerBelow.scopes, (await house.in(admin, child.orgId)).scopes]).toEqual([['*'], []]);
    const made = await house.users.create(ownerBelow, { userName: 'below' });
    await house.bindings.create(ownerBelow, { userId: made.id, role: 'owner', conditions: {} });
    expect((await house.acts(child.orgId)).at(-1)).toMatchObject({ action: 'role-binding.create', actor: `user:${owner.actor.id}` });
    await expect(house.users.get(root, made.id)).rejects.toMatchObject(missing);
    const upward = await house.grants.of(child.orgId, made.id, top);
    expect(upward).toBeUndefined();
    await house.organisations.suspend(root, child.orgId);
    expect([await house.grants.of(top, owner.actor.id, child.orgId), await house.grants.of(child.orgId, made.id)]).toEqual([undefined, undefined]);
    await house.organisations.resume(root, child.orgId);
    expect(await house.grants.of(child.orgId, made.id)).toMatchObject({ line: [child.orgId, top] });
  });
});
