import { randomUUID } from 'node:crypto';
import { Secret, TOTP } from 'otpauth';
import pino from 'pino';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { openIdentity, type Identity } from '../../api/identity.ts';
import { loadConfig } from '../../platform/config/config.ts';
import type { Caller } from '../../platform/identity/caller.ts';
import type { ExternalIdentity } from '../../platform/identity/sign-in-contract.ts';
import { KeyRing } from '../../platform/keys/key-ring.ts';
import { providerDraft, type RoleMapping } from '../../schemas/rest/identity-providers.ts';
import { startDirectory, type TestDirectory } from './directory.ts';

const facts = { address: '192.0.2.1', userAgent: 'test', requestId: 'request-1', https: false };
const forbidden = { type: 'Forbidden' };

/** A provider says who somebody is, so whoever sets it up could be anybody: what that is not good for. */
describe('an identity provider', () => {
  let house: TestDirectory;
  let identity: Identity;
  beforeAll(async () => {
    house = await startDirectory();
    const config = loadConfig({ DATABASE_URL: house.test.url, TEMPORAL_ADDRESS: inject('temporalAddress'), HAL9_PUBLIC_URL: 'https://hal9.test', HAL9_ALLOW_PRIVATE_ADDRESSES: 'true' });
    identity = openIdentity({ config, database: house.test.database, keys: new KeyRing([{ id: 'test', key: Buffer.alloc(32, 7) }]), logger: pino({ level: 'silent' }) });
  });
  afterAll(async () => {
    await identity.close();
    await house.stop();
  });

  const untested = { test: false, signal: AbortSignal.timeout(60_000) };
  const oidc = (more: object = {}) => ({ kind: 'oidc', issuer: 'https://idp.example', clientId: 'hal9', trustsEmail: true, ...more });
  const add = async (caller: Caller, roleMapping: Partial<RoleMapping> = {}): Promise<string> =>
    (await identity.providers.create(caller, providerDraft.parse({ name: randomUUID(), settings: oidc(), roleMapping }), untested)).id;
  const said = (orgId: string, providerId: string, more: Partial<ExternalIdentity> = {}): ExternalIdentity => ({
    orgId,
    providerId,
    subject: randomUUID(),
    userName: randomUUID(),
    userNameProven: true,
    email: undefined,
    emailVerified: false,
    displayName: undefined,
    groups: [],
    secondFactor: true,
    logout: undefined,
    ...more,
  });
  const linkedTo = async (subject: string): Promise<string | undefined> =>
    (await house.test.database.systemPool.query<{ user_id: string }>('select user_id from user_identities where subject = $1', [subject])).rows[0]?.user_id;

  describe('set up by an administrator', () => {
    it('is nobody who may do more: neither by name nor by address', async () => {
      const orgId = await house.test.organisation();
      const root = house.admin(orgId);
      const admin = await house.person(orgId, ['admin']);
      const boss = await house.users.create(root, { userName: 'boss', email: 'boss@corp.example', emailVerified: true });
      await house.bindings.create(root, { userId: boss.id, role: 'owner', conditions: {} });
      const clerk = await house.users.create(root, { userName: 'clerk', email: 'clerk@corp.example', emailVerified: true });
      await house.bindings.create(root, { userId: clerk.id, role: 'operator', conditions: {} });
      const mine = await add(admin);
      const attacks = [said(orgId, mine, { userName: 'boss' }), said(orgId, mine, { email: 'boss@corp.example', emailVerified: true })];
      for (const attack of attacks) {
        await identity.signIn.complete(attack, facts, undefined).catch((error: unknown) => expect(error).toMatchObject({ type: 'Unauthenticated' }));
        expect(await linkedTo(attack.subject)).not.toBe(boss.id);
      }
      const honest = said(orgId, mine, { userName: 'clerk' });
      await identity.signIn.complete(honest, facts, undefined);
      expect(await linkedTo(honest.subject)).toBe(clerk.id);
      const owners = said(orgId, await add(root), { userName: 'boss' });
      await identity.signIn.complete(owners, facts, undefined);
      expect(await linkedTo(owners.subject)).toBe(boss.id);
    });

    it('is not changed to mean others, while somebody who may do more signs in by it', async () => {
      const orgId = await house.test.organisation();
      const root = house.admin(orgId);
      const admin = await house.person(orgId, ['admin']);
      const providerId = await add(root);
      const team = await house.teams.create(root, { name: 'chiefs' });
      const below = await house.teams.create(root, { name: 'deputies', parentId: team.id });
      const deputy = said(orgId, providerId);
      await identity.signIn.complete(deputy, facts, undefined);
      const change = () => identity.providers.change(admin, providerId, { settings: { issuer: 'https://evil.example' } }, untested);
      expect(await change()).toMatchObject({ settings: { issuer: 'https://evil.example' } });
      await house.teams.changeMembers(root, below.id, { add: [(await linkedTo(deputy.subject)) ?? ''] });
      await house.bindings.create(root, { teamId: team.id, role: 'owner', conditions: { maxRisk: 10 } });
      await expect(change()).rejects.toMatchObject(forbidden);
      expect(await identity.providers.change(admin, providerId, { name: 'Another name' }, untested)).toMatchObject({ name: 'Another name' });
      expect(await identity.providers.change(root, providerId, { settings: { issuer: 'https://idp.example' } }, untested)).toMatchObject({ settings: { issuer: 'https://idp.example' } });
    });

    it('maps no role that they have at times only, that reaches further than they, or while they act as somebody else', async () => {
      const orgId = await house.test.organisation();
      const root = house.admin(orgId);
      const owner = await house.person(orgId, ['owner']);
      await house.book.create(owner, { name: 'far', description: '', inherits: [], scopes: ['runs:read'], reachesDescendants: true });
      const admin = await house.person(orgId, ['admin']);
      await expect(add(admin, { default: ['far'] })).rejects.toMatchObject(forbidden);
      await expect(add({ ...admin, impersonatorId: owner.actor.id }, { default: ['viewer'] })).rejects.toMatchObject(forbidden);
      await expect(add({ ...admin, impersonatorId: owner.actor.id })).rejects.toMatchObject(forbidden);
      const nightly = await house.person(orgId, ['viewer']);
      await house.bindings.create(root, { userId: nightly.actor.id, role: 'admin', conditions: { networks: ['127.0.0.0/8'] } });
      const now = await house.in(nightly, orgId);
      await expect(add(now, { default: ['operator'] })).rejects.toMatchObject(forbidden);
      // What they have at times only their provider does not have either.
      const clerk = await house.users.create(root, { userName: 'weekday-clerk' });
      await house.bindings.create(root, { userId: clerk.id, role: 'operator', conditions: {} });
      const attack = said(orgId, await add(now), { userName: 'weekday-clerk' });
      await expect(identity.signIn.complete(attack, facts, undefined)).rejects.toMatchObject({ type: 'Unauthenticated' });
      expect(await linkedTo(attack.subject)).toBeUndefined();
    });
  });

  it('links nobody by a name that is an address it has not verified', async () => {
    const orgId = await house.test.organisation();
    const root = house.admin(orgId);
    await house.users.create(root, { userName: 'eve@corp.example' });
    const providerId = await add(root);
    const attack = said(orgId, providerId, { userName: 'eve@corp.example', userNameProven: false });
    await expect(identity.signIn.complete(attack, facts, undefined)).rejects.toMatchObject({ type: 'Unauthenticated' });
    expect(await linkedTo(attack.subject)).toBeUndefined();
  });

  it('that is disabled or deleted takes its sessions along, and nobody else\'s, also those that are opened at that moment', async () => {
    const orgId = await house.test.organisation();
    const root = house.admin(orgId);
    for (const end of [(id: string) => identity.providers.change(root, id, { enabled: false }, untested), (id: string) => identity.providers.remove(root, id)]) {
      const [gone, kept] = [await add(root), await add(root)];
      const open = async (providerId: string) => identity.signIn.complete(said(orgId, providerId), facts, undefined);
      const works = async (cookies: readonly string[]): Promise<boolean> => (await identity.sessions.find(/=([^;]+)/.exec(cookies[0] ?? '')?.[1] ?? '', facts)) !== undefined;
      const [mine, theirs] = [await open(gone), await open(kept)];
      expect([await works(mine.cookies), await works(theirs.cookies)]).toEqual([true, true]);
      const racing = Promise.allSettled(Array.from({ length: 8 }, () => open(gone)));
      await end(gone);
      expect([await works(mine.cookies), await works(theirs.cookies)]).toEqual([false, true]);
      for (const one of await racing) if (one.status === 'fulfilled') expect(await works(one.value.cookies)).toBe(false);
      await expect(open(gone)).rejects.toMatchObject({ type: 'Unauthenticated' });
    }
    const { rows } = await house.test.database.systemPool.query<{ open: number }>("select count(*)::int as open from sessions where org_id = $1 and ended_at is null and provider_id is not null", [orgId]);
    expect(rows).toEqual([{ open: 2 }]);
  });

  it('that is disabled lets nobody finish with the second factor', async () => {
    const orgId = await house.test.organisation();
    const root = house.admin(orgId);
    await identity.signIn.setPolicy(root, { requireSecondFactor: true, passwords: true, mailConnection: null });
    const providerId = await add(root);
    const owed = await identity.signIn.complete(said(orgId, providerId, { secondFactor: false }), facts, undefined);
    expect(owed.kind).toBe('second-factor');
    const pending = await identity.signIn.pending(/=([^;]+)/.exec(owed.cookies[0] ?? '')?.[1]);
    const enrolment = await identity.signIn.enrolTotp(pending, 'HAL9');
    await identity.providers.change(root, providerId, { enabled: false }, untested);
    const code = new TOTP({ secret: Secret.fromBase32(enrolment.secret) }).generate();
    await expect(identity.signIn.finishEnrolment(pending, { challengeId: enrolment.challengeId, name: 'phone', code }, facts)).rejects.toMatchObject({ type: 'Unauthenticated' });
  });
});
