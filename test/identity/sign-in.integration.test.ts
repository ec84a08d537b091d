import { createHash, randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { Secret, TOTP } from 'otpauth';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTestApi, type TestApi } from '../api/running-api.ts';
import { createPerson, PASSWORD, Visitor } from './person.ts';

const hashOf = (token: string): Buffer => createHash('sha256').update(token).digest();

describe('signing in', () => {
  let test: TestApi;
  let orgId: string;
  const slug = `house-${randomUUID().slice(0, 8)}`;
  beforeAll(async () => {
    test = await startTestApi({ HAL9_RATE_LIMIT: '0' });
    orgId = await test.database.organisation('House of tests');
    await createPerson(test.database, orgId, { userName: 'owner', role: 'owner', slug });
  });
  afterAll(() => test.stop());

  const visitor = (agent?: string): Visitor => new Visitor(test.url, agent);
  const acts = async (action: string) => {
    const rows = await test.database.database.system.selectFrom('audit_acts').selectAll().where('org_id', '=', orgId).where('action', '=', action).execute();
    return rows;
  };

  it('opens what the rights of the person allow, and nothing else', async () => {
    const { userName, userId } = await createPerson(test.database, orgId, { role: 'viewer' });
    const ada = visitor();
    const answer = await ada.signIn(slug, userName.toUpperCase());
    expect(answer).toMatchObject({ status: 200, body: { kind: 'session', location: '/console/runs.html' } });
    const cookie = answer.headers.get('set-cookie') ?? '';
    expect(cookie).toMatch(/^hal9_session=[\w-]{43}; Path=\/; Max-Age=43200; HttpOnly; SameSite=Lax$/);
    expect(answer.headers.get('cache-control')).toBe('no-store');
    expect((await ada.ask('GET', '/v1/runs')).status).toBe(200);
    expect((await ada.ask('GET', '/v1/api-keys')).status).toBe(403);
    expect((await ada.ask('GET', '/v1/session')).body).toMatchObject({ orgId, actor: { kind: 'user', id: userId }, method: 'password', secondFactor: false });
    expect((await ada.ask('GET', '/v1/sessions')).body['items']).toHaveLength(1);
    const stored = await test.database.database.system.selectFrom('sessions').selectAll().where('user_id', '=', userId).executeTakeFirstOrThrow();
    expect(stored.sealed.toString('latin1')).not.toContain('visitor');
    expect(JSON.stringify(await test.database.database.system.selectFrom('session_tokens').selectAll().execute())).not.toContain([...ada.cookies.values()][0]);
  });

  it('answers alike whoever does not exist, and remembers the refusal without a name outside its personal part', async () => {
    const { userName } = await createPerson(test.database, orgId);
    const attempts = [
      await visitor().signIn(slug, userName, 'wrong password entirely'),
      await visitor().signIn(slug, `nobody-${randomUUID()}`, 'wrong password entirely'),
      await visitor().signIn(`none-${randomUUID().slice(0, 8)}`, userName, 'wrong password entirely'),
    ];
    const [first] = attempts;
    for (const attempt of attempts) expect({ status: attempt.status, body: { ...attempt.body, instance: '' } }).toEqual({ status: 401, body: { ...first!.body, instance: '' } });
    const refused = await acts('session.refuse');
    expect(refused.length).toBeGreaterThanOrEqual(2);
    for (const act of refused) expect(JSON.stringify([act.details, act.resource_id, act.actor_id])).not.toContain(userName);
    expect(refused.some((act) => JSON.stringify(act.personal).includes(userName))).toBe(true);
  });

  it('takes a request by cookie only from a page of ours', async () => {
    const { userName } = await createPerson(test.database, orgId);
    const ada = visitor();
    await ada.signIn(slug, userName);
    const token = ada.csrf;
    const draft = { name: 'by session', scopes: ['runs:read'] };
    ada.csrf = undefined;
    expect((await ada.ask('POST', '/v1/api-keys', draft)).status).toBe(403);
    ada.csrf = 'x'.repeat(token?.length ?? 43);
    expect((await ada.ask('POST', '/v1/api-keys', draft)).status).toBe(403);
    ada.csrf = token;
    expect((await ada.ask('POST', '/v1/api-keys', draft, { origin: 'https://evil.example' })).status).toBe(401);
    expect((await ada.ask('GET', '/v1/runs', undefined, { origin: 'https://evil.example' })).status).toBe(401);
    expect((await ada.ask('POST', '/v1/api-keys', draft, { 'sec-fetch-site': 'cross-site' })).status).toBe(401);
    const other = visitor();
    await other.signIn(slug, userName);
    expect((await ada.ask('POST', '/v1/api-keys', draft, { 'x-csrf-token': other.csrf ?? '' })).status).toBe(403);
    expect((await ada.ask('POST', '/v1/api-keys', draft)).status).toBe(201);
    expect((await visitor().ask('POST', '/v1/sign-in/password', { organisation: slug, userName, password: PASSWORD }, { origin: 'https://evil.example' })).status).toBe(403);
  });

  it('ends sessions here and elsewhere, in every process within a second', async () => {
    const { userName, userId } = await createPerson(test.database, orgId);
    const second = await test.another();
    const [here, there] = [visitor('here'), visitor('there')];
    await here.signIn(slug, userName);
    await there.signIn(slug, userName);
    const elsewhere = new Visitor(`http://127.0.0.1:${second.port}`, 'there');
    for (const [name, value] of there.cookies) elsewhere.cookies.set(name, value);
    expect((await elsewhere.ask('GET', '/v1/runs')).status).toBe(200);
    expect((await here.ask('DELETE', '/v1/sessions')).body).toEqual({ ended: 1 });
    await expect.poll(async () => (await elsewhere.ask('GET', '/v1/runs')).status, { interval: 20 }).toBe(401);
    const owner = visitor();
    await owner.signIn(slug, 'owner');
    expect((await owner.ask('DELETE', `/v1/users/${userId}/sessions`)).body).toEqual({ ended: 1 });
    expect((await here.ask('GET', '/v1/runs')).status).toBe(401);
    expect((await owner.ask('POST', '/v1/session/end')).status).toBe(204);
    expect([...owner.cookies.keys()]).toEqual([]);
    expect((await acts('session.end')).map((act) => act.details)).toEqual(expect.arrayContaining([{ reason: 'revoked' }, { reason: 'sign-out' }]));
  });

  it('ends with the person: sessions, keys they made, streams', async () => {
    const { userName, userId } = await createPerson(test.database, orgId);
    const ada = visitor();
    await ada.signIn(slug, userName);
    const { body: key } = await ada.ask('POST', '/v1/api-keys', { name: 'mine', scopes: ['runs:read', 'signals:write'] });
    const secret = String(key['secret']);
    expect((await visitor().ask('GET', '/v1/runs', undefined, { authorization: `Bearer ${secret}` })).status).toBe(200);
    const stream = new ReadableStream({
      async start(controller) {
        controller.enqueue(new TextEncoder().encode('{"id":"1","source":"stream","type":"test.stream"}\n'));
      },
    });
    const streaming = fetch(`${test.url}/v1/signals`, { method: 'POST', headers: { authorization: `Bearer ${secret}`, 'content-type': 'application/x-ndjson' }, body: stream, duplex: 'half' } as RequestInit).then((answer) => answer.status, () => 'cut');
    await sleep(300);
    const owner = visitor();
    await owner.signIn(slug, 'owner');
    expect((await owner.ask('POST', `/v1/users/${userId}/deactivate`)).status).toBe(200);
    await expect.poll(async () => (await ada.ask('GET', '/v1/runs')).status, { interval: 20 }).toBe(401);
    expect((await visitor().ask('GET', '/v1/runs', undefined, { authorization: `Bearer ${secret}` })).status).toBe(401);
    expect([401, 'cut']).toContain(await streaming);
    expect((await visitor().signIn(slug, userName)).status).toBe(401);
  });

  it('replaces tokens, and ends the family when a replaced one comes back', async () => {
    const { userName, userId } = await createPerson(test.database, orgId);
    const ada = visitor();
    await ada.signIn(slug, userName);
    const old = ada.cookies.get('hal9_session') ?? '';
    const age = (minutes: number) => test.database.database.withOrg(orgId, (tx) => tx.updateTable('session_tokens').set({ issued_at: new Date(Date.now() - minutes * 60_000) }).where('token_hash', '=', hashOf(old)).execute());
    await age(16);
    await sleep(1000);
    expect((await ada.ask('GET', '/v1/runs')).status).toBe(200);
    const next = ada.cookies.get('hal9_session') ?? '';
    expect(next).not.toBe(old);
    const thief = visitor();
    thief.cookies.set('hal9_session', old);
    // Its answer may have been lost: until the next one is used the old one is good, and for a moment longer for requests under way.
    expect((await thief.ask('GET', '/v1/runs')).status).toBe(200);
    thief.cookies.set('hal9_session', old);
    expect((await ada.ask('GET', '/v1/runs')).status).toBe(200);
    expect((await thief.ask('GET', '/v1/runs')).status).toBe(200);
    await test.database.database.withOrg(orgId, (tx) => tx.updateTable('session_tokens').set({ replaced_at: new Date(Date.now() - 31_000) }).where('token_hash', '=', hashOf(old)).execute());
    thief.cookies.set('hal9_session', old);
    await expect.poll(async () => (await thief.ask('GET', '/v1/runs')).status).toBe(401);
    await expect.poll(async () => (await ada.ask('GET', '/v1/runs')).status).toBe(401);
    const reuse = (await acts('session.end')).find((act) => JSON.stringify(act.details).includes('token-reuse'));
    expect(reuse?.risk).toBe(90);
    const row = await test.database.database.system.selectFrom('sessions').select('end_reason').where('user_id', '=', userId).executeTakeFirstOrThrow();
    expect(row.end_reason).toBe('token-reuse');
  });

  it('knows no session that is idle, too old or of another region', async () => {
    const { userName } = await createPerson(test.database, orgId);
    const change = async (set: Record<string, unknown>): Promise<number> => {
      const ada = visitor();
      await ada.signIn(slug, userName);
      const { body } = await ada.ask('GET', '/v1/session');
      await test.database.database.withOrg(orgId, (tx) => tx.updateTable('sessions').set(set).where('id', '=', String(body['id'])).execute());
      await sleep(1000);
      return (await ada.ask('GET', '/v1/runs')).status;
    };
    expect(await change({ last_seen_at: new Date(Date.now() - 3 * 3_600_000) })).toBe(401);
    expect(await change({ expires_at: new Date(Date.now() - 1000) })).toBe(401);
    expect(await change({ region: 'mars-1' })).toBe(401);
    expect(await change({ region: 'local' })).toBe(200);
  });

  it('asks for the second factor, each code once, and lets recovery codes stand in', async () => {
    const { userName } = await createPerson(test.database, orgId);
    const ada = visitor();
    await ada.signIn(slug, userName);
    const { body: begun } = await ada.ask('POST', '/v1/factors/totp/begin');
    const totp = new TOTP({ secret: Secret.fromBase32(String(begun['secret'])) });
    const code = totp.generate();
    expect((await ada.ask('POST', '/v1/factors/totp', { challengeId: begun['challengeId'], code: code === '000000' ? '000001' : '000000' })).status).toBe(422);
    const added = await ada.ask('POST', '/v1/factors/totp', { challengeId: begun['challengeId'], code, name: 'phone' });
    expect(added.status).toBe(201);
    const codes = added.body['recoveryCodes'] as string[];
    expect(new Set(codes).size).toBe(10);
    expect((await ada.ask('GET', '/v1/factors')).body).toMatchObject({ factors: [{ kind: 'totp', name: 'phone' }], recoveryCodes: 10, required: false });

    const again = visitor();
    expect((await again.signIn(slug, userName)).body).toEqual({ kind: 'second-factor', location: '/second-factor' });
    expect((await again.ask('GET', '/v1/runs')).status).toBe(401);
    expect((await again.ask('GET', '/v1/sign-in/second-factor')).body).toEqual({ totp: true, recovery: true, enrol: false, webauthn: null });
    // The code that confirmed the enrolment was taken then.
    expect((await again.ask('POST', '/v1/sign-in/second-factor', { kind: 'totp', code })).status).toBe(401);
    const next = totp.generate({ timestamp: Date.now() + 30_000 });
    expect((await again.ask('POST', '/v1/sign-in/second-factor', { kind: 'totp', code: next })).body).toMatchObject({ kind: 'session' });
    expect((await again.ask('GET', '/v1/session')).body).toMatchObject({ secondFactor: true });
    const third = visitor();
    await third.signIn(slug, userName);
    expect((await third.ask('POST', '/v1/sign-in/second-factor', { kind: 'totp', code: next })).status).toBe(401);
    const [recovery = ''] = codes;
    expect((await third.ask('POST', '/v1/sign-in/second-factor', { kind: 'recovery', code: recovery.toLowerCase().replaceAll('-', ' ') })).status).toBe(200);
    const fourth = visitor();
    await fourth.signIn(slug, userName);
    expect((await fourth.ask('POST', '/v1/sign-in/second-factor', { kind: 'recovery', code: recovery })).status).toBe(401);
    const statuses: number[] = [];
    for (let index = 0; index < 8; index += 1) statuses.push((await fourth.ask('POST', '/v1/sign-in/second-factor', { kind: 'totp', code: '000000' })).status);
    expect(statuses.at(-1)).toBe(429);
  });

  it('makes people add a factor where the organisation requires one', async () => {
    const strict = await test.database.organisation('Strict');
    const strictSlug = `strict-${randomUUID().slice(0, 8)}`;
    const { userName } = await createPerson(test.database, strict, { role: 'owner', slug: strictSlug });
    const ada = visitor();
    await ada.signIn(strictSlug, userName);
    expect((await ada.ask('PUT', '/v1/sign-in-policy', { requireSecondFactor: true, passwords: true })).status).toBe(200);
    const again = visitor();
    expect((await again.signIn(strictSlug, userName)).body).toMatchObject({ kind: 'second-factor' });
    expect((await again.ask('POST', '/v1/sign-in/second-factor', { kind: 'totp', code: '123456' })).status).toBe(401);
    const { body: begun } = await again.ask('POST', '/v1/sign-in/second-factor/totp/begin');
    const totp = new TOTP({ secret: Secret.fromBase32(String(begun['secret'])) });
    const done = await again.ask('POST', '/v1/sign-in/second-factor/totp', { challengeId: begun['challengeId'], code: totp.generate() });
    expect(done.body).toMatchObject({ kind: 'session' });
    expect(done.body['recoveryCodes']).toHaveLength(10);
    await again.readToken();
    const factors = (await again.ask('GET', '/v1/factors')).body['factors'] as { id: string }[];
    expect((await again.ask('DELETE', `/v1/factors/${factors[0]?.id ?? ''}`)).status).toBe(409);
    // What adds a factor on the way in does so for nobody who has one.
    const third = visitor();
    await third.signIn(strictSlug, userName);
    expect((await third.ask('POST', '/v1/sign-in/second-factor/totp/begin')).status).toBe(403);
  });

  it('adds no factor by a sign-in that began before there was one', async () => {
    const strict = await test.database.organisation('Stricter');
    const strictSlug = `stricter-${randomUUID().slice(0, 8)}`;
    const { userName } = await createPerson(test.database, strict, { role: 'owner', slug: strictSlug });
    const ada = visitor();
    await ada.signIn(strictSlug, userName);
    expect((await ada.ask('PUT', '/v1/sign-in-policy', { requireSecondFactor: true, passwords: true })).status).toBe(200);
    // Somebody else knows the password and begins first; then its owner adds a factor.
    const thief = visitor();
    await thief.signIn(strictSlug, userName);
    const begin = async (who: Visitor) => {
      const { body } = await who.ask('POST', '/v1/sign-in/second-factor/totp/begin');
      return { challengeId: body['challengeId'], code: new TOTP({ secret: Secret.fromBase32(String(body['secret'])) }).generate() };
    };
    const prepared = await begin(thief);
    const owner = visitor();
    await owner.signIn(strictSlug, userName);
    expect((await owner.ask('POST', '/v1/sign-in/second-factor/totp', await begin(owner))).body).toMatchObject({ kind: 'session' });
    expect((await thief.ask('POST', '/v1/sign-in/second-factor/totp', prepared)).status).toBe(403);
    expect((await thief.ask('POST', '/v1/sign-in/second-factor/totp/begin')).status).toBe(403);
    expect((await thief.ask('POST', '/v1/sign-in/second-factor/passkey/begin')).status).toBe(403);
    expect((await thief.ask('GET', '/v1/session')).status).toBe(401);
  });

  it('asks for a recent proof before what is sensitive', async () => {
    const { userName, userId } = await createPerson(test.database, orgId);
    const ada = visitor();
    await ada.signIn(slug, userName);
    await test.database.database.withOrg(orgId, (tx) => tx.updateTable('sessions').set({ verified_at: new Date(Date.now() - 11 * 60_000) }).where('user_id', '=', userId).execute());
    await sleep(1000);
    expect((await ada.ask('POST', '/v1/factors/totp/begin')).body).toMatchObject({ type: '/problems/StepUpRequired', status: 403 });
    expect((await ada.ask('POST', '/v1/session/proof', { kind: 'password', password: 'not this one at all' })).status).toBe(401);
    const before = ada.cookies.get('hal9_session');
    expect((await ada.ask('POST', '/v1/session/proof', { kind: 'password', password: PASSWORD })).status).toBe(204);
    expect(ada.cookies.get('hal9_session')).not.toBe(before);
    expect((await ada.ask('POST', '/v1/factors/totp/begin')).status).toBe(200);
  });

  it('changes and resets passwords, by the policy, ending sessions', async () => {
    const { userName, userId } = await createPerson(test.database, orgId);
    const [here, there] = [visitor(), visitor()];
    await here.signIn(slug, userName);
    await there.signIn(slug, userName);
    for (const next of ['short', 'fourteen chars', 'passwordpassword', `${userName}${userName}`, 'x'.repeat(129)]) {
      expect([next, (await here.ask('PUT', '/v1/session/password', { present: PASSWORD, next })).status]).toEqual([next, 422]);
    }
    expect((await here.ask('PUT', '/v1/session/password', { present: 'wrong', next: 'another good long one' })).status).toBe(401);
    expect((await here.ask('PUT', '/v1/session/password', { present: PASSWORD, next: 'another good long one' })).status).toBe(204);
    expect((await here.ask('GET', '/v1/runs')).status).toBe(200);
    expect((await there.ask('GET', '/v1/runs')).status).toBe(401);
    const owner = visitor();
    await owner.signIn(slug, 'owner');
    const { body } = await owner.ask('POST', `/v1/users/${userId}/password-reset`);
    const token = String(body['link']).split('#reset=')[1];
    expect((await visitor().ask('POST', '/v1/sign-in/reset', { token: `${String(token).slice(0, -1)}_`, password: 'a third good long one' })).status).toBe(404);
    expect((await visitor().ask('POST', '/v1/sign-in/reset', { token, password: 'short' })).status).toBe(422);
    expect((await visitor().ask('POST', '/v1/sign-in/reset', { token, password: 'a third good long one' })).status).toBe(204);
    expect((await visitor().ask('POST', '/v1/sign-in/reset', { token, password: 'a fourth good long one' })).status).toBe(404);
    expect((await here.ask('GET', '/v1/runs')).status).toBe(401);
    expect((await visitor().signIn(slug, userName, 'a third good long one')).status).toBe(200);
  });

  it('slows guessing down in all processes, and not for the owner where they signed in before', async () => {
    const { userName } = await createPerson(test.database, orgId);
    const second = await test.another({ HAL9_TRUSTED_PROXIES: '1' });
    const from = async (address: string, password: string) =>
      new Visitor(`http://127.0.0.1:${second.port}`).ask('POST', '/v1/sign-in/password', { organisation: slug, userName, password }, { 'x-forwarded-for': address });
    expect((await from('198.51.100.1', PASSWORD)).status).toBe(200);
    const statuses: number[] = [];
    for (let index = 0; index < 7; index += 1) statuses.push((await from('203.0.113.1', 'wrong password entirely')).status);
    expect(statuses).toEqual([401, 401, 401, 401, 401, 429, 429]);
    const held = await from('203.0.113.1', PASSWORD);
    expect(held.status).toBe(429);
    expect(Number(held.headers.get('retry-after'))).toBeGreaterThan(100);
    for (let index = 0; index < 12; index += 1) await from(`203.0.113.${10 + index}`, 'wrong password entirely');
    expect((await from('203.0.113.99', PASSWORD)).status).toBe(429);
    expect((await from('198.51.100.1', PASSWORD)).status).toBe(200);
    const rows = await test.database.database.systemPool.query<{ key: string }>('select key from sign_in_throttle');
    expect(JSON.stringify(rows.rows)).not.toContain('203.0.113');
  });

  it('says what a sign-in risks', async () => {
    const { userName } = await createPerson(test.database, orgId);
    const risks: number[] = [];
    for (const agent of ['usual', 'usual', 'unusual']) {
      const one = visitor(agent);
      await one.signIn(slug, userName);
      risks.push(Number((await one.ask('GET', '/v1/session')).body['risk']));
    }
    expect(risks).toEqual([0, 0, 15]);
    const taken = visitor('usual');
    await taken.signIn(slug, userName);
    const copy = visitor('another browser');
    for (const [name, value] of taken.cookies) copy.cookies.set(name, value);
    expect((await copy.ask('GET', '/v1/session')).body['risk']).toBe(40);
  });

  it('lets people act below their organisation only where a role reaches', async () => {
    const child = await test.database.organisation('child');
    await test.database.database.system.updateTable('organisations').set({ parent_id: orgId }).where('org_id', '=', child).execute();
    const owner = visitor();
    await owner.signIn(slug, 'owner');
    expect((await owner.ask('GET', '/v1/session', undefined, { 'hal9-organisation': child })).body).toMatchObject({ orgId: child, homeOrgId: orgId });
    const { userName } = await createPerson(test.database, orgId, { role: 'viewer' });
    const viewer = visitor();
    await viewer.signIn(slug, userName);
    expect((await viewer.ask('GET', '/v1/runs', undefined, { 'hal9-organisation': child })).status).toBe(403);
    expect((await owner.ask('GET', '/v1/runs', undefined, { 'hal9-organisation': await test.database.organisation('stranger') })).status).toBe(403);
    expect((await owner.ask('GET', '/v1/runs', undefined, { 'hal9-organisation': 'nonsense' })).status).toBe(422);
  });

  it('has a session of a key end with the key', async () => {
    const key = await test.key(orgId, ['runs:read', 'api-keys:*']);
    const one = visitor();
    expect((await one.ask('POST', '/v1/sign-in/key', { key: key.text, returnTo: '/console/trace.html' })).body).toEqual({ kind: 'session', location: '/console/trace.html' });
    await one.readToken();
    expect((await one.ask('GET', '/v1/runs')).status).toBe(200);
    expect((await one.ask('GET', '/v1/signals')).status).toBe(403);
    expect((await one.ask('GET', '/v1/factors')).status).toBe(403);
    expect((await one.ask('DELETE', `/v1/api-keys/${key.id}`)).status).toBe(200);
    expect((await one.ask('GET', '/v1/runs')).status).toBe(401);
    for (const returnTo of ['https://evil.example', '//evil.example', '/\\evil.example', 'javascript:alert(1)']) {
      const another = await test.key(orgId);
      expect((await visitor().ask('POST', '/v1/sign-in/key', { key: another.text, returnTo })).body['location']).toBe('/console/runs.html');
    }
  });
});
