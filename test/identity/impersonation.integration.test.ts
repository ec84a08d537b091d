import { randomBytes, randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ApiKeys } from '../../platform/identity/api-keys.ts';
import type { Caller } from '../../platform/identity/caller.ts';
import { CredentialCache } from '../../platform/identity/credential-cache.ts';
import { Impersonation } from '../../platform/identity/impersonation.ts';
import { Sessions } from '../../platform/identity/sessions.ts';
import { KeyRing } from '../../platform/keys/key-ring.ts';
import { startDirectory, type TestDirectory } from './directory.ts';

const facts = { address: '192.0.2.1', userAgent: 'test', requestId: 'request-1', https: true };

describe('acting as somebody else', () => {
  let house: TestDirectory;
  let sessions: Sessions;
  let impersonation: Impersonation;
  beforeAll(async () => {
    house = await startDirectory();
    const { database } = house.test;
    sessions = new Sessions({ database, keys: new KeyRing([{ id: 'a', key: randomBytes(32) }]), cache: new CredentialCache(database), region: 'local' });
    impersonation = new Impersonation({ database, grants: house.grants, sessions });
  });
  afterAll(() => house.stop());

  const begin = (caller: Caller, target: Caller | string) => impersonation.begin(caller, typeof target === 'string' ? target : target.actor.id, 'ticket 4711', facts);

  it('opens a session of at most an hour that names both, and says why', async () => {
    const orgId = await house.test.organisation();
    const [admin, viewer] = [await house.person(orgId, ['admin']), await house.person(orgId, ['viewer'])];
    const { sessionId, cookies } = await begin(admin, viewer);
    const session = await house.test.database.withOrg(orgId, (tx) => tx.selectFrom('sessions').selectAll().where('id', '=', sessionId).executeTakeFirstOrThrow());
    expect(session).toMatchObject({ user_id: viewer.actor.id, method: 'impersonation', impersonator_org_id: orgId, impersonator_id: admin.actor.id });
    expect(session.expires_at.getTime() - session.created_at.getTime()).toBeLessThanOrEqual(3_600_000);
    const token = /=([A-Za-z0-9_-]{43});/.exec(cookies[0] ?? '')?.[1] ?? '';
    expect(await sessions.find(token, facts)).toMatchObject({ userId: viewer.actor.id, impersonator: { orgId, userId: admin.actor.id } });
    const act = await house.test.database.system.selectFrom('audit_acts').selectAll().where('org_id', '=', orgId).where('action', '=', 'user.impersonate').executeTakeFirstOrThrow();
    expect(act).toMatchObject({ actor_kind: 'user', actor_id: admin.actor.id, result: 'succeeded', details: { userId: viewer.actor.id, reason: 'ticket 4711' } });
  });

  it('is refused to whoever is not a person, not above, or acts as somebody else already', async () => {
    const orgId = await house.test.organisation();
    const [owner, admin, other, viewer] = [await house.person(orgId, ['owner']), await house.person(orgId, ['admin']), await house.person(orgId, ['admin']), await house.person(orgId, ['viewer'])];
    const forbidden = { type: 'Forbidden' };
    await expect(begin(house.admin(orgId), viewer)).rejects.toMatchObject(forbidden);
    await expect(begin(admin, owner)).rejects.toMatchObject(forbidden);
    await expect(begin(owner, await house.person(orgId, ['owner']))).rejects.toMatchObject(forbidden);
    await expect(begin(viewer, admin)).rejects.toMatchObject(forbidden);
    await expect(begin(admin, admin)).rejects.toMatchObject(forbidden);
    await expect(begin({ ...admin, impersonatorId: other.actor.id }, viewer)).rejects.toMatchObject(forbidden);
    await expect(begin(admin, randomUUID())).rejects.toMatchObject({ type: 'NotFound' });
    const stranger = await house.person(await house.test.organisation(), ['viewer']);
    await expect(begin(admin, stranger)).rejects.toMatchObject({ type: 'NotFound' });
    await house.users.deactivate(admin, viewer.actor.id);
    await expect(begin(admin, viewer)).rejects.toMatchObject({ type: 'Conflict' });
    expect((await house.acts(orgId)).filter(({ action }) => action === 'user.impersonate')).toEqual([]);
  });

  it('hands nothing on that would outlive the hour', async () => {
    const orgId = await house.test.organisation();
    const [admin, junior] = [await house.person(orgId, ['admin']), await house.person(orgId, ['admin'])];
    const acting = { ...junior, impersonatorId: admin.actor.id };
    const forbidden = { type: 'Forbidden', message: 'nobody hands anything on while acting as somebody else' };
    await expect(new ApiKeys(house.test.database).create(acting, { name: 'x', scopes: ['runs:read'] })).rejects.toMatchObject(forbidden);
    await expect(house.bindings.create(acting, { userId: junior.actor.id, role: 'viewer', conditions: {} })).rejects.toMatchObject(forbidden);
    const team = await house.teams.create(acting, { name: 'made by two' });
    await expect(house.teams.share(acting, team.id, { kind: 'runs', id: 'r', access: 'read' })).rejects.toMatchObject(forbidden);
    const act = await house.test.database.system.selectFrom('audit_acts').selectAll().where('org_id', '=', orgId).where('action', '=', 'team.create').executeTakeFirstOrThrow();
    expect(act).toMatchObject({ actor_id: junior.actor.id, impersonator_id: admin.actor.id });
  });
});
