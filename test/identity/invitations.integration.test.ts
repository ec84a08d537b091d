import { randomUUID } from 'node:crypto';
import { SMTPServer } from 'smtp-server';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { bootstrap } from '../../platform/identity/bootstrap.ts';
import type { Caller } from '../../platform/identity/caller.ts';
import type { InvitationDraft } from '../../platform/identity/invitations.ts';
import { freePort } from '../../platform/telemetry/free-port.ts';
import { PUBLIC_URL, startDirectory, type TestDirectory } from './directory.ts';

const facts = { address: '192.0.2.1', userAgent: 'test', requestId: 'request-1', https: true };
const acceptance = (userName: string) => ({ userName, displayName: 'Name', passwordHash: '$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA' });
const gone = { type: 'NotFound', message: 'the invitation was used, was revoked or has expired' };

describe('invitations', () => {
  let house: TestDirectory;
  beforeAll(async () => {
    house = await startDirectory();
  });
  afterAll(() => house.stop());

  const invite = async (caller: Caller, draft: Partial<InvitationDraft> = {}) => {
    const created = await house.invitations.create(caller, { roles: [], teamIds: [], expiresInDays: 7, ...draft }, AbortSignal.timeout(10_000));
    return { ...created, token: created.link?.split('/').at(-1) ?? '' };
  };

  it('make an account with roles and teams, once', async () => {
    const orgId = await house.test.organisation('Acme');
    const admin = house.admin(orgId);
    const team = await house.teams.create(admin, { name: 'ops' });
    const { link, token, invitation } = await invite(admin, { email: 'new@example.org', roles: ['operator', 'viewer'], teamIds: [team.id] });
    expect(link).toBe(`${PUBLIC_URL}/invitations/${token}`);
    expect(token).toMatch(/^[A-Za-z0-9_-]{43}$/);
    const stored = await house.test.database.system.selectFrom('invitations').selectAll().where('org_id', '=', orgId).execute();
    expect([JSON.stringify(stored).includes(token), stored[0]!.token_hash.length]).toEqual([false, 32]);
    expect(await house.invitations.open(token)).toEqual({ orgId, organisation: 'Acme', slug: null, userName: null, email: 'new@example.org', expiresAt: invitation.expiresAt });
    const accepts = await Promise.allSettled(Array.from({ length: 5 }, (_, index) => house.invitations.accept(token, acceptance(`newcomer-${index}`), facts)));
    const accepted = accepts.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
    expect(accepted).toHaveLength(1);
    for (const one of accepts) if (one.status === 'rejected') expect(one.reason).toMatchObject(gone);
    const { userId } = accepted[0]!;
    // Nobody mailed it, so nobody knows that the address is theirs.
    expect(await house.users.list(admin, {}, 10)).toMatchObject([{ id: userId, email: 'new@example.org', emailVerified: false, hasPassword: true, displayName: 'Name' }]);
    expect(await house.teams.members(admin, team.id)).toEqual([userId]);
    expect((await house.bindings.list(admin, { userId }, 10)).map(({ role }) => role).sort()).toEqual(['operator', 'viewer']);
    expect(await house.invitations.open(token)).toBeUndefined();
    expect((await house.acts(orgId)).at(-1)).toEqual({ action: 'invitation.accept', actor: `user:${userId}`, resource: `invitation:${invitation.id}` });
    await expect(house.invitations.revoke(admin, invitation.id)).rejects.toMatchObject({ type: 'Conflict' });
  });

  it('of somebody who lost their rights meanwhile bring nobody back', async () => {
    const orgId = await house.test.organisation();
    const root = house.admin(orgId);
    const admin = await house.person(orgId, ['admin']);
    const team = await house.teams.create(root, { name: 'keepers' });
    await house.bindings.create(root, { teamId: team.id, role: 'admin', conditions: {} });
    const links = [await invite(admin, { roles: ['admin'] }), await invite(admin, { teamIds: [team.id] }), await invite(admin, { roles: ['viewer'] })];
    const [binding] = await house.bindings.list(root, { userId: admin.actor.id }, 1);
    await house.bindings.setConditions(root, binding!.id, { maxRisk: 50 });
    expect(await house.invitations.accept((await invite(root)).token, acceptance('unconcerned'), facts)).toMatchObject({ orgId });
    await house.bindings.remove(root, binding!.id);
    await house.bindings.create(root, { userId: admin.actor.id, role: 'viewer', conditions: {} });
    for (const [index, { token }] of links.slice(0, 2).entries()) await expect(house.invitations.accept(token, acceptance(`second-self-${index}`), facts)).rejects.toMatchObject(gone);
    expect(await house.invitations.accept(links[2]!.token, acceptance('honest'), facts)).toMatchObject({ orgId });
  });

  it('stay good when the user name was taken', async () => {
    const admin = house.admin(await house.test.organisation());
    await house.users.create(admin, { userName: 'taken' });
    const { token } = await invite(admin);
    await expect(house.invitations.accept(token, acceptance('TAKEN'), facts)).rejects.toMatchObject({ code: '23505' });
    expect(await house.invitations.accept(token, acceptance('free'), facts)).toMatchObject({ orgId: admin.orgId });
  });

  it('give somebody who is there a password, and nobody who has one another', async () => {
    const admin = house.admin(await house.test.organisation());
    const user = await house.users.create(admin, { userName: 'ada' });
    const [first, second] = [await invite(admin, { userId: user.id }), await invite(admin, { userId: user.id })];
    expect(await house.invitations.open(first.token)).toMatchObject({ userName: 'ada' });
    expect(await house.invitations.accept(first.token, acceptance('ignored'), facts)).toEqual({ orgId: admin.orgId, userId: user.id });
    expect(await house.users.get(admin, user.id)).toMatchObject({ userName: 'ada', hasPassword: true, displayName: 'Name' });
    await expect(house.invitations.accept(second.token, acceptance('ignored'), facts)).rejects.toMatchObject(gone);
    await expect(invite(admin, { userId: user.id })).rejects.toMatchObject({ type: 'Conflict' });
    await expect(invite(admin, { userId: randomUUID() })).rejects.toMatchObject({ type: 'InvalidInput' });
  });

  it('end by revocation, time, suspension and with who sent them, all alike', async () => {
    const top = house.admin(await house.test.organisation());
    const child = await house.organisations.create(top, { name: 'child' });
    const admin = house.admin(child.orgId);
    const sender = await house.person(child.orgId, ['admin']);
    const [revoked, expired, sent, kept] = [await invite(admin), await invite(admin), await invite(sender), await invite(admin)];
    expect(await house.invitations.revoke(admin, revoked.invitation.id)).toMatchObject({ revokedAt: expect.any(Date) });
    expect(await house.invitations.revoke(admin, revoked.invitation.id)).toMatchObject({ revokedAt: expect.any(Date) });
    await house.test.database.withOrg(child.orgId, (tx) => tx.updateTable('invitations').set({ expires_at: new Date(Date.now() - 1000) }).where('id', '=', expired.invitation.id).execute());
    await house.users.deactivate(admin, sender.actor.id);
    for (const { token } of [revoked, expired, sent, { token: 'x'.repeat(43) }, { token: 'nonsense' }]) {
      expect(await house.invitations.open(token)).toBeUndefined();
      await expect(house.invitations.accept(token, acceptance('late'), facts)).rejects.toMatchObject(gone);
    }
    expect((await house.invitations.list(admin, { open: true }, 10)).map(({ id }) => id)).toEqual([kept.invitation.id]);
    expect(await house.invitations.list(admin, {}, 10)).toHaveLength(4);
    await house.organisations.suspend(top, child.orgId);
    await expect(house.invitations.accept(kept.token, acceptance('late'), facts)).rejects.toMatchObject(gone);
    await house.organisations.resume(top, child.orgId);
    expect(await house.invitations.accept(kept.token, acceptance('at last'), facts)).toMatchObject({ orgId: child.orgId });
  });

  it('give no more than who invites has, and nothing that is not there', async () => {
    const orgId = await house.test.organisation();
    const root = house.admin(orgId);
    const admin = await house.person(orgId, ['admin']);
    const owners = await house.teams.create(root, { name: 'owners' });
    await house.bindings.create(root, { teamId: owners.id, role: 'owner', conditions: {} });
    await expect(invite(admin, { roles: ['owner'] })).rejects.toMatchObject({ type: 'Forbidden' });
    await expect(invite(admin, { teamIds: [owners.id] })).rejects.toMatchObject({ type: 'Forbidden' });
    await expect(invite(root, { roles: ['gone'] })).rejects.toMatchObject({ type: 'InvalidInput' });
    await expect(invite(root, { teamIds: [randomUUID()] })).rejects.toMatchObject({ type: 'InvalidInput' });
    const stranger = house.admin(await house.test.organisation());
    const { invitation } = await invite(admin, { roles: ['viewer'] });
    for (const attempt of [() => house.invitations.get(stranger, invitation.id), () => house.invitations.revoke(stranger, invitation.id)]) await expect(attempt()).rejects.toMatchObject({ type: 'NotFound' });
    expect(await house.invitations.list(stranger, {}, 10)).toEqual([]);
  });

  it('of the first start make the owner', async () => {
    const fresh = await startDirectory();
    try {
      const first = await bootstrap(fresh.test.database);
      expect(await fresh.invitations.open(first!.ownerToken)).toMatchObject({ organisation: 'default', slug: 'default' });
      const { orgId, userId } = await fresh.invitations.accept(first!.ownerToken, acceptance('boss'), facts);
      expect(await fresh.grants.of(orgId, userId)).toMatchObject({ grants: [{ role: 'owner', scopes: ['*'] }] });
      await expect(fresh.users.remove(fresh.admin(orgId), userId)).rejects.toMatchObject({ constraint: 'last_owner' });
    } finally {
      await fresh.stop();
    }
  });

  describe('by mail', () => {
    let smtp: SMTPServer;
    let mails: { to: string[]; text: string }[];
    let refuse = false;
    let port: number;
    beforeAll(async () => {
      mails = [];
      port = await freePort();
      smtp = new SMTPServer({
        disabledCommands: ['STARTTLS', 'AUTH'],
        onRcptTo: (_address, _session, done) => done(refuse ? Object.assign(new Error('no'), { responseCode: 550 }) : null),
        onData(stream, session, done) {
          const chunks: Buffer[] = [];
          stream.on('data', (chunk: Buffer) => chunks.push(chunk));
          stream.on('end', () => {
            mails.push({ to: session.envelope.rcptTo.map(({ address }) => address), text: Buffer.concat(chunks).toString('utf8') });
            done();
          });
        },
      });
      await new Promise<void>((resolve) => smtp.listen(port, '127.0.0.1', resolve));
    });
    afterAll(() => new Promise<void>((resolve) => smtp.close(resolve)));

    it('the link is the addressee\'s alone, and makes a verified address', async () => {
      const admin = house.admin(await house.test.organisation('Acme\r\nBcc: evil@example.org'));
      await house.connections.create(admin, { name: 'mail', settings: { kind: 'smtp', host: '127.0.0.1', port, tls: 'none', from: 'HAL9 <hal9@example.com>', to: ['ops@example.com'] } }, { test: false, signal: AbortSignal.timeout(5000) });
      const { link, invitation, mailFailure } = await invite(admin, { email: 'new@example.org', roles: ['viewer'], connection: 'mail' });
      expect([link, mailFailure, invitation.mailed]).toEqual([undefined, undefined, true]);
      expect(mails.map(({ to }) => to)).toEqual([['new@example.org']]);
      expect(mails[0]!.text).not.toMatch(/^Bcc:/m);
      const token = /\/invitations\/([A-Za-z0-9_-]{43})/.exec(mails[0]!.text.replaceAll('=\r\n', ''))?.[1] ?? '';
      const { userId } = await house.invitations.accept(token, acceptance('mailed'), facts);
      expect(await house.users.get(admin, userId)).toMatchObject({ email: 'new@example.org', emailVerified: true });
      refuse = true;
      const failed = await invite(admin, { email: 'other@example.org', connection: 'mail' });
      expect(failed).toMatchObject({ link: expect.stringContaining('/invitations/'), mailFailure: 'the mail server refused the sender or a recipient (SMTP 550)', invitation: { mailed: false } });
      await expect(invite(admin, { email: 'x@example.org', connection: 'gone' })).rejects.toMatchObject({ type: 'NotFound' });
    });
  });
});
