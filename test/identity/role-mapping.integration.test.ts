import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Caller } from '../../platform/identity/caller.ts';
import { RoleMappings } from '../../platform/identity/role-mapping.ts';
import { createTestDatabase, type TestDatabase } from '../environment/database.ts';

describe('roles that follow groups', () => {
  let test: TestDatabase;
  beforeAll(async () => {
    test = await createTestDatabase();
  });
  afterAll(() => test.drop());

  const person = async (orgId: string): Promise<string> => {
    const id = randomUUID();
    await test.database.withOrg(orgId, (tx) => tx.insertInto('users').values({ org_id: orgId, id, user_name: id, email: null, display_name: null, external_id: null, password_hash: null }).execute());
    return id;
  };
  const bind = (orgId: string, userId: string, role: string, providerId: string | null) =>
    test.database.withOrg(orgId, (tx) => tx.insertInto('role_bindings').values({ org_id: orgId, id: randomUUID(), user_id: userId, team_id: null, role, provider_id: providerId }).execute());
  const bound = async (orgId: string, userId: string): Promise<string[]> =>
    test.database.withOrg(orgId, async (tx) => (await tx.selectFrom('role_bindings').select(['role', 'provider_id']).where('user_id', '=', userId).execute()).map((row) => `${row.role}${row.provider_id === null ? '' : ' (mapped)'}`).sort());
  const caller = (orgId: string, scopes: readonly string[]): Caller => ({ orgId, actor: { kind: 'api-key', id: randomUUID() }, scopes, requestId: 'test', traceparent: undefined });

  it('leave alone what people and other providers gave', async () => {
    const orgId = await test.organisation();
    const [userId, providerId, other] = [await person(orgId), randomUUID(), randomUUID()];
    await bind(orgId, userId, 'operator', null);
    await bind(orgId, userId, 'developer', other);
    const mappings = new RoleMappings(test.database, { ownersAllowed: false });
    const apply = (groups: string[]) => mappings.apply({ orgId, userId, providerId, mapping: { default: [], groups: { a: ['operator', 'viewer'] } }, groups, requestId: 'r' });
    expect(await apply(['a'])).toEqual({ added: ['operator', 'viewer'], removed: [] });
    expect(await bound(orgId, userId)).toEqual(['developer (mapped)', 'operator', 'operator (mapped)', 'viewer (mapped)']);
    expect(await apply(['a'])).toEqual({ added: [], removed: [] });
    expect((await apply([])).removed.toSorted()).toEqual(['operator', 'viewer']);
    expect(await bound(orgId, userId)).toEqual(['developer (mapped)', 'operator']);
  });

  it('are there once, however many sign-ins come at the same moment', async () => {
    const orgId = await test.organisation();
    const [userId, providerId] = [await person(orgId), randomUUID()];
    const mappings = new RoleMappings(test.database, { ownersAllowed: false });
    await Promise.all(Array.from({ length: 8 }, () => mappings.apply({ orgId, userId, providerId, mapping: { default: ['viewer'], groups: {} }, groups: [], requestId: 'r' })));
    expect(await bound(orgId, userId)).toEqual(['viewer (mapped)']);
  });

  it('make owners only where the installation allows it, and never take the last one', async () => {
    const orgId = await test.organisation();
    const [userId, providerId] = [await person(orgId), randomUUID()];
    const mapping = { default: [], groups: { chiefs: ['owner'] } };
    const strict = new RoleMappings(test.database, { ownersAllowed: false });
    await strict.apply({ orgId, userId, providerId, mapping, groups: ['chiefs'], requestId: 'r' });
    expect(await bound(orgId, userId)).toEqual([]);
    const open = new RoleMappings(test.database, { ownersAllowed: true });
    const apply = (who: string, groups: string[]) => open.apply({ orgId, userId: who, providerId, mapping, groups, requestId: 'r' });
    await apply(userId, ['chiefs']);
    expect(await bound(orgId, userId)).toEqual(['owner (mapped)']);
    expect(await apply(userId, [])).toEqual({ added: [], removed: [] });
    expect(await bound(orgId, userId)).toEqual(['owner (mapped)']);
    await apply(await person(orgId), ['chiefs']);
    expect(await apply(userId, [])).toEqual({ added: [], removed: ['owner'] });
  });

  it('are handed on only by who has them', async () => {
    const orgId = await test.organisation();
    await test.database.withOrg(orgId, (tx) => tx.insertInto('roles').values({ org_id: orgId, name: 'own-admin', inherits: ['admin'], scopes: [] }).execute());
    const open = new RoleMappings(test.database, { ownersAllowed: true });
    await expect(open.assertMayMap(caller(orgId, ['*']), { default: ['owner'], groups: { a: ['own-admin'] } })).resolves.toBeUndefined();
    await expect(open.assertMayMap(caller(orgId, ['runs:*']), { default: [], groups: { a: ['own-admin'] } })).rejects.toMatchObject({ type: 'Forbidden' });
    await expect(open.assertMayMap(caller(orgId, ['users:*', 'identity-providers:*']), { default: ['owner'], groups: {} })).rejects.toMatchObject({ type: 'Forbidden' });
    await expect(open.assertMayMap(caller(orgId, ['*']), { default: ['x-y'], groups: { 'a/b': ['no-such'] } })).rejects.toMatchObject({ errors: [{ path: '/roleMapping/default/0' }, { path: '/roleMapping/groups/a~1b/0' }] });
  });
});
