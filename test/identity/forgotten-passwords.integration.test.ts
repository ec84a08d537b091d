import { randomUUID } from 'node:crypto';
import { SMTPServer } from 'smtp-server';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { loadConfig } from '../../platform/config/config.ts';
import { KeyRing } from '../../platform/keys/key-ring.ts';
import { createPasswordMails } from '../../workers/dispatcher/password-mails.ts';
import { startTestApi, type TestApi } from '../api/running-api.ts';
import { freePort } from '../../platform/telemetry/free-port.ts';
import { createPerson, PASSWORD, Visitor } from './person.ts';

const NEXT = 'a wholly different sentence 7';

interface Mail {
  readonly to: readonly string[];
  readonly id: string;
  readonly text: string;
}

describe('a forgotten password', () => {
  let test: TestApi;
  let smtp: SMTPServer;
  let port: number;
  let orgId: string;
  const slug = `house-${randomUUID().slice(0, 8)}`;
  const mails: Mail[] = [];
  /** How the mail server answers the next recipients; it takes all when there are no more. */
  const answers: number[] = [];

  beforeAll(async () => {
    port = await freePort();
    smtp = new SMTPServer({
      authOptional: true,
      hideSTARTTLS: true,
      onRcptTo: (_address, _session, done) => {
        const code = answers.shift();
        done(code === undefined ? null : Object.assign(new Error('not now'), { responseCode: code }));
      },
      onData: (stream, session, done) => {
        const chunks: Buffer[] = [];
        stream.on('data', (chunk: Buffer) => chunks.push(chunk));
        stream.on('end', () => {
          // Quoted-printable (RFC 2045, 6.7).
          const text = Buffer.concat(chunks).toString('latin1').replaceAll('=\r\n', '').replaceAll(/=([0-9A-F]{2})/g, (_, hex: string) => String.fromCodePoint(Number.parseInt(hex, 16)));
          mails.push({ to: session.envelope.rcptTo.map(({ address }) => address), id: /^Message-ID: (\S+)/im.exec(text)?.[1] ?? '', text });
          done();
        });
      },
    });
    await new Promise<void>((resolve) => smtp.listen(port, '127.0.0.1', resolve));
    test = await startTestApi({ HAL9_MAIL_URL: `smtp://127.0.0.1:${port}?tls=none`, HAL9_MAIL_FROM: 'HAL9 <no-reply@example.com>', HAL9_PUBLIC_URL: 'http://hal9.test', HAL9_ALLOW_PRIVATE_ADDRESSES: 'true' });
    orgId = await test.database.organisation();
    await createPerson(test.database, orgId, { userName: 'owner', role: 'owner', slug });
  });
  afterAll(async () => {
    await test.stop();
    await new Promise<void>((resolve) => smtp.close(resolve));
  });

  const dispatch = async (): Promise<void> => {
    const config = loadConfig({ DATABASE_URL: test.database.url, TEMPORAL_ADDRESS: inject('temporalAddress'), HAL9_MAIL_URL: `smtp://127.0.0.1:${port}?tls=none`, HAL9_MAIL_FROM: 'HAL9 <no-reply@example.com>', HAL9_PUBLIC_URL: 'http://hal9.test', HAL9_ALLOW_PRIVATE_ADDRESSES: 'true' });
    await createPasswordMails({ config, database: test.database.database, keys: new KeyRing([{ id: 'test', key: Buffer.alloc(32, 7) }]) }).run(AbortSignal.timeout(30_000));
  };
  const person = async (more: { email?: string; verified?: boolean; active?: boolean; password?: boolean } = {}): Promise<{ userId: string; userName: string; email: string }> => {
    const { userId, userName } = await createPerson(test.database, orgId, { role: 'operator' });
    const { email = `${userName}@example.org`, verified = true, active = true, password = true } = more;
    await test.database.database.withOrg(orgId, (tx) => tx.updateTable('users').set({ email, email_verified: verified, active, ...(password ? {} : { password_hash: null }) }).where('id', '=', userId).execute());
    return { userId, userName, email };
  };
  /** Each from an address of its own would be throttled by none: the whole suite comes from one. */
  const forget = async (userName: string, organisation = slug) => {
    await test.database.database.systemPool.query('delete from sign_in_throttle where key like $1', ['address%']);
    return new Visitor(test.url).ask('POST', '/v1/sign-in/forgotten', { organisation, userName });
  };
  const mailed = async (): Promise<Mail[]> => {
    mails.length = 0;
    await dispatch();
    return [...mails];
  };
  const tokenOf = (mail: Mail | undefined): string => /#reset=(\S+)/.exec(mail?.text ?? '')?.[1] ?? '';
  const reset = (token: string, password = NEXT) => new Visitor(test.url).ask('POST', '/v1/sign-in/reset', { token, password });
  const waiting = async (): Promise<number> => (await test.database.database.systemPool.query('select from password_mails')).rows.length;
  const acts = async (userId: string): Promise<string[]> =>
    (await test.database.database.systemPool.query<{ said: string }>("select action || ' ' || result as said from audit_acts where org_id = $1 and resource_id = $2 order by at", [orgId, userId])).rows.map((row) => row.said);

  it('is set anew by a link in a mail, once, and every session ends', async () => {
    const ada = await person();
    const visitor = new Visitor(test.url);
    await visitor.signIn(slug, ada.userName);
    expect((await new Visitor(test.url).ask('GET', `/v1/sign-in/organisations/${slug}`)).body).toMatchObject({ resetByMail: true });
    expect((await forget(ada.userName.toUpperCase())).status).toBe(204);
    const [mail, ...more] = await mailed();
    expect(more).toEqual([]);
    expect(mail).toMatchObject({ to: [ada.email], text: expect.stringContaining('http://hal9.test/welcome#reset=') });
    // Whoever only looks at it, as mail filters do, changes nothing.
    expect((await new Visitor(test.url).ask('GET', '/welcome')).status).toBe(200);
    expect((await visitor.ask('GET', '/v1/session')).status).toBe(200);
    expect((await reset(tokenOf(mail), 'short')).status).toBe(422);
    expect((await reset(tokenOf(mail))).status).toBe(204);
    expect((await reset(tokenOf(mail))).status).toBe(404);
    expect((await visitor.ask('GET', '/v1/session')).status).toBe(401);
    expect(await acts(ada.userId)).toEqual(['password.mail-reset succeeded', 'password.reset succeeded']);
    expect((await new Visitor(test.url).signIn(slug, ada.userName, PASSWORD)).status).toBe(401);
    expect((await new Visitor(test.url).signIn(slug, ada.userName, NEXT)).status).toBe(200);
    expect(await waiting()).toBe(0);
  });

  it('is found by an address that is confirmed and one person\'s alone; everybody else gets the same answer and no mail', async () => {
    const [ada, unconfirmed, gone, twin, other] = [await person(), await person({ verified: false }), await person({ active: false }), await person({ email: 'twin@example.org' }), await person({ email: 'twin@example.org' })];
    const asked = [ada.email, unconfirmed.userName, unconfirmed.email, gone.userName, 'twin@example.org', 'nobody', 'nobody@example.org'];
    const heard = new Set<string>();
    for (const name of asked) {
      const { status, body, headers } = await forget(name);
      heard.add(JSON.stringify([status, body, [...headers.keys()].sort()]));
    }
    expect(heard.size).toBe(1);
    expect((await mailed()).map((mail) => mail.to)).toEqual([[ada.email]]);
    // A name is one person's.
    await forget(twin.userName);
    expect((await mailed()).map((mail) => mail.to)).toEqual([['twin@example.org']]);
    expect(await acts(other.userId)).toEqual([]);
    expect(await waiting()).toBe(0);
    expect((await forget('nobody', 'no-such-house')).status).toBe(404);
  });

  it('tells people who sign in at a provider where, and gives them no password', async () => {
    const grace = await person({ password: false });
    await forget(grace.userName);
    const [mail] = await mailed();
    expect(mail?.text).toContain(`http://hal9.test/sign-in/${slug}`);
    expect(tokenOf(mail)).toBe('');
  });

  it('is not set by a link older than another change, nor by one of several once one was used', async () => {
    const ada = await person();
    await forget(ada.userName);
    await forget(ada.email);
    const links = (await mailed()).map(tokenOf);
    expect(links).toHaveLength(2);
    expect((await reset(links[0] ?? '')).status).toBe(204);
    expect((await reset(links[1] ?? '')).status).toBe(404);
    // Of several who use one link at the same moment one succeeds.
    await forget(ada.userName);
    const token = tokenOf((await mailed())[0]);
    const statuses = await Promise.all(Array.from({ length: 5 }, async (_, index) => (await reset(token, `${NEXT} ${index}`)).status));
    expect(statuses.toSorted((a, b) => a - b)).toEqual([204, 404, 404, 404, 404]);
  });

  it('is mailed three times an hour for a name, and asked for by an address as often as anything else of signing in', async () => {
    const ada = await person();
    for (let count = 0; count < 5; count += 1) expect((await forget(ada.userName)).status).toBe(204);
    expect(await mailed()).toHaveLength(3);
    await test.database.database.systemPool.query('delete from sign_in_throttle where key like $1', ['address%']);
    const statuses: number[] = [];
    for (let count = 0; count < 31; count += 1) statuses.push((await new Visitor(test.url).ask('POST', '/v1/sign-in/forgotten', { organisation: slug, userName: `guess-${count}` })).status);
    expect([new Set(statuses.slice(0, 30)), statuses.at(-1)]).toEqual([new Set([204]), 429]);
    await mailed();
  });

  it('waits for a mail server that is away, with one letter; and says when it never takes it', async () => {
    const ada = await person();
    await forget(ada.userName);
    answers.push(451);
    expect(await mailed()).toEqual([]);
    expect(await waiting()).toBe(1);
    const sealed = (await test.database.database.systemPool.query<{ sealed: Buffer }>('select sealed from password_mails')).rows[0]?.sealed;
    expect(sealed?.includes(ada.userName)).toBe(false);
    await test.database.database.systemPool.query('update password_mails set next_at = now()');
    const [mail] = await mailed();
    expect(mail?.id).toMatch(/^<[0-9a-f-]{36}@hal9>$/);
    expect((await reset(tokenOf(mail))).status).toBe(204);
    await forget(ada.userName);
    answers.push(550);
    expect(await mailed()).toEqual([]);
    expect([await waiting(), (await acts(ada.userId)).at(-1)]).toEqual([0, 'password.mail-reset failed']);
    // Past its hour nothing is sent any more.
    await forget(ada.email);
    await test.database.database.systemPool.query("update password_mails set expires_at = now() - interval '1 second'");
    expect([await mailed(), await waiting()]).toEqual([[], 0]);
  });

  it('goes through the connection of the organisation, where it names one', async () => {
    const key = await test.key(orgId);
    const send = (method: string, path: string, body: unknown) => fetch(test.url + path, { method, headers: { authorization: `Bearer ${key.text}`, 'content-type': 'application/json' }, body: JSON.stringify(body) });
    expect((await send('POST', '/v1/connections?test=false', { name: 'house-mail', settings: { kind: 'smtp', host: '127.0.0.1', port, tls: 'none', from: 'house@example.org', to: ['ops@example.org'] } })).status).toBe(201);
    expect((await send('PUT', '/v1/sign-in-policy', { requireSecondFactor: false, mailConnection: 'house-mail' })).status).toBe(200);
    const ada = await person();
    await forget(ada.userName);
    expect(await mailed()).toMatchObject([{ to: [ada.email] }]);
    await send('PUT', '/v1/sign-in-policy', { requireSecondFactor: false, mailConnection: 'gone' });
    await forget(ada.userName);
    expect([await mailed(), (await acts(ada.userId)).at(-1)]).toEqual([[], 'password.mail-reset failed']);
  });

  it('leaves nothing of it in the log', () => {
    expect(test.log.join('\n')).not.toMatch(/reset=|@example\.org/);
  });
});
