import { randomBytes } from 'node:crypto';
import { SMTPServer } from 'smtp-server';
import { Webhook } from 'standardwebhooks';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { NotificationStore } from '../../database/notifications.ts';
import { Connections } from '../../platform/connections/connections.ts';
import { Egress } from '../../platform/connections/egress.ts';
import { systemCaller, type Caller } from '../../platform/identity/caller.ts';
import { KeyRing } from '../../platform/keys/key-ring.ts';
import { createNotify, type Notification, type Notify } from '../../platform/notify/notify.ts';
import type { ConnectionSettings } from '../../schemas/rest/connections.ts';
import { createTestDatabase, type TestDatabase } from '../environment/database.ts';
import { json, startHttpServer, type LocalServer } from '../environment/http-server.ts';
import { freePort } from '../../platform/telemetry/free-port.ts';

const CANARY = 'canary-91ab-password';

describe('notify', () => {
  const egress = new Egress({ allowPrivate: true });
  let test: TestDatabase;
  let server: LocalServer;
  let connections: Connections;
  let notify: Notify;
  let caller: Caller;
  beforeAll(async () => {
    test = await createTestDatabase();
    connections = new Connections({ database: test.database, keys: new KeyRing([{ id: 'a', key: randomBytes(32) }]), egress });
    notify = createNotify({ database: test.database, connections, egress });
  });
  afterAll(async () => {
    await egress.close();
    await test.drop();
  });
  beforeEach(async () => {
    server = await startHttpServer((_, response) => response.end('ok'));
    caller = systemCaller(await test.organisation(), 'test');
  });
  afterEach(() => server.close());

  const connect = (settings: ConnectionSettings) => connections.create(caller, { name: 'out', settings }, { test: false, signal: AbortSignal.timeout(5000) });
  const alarm = (change: Partial<Notification> = {}): Notification => ({ connection: 'out', title: 'Disk full\nsoon', message: 'web-1 <4 %> & falling', severity: 'critical', dedupKey: 'incident-1', link: 'https://hal9.example/i/1', ...change });

  it('posts what Slack-compatible servers show, once, with markup and mentions escaped', async () => {
    await connect({ kind: 'slack', url: `${server.url}/services/T/B/${CANARY}` });
    const results = await Promise.all(Array.from({ length: 8 }, () => notify.send(caller, alarm({ message: '<!channel> <4 %> & falling' }))));
    expect(server.received).toHaveLength(1);
    expect(results.filter((result) => result.state === 'delivered').length).toBeGreaterThanOrEqual(1);
    expect(JSON.parse(server.received[0]!.body)).toEqual({ text: ':rotating_light: *Disk full soon*\n&lt;!channel&gt; &lt;4 %&gt; &amp; falling\n<https://hal9.example/i/1|Open>' });
    expect(await notify.send(caller, alarm())).toMatchObject({ state: 'delivered', attempts: 1 });
    expect(server.received).toHaveLength(1);
  });

  it('triggers and resolves with one dedup key as PagerDuty Events v2 say', async () => {
    server.answer = (_, response) => json(response, 202, { status: 'success' });
    await connect({ kind: 'pagerduty', routingKey: CANARY, baseUrl: server.url });
    await notify.send(caller, alarm());
    await notify.send(caller, alarm({ action: 'resolve' }));
    expect(server.received.map(({ path }) => path)).toEqual(['/v2/enqueue', '/v2/enqueue']);
    expect(JSON.parse(server.received[0]!.body)).toMatchObject({ routing_key: CANARY, event_action: 'trigger', dedup_key: 'incident-1', payload: { summary: 'Disk full soon', source: 'hal9', severity: 'critical' } });
    expect(JSON.parse(server.received[1]!.body)).toEqual({ routing_key: CANARY, event_action: 'resolve', dedup_key: 'incident-1' });
  });

  it('signs webhooks as Standard Webhooks say, with the same id in every attempt', async () => {
    const secret = `whsec_${randomBytes(32).toString('base64')}`;
    await connect({ kind: 'webhook', url: `${server.url}/hook`, headers: { authorization: `Bearer ${CANARY}` }, secret });
    server.answer = (_, response) => json(response, 503, { echo: CANARY }, { 'retry-after': '30' });
    const first = await notify.send(caller, alarm());
    expect(first).toMatchObject({ state: 'queued', attempts: 1, lastFailure: 'the service is unavailable (HTTP 503)', retryAfterSeconds: 30 });
    await expect(notify.deliver(caller, alarm())).rejects.toMatchObject({ type: 'ExternalCallFailed' });
    server.answer = (_, response) => response.end();
    expect(await notify.deliver(caller, alarm())).toMatchObject({ id: first.id, state: 'delivered', attempts: 3, lastFailure: null });
    const ids = server.received.map(({ headers }) => headers['webhook-id']);
    expect(new Set(ids)).toEqual(new Set([first.id]));
    for (const { body, headers } of server.received) {
      expect(new Webhook(secret).verify(body, { 'webhook-id': String(headers['webhook-id']), 'webhook-timestamp': String(headers['webhook-timestamp']), 'webhook-signature': String(headers['webhook-signature']) })).toMatchObject({ type: 'hal9.notification', data: { severity: 'critical', dedupKey: 'incident-1' } });
      expect(headers['authorization']).toBe(`Bearer ${CANARY}`);
    }
    expect(() => new Webhook(secret).verify(`${server.received[0]!.body} `, { 'webhook-id': first.id, 'webhook-timestamp': String(server.received[0]!.headers['webhook-timestamp']), 'webhook-signature': String(server.received[0]!.headers['webhook-signature']) })).toThrow('No matching signature');
  });

  it('gives up at once on what no retry mends, and says why without secrets', async () => {
    await connect({ kind: 'webhook', url: `${server.url}/${CANARY}`, headers: {} });
    server.answer = (_, response) => json(response, 404, { path: CANARY });
    const failed = await notify.send(caller, alarm());
    expect(failed).toMatchObject({ state: 'failed', attempts: 1, lastFailure: 'the request was refused (HTTP 404)', retryAfterSeconds: null });
    await expect(notify.deliver(caller, alarm())).rejects.toMatchObject({ type: 'Conflict' });
    expect(server.received).toHaveLength(1);
    expect(JSON.stringify(await new NotificationStore(test.database).list(caller.orgId, {}, 10))).not.toContain(CANARY);
  });

  it('fails for good after its last attempt', async () => {
    await connect({ kind: 'slack', url: server.url });
    server.answer = (_, response) => response.writeHead(500).end();
    let last = await notify.send(caller, alarm());
    for (let attempt = 2; attempt <= 10; attempt += 1) last = await notify.send(caller, alarm());
    expect(last).toMatchObject({ state: 'failed', attempts: 10 });
  });

  it('lists deliveries of one organisation, newest first, page by page', async () => {
    const connection = await connect({ kind: 'slack', url: server.url });
    for (let index = 0; index < 5; index += 1) await notify.send(caller, alarm({ dedupKey: `k${index}` }));
    const store = new NotificationStore(test.database);
    const page = await store.list(caller.orgId, { connectionId: connection.id, state: 'delivered' }, 3);
    const last = page.at(-1)!;
    const rest = await store.list(caller.orgId, {}, 3, { createdAt: last.createdAt, id: last.id });
    expect([...page, ...rest].map((delivery) => delivery.dedupKey)).toEqual(['k4', 'k3', 'k2', 'k1', 'k0']);
    expect(await store.list(await test.organisation(), {}, 10)).toEqual([]);
  });

  it('carries nothing through a connection that is missing or of another kind', async () => {
    await expect(notify.send(caller, alarm())).rejects.toMatchObject({ type: 'NotFound' });
    await connect({ kind: 'http', baseUrl: server.url, headers: {} });
    await expect(notify.send(caller, alarm())).rejects.toMatchObject({ type: 'Conflict' });
  });

  describe('by mail', () => {
    let mails: { from: string; to: string[]; text: string }[];
    let refuse: string | undefined;
    let smtp: SMTPServer;
    let port: number;
    beforeEach(async () => {
      mails = [];
      refuse = undefined;
      port = await freePort();
      smtp = new SMTPServer({
        disabledCommands: ['STARTTLS'],
        onAuth: (auth, _session, done) => (auth.username === 'hal9' && auth.password === CANARY ? done(null, { user: 'hal9' }) : done(new Error('no'))),
        onRcptTo: (_address, _session, done) => done(refuse === undefined ? null : Object.assign(new Error('no'), { responseCode: Number(refuse) })),
        onData(stream, session, done) {
          const chunks: Buffer[] = [];
          stream.on('data', (chunk: Buffer) => chunks.push(chunk));
          stream.on('end', () => {
            const { mailFrom, rcptTo } = session.envelope;
            mails.push({ from: mailFrom === false ? '' : mailFrom.address, to: rcptTo.map(({ address }) => address), text: Buffer.concat(chunks).toString('utf8') });
            done();
          });
        },
      });
      await new Promise<void>((resolve) => smtp.listen(port, '127.0.0.1', resolve));
    });
    afterEach(() => new Promise<void>((resolve) => smtp.close(resolve)));

    const mail = (password = CANARY, tls: 'none' | 'starttls' = 'none'): ConnectionSettings => ({ kind: 'smtp', host: '127.0.0.1', port, tls, username: 'hal9', password, from: 'HAL9 <hal9@example.com>', to: ['ops@example.com', 'lead@example.com'] });

    it('signs in, sends, and tests without sending', async () => {
      await connections.create(caller, { name: 'out', settings: mail() }, { test: true, signal: AbortSignal.timeout(5000) });
      expect(mails).toEqual([]);
      const delivery = await notify.send(caller, alarm());
      expect(delivery).toMatchObject({ state: 'delivered' });
      expect(mails).toHaveLength(1);
      expect(mails[0]).toMatchObject({ from: 'hal9@example.com', to: ['ops@example.com', 'lead@example.com'] });
      expect(mails[0]!.text).toMatch(/^Subject: Disk full soon\r$/m);
      expect(mails[0]!.text).toContain(`Message-ID: <${delivery.id}@hal9>`);
      expect(mails[0]!.text).toContain('https://hal9.example/i/1');
    });

    it('tells a wrong password from a server that is away, by name and not by value', async () => {
      await expect(connections.create(caller, { name: 'out', settings: mail('wrong') }, { test: true, signal: AbortSignal.timeout(5000) })).rejects.toMatchObject({ type: 'InvalidInput', message: expect.stringContaining('refused the user name or password') });
      await connect(mail());
      refuse = '451';
      expect(await notify.send(caller, alarm())).toMatchObject({ state: 'queued', lastFailure: 'the mail server refused the sender or a recipient (SMTP 451)' });
      refuse = '550';
      expect(await notify.send(caller, alarm())).toMatchObject({ state: 'failed', lastFailure: 'the mail server refused the sender or a recipient (SMTP 550)' });
      await new Promise<void>((resolve) => smtp.close(resolve));
      expect(await notify.send(caller, alarm({ dedupKey: 'other' }))).toMatchObject({ state: 'queued', lastFailure: 'no connection to the mail server' });
    });

    it('insists on TLS where it was asked for', async () => {
      await connect(mail(CANARY, 'starttls'));
      expect(await notify.send(caller, alarm())).toMatchObject({ state: 'failed', lastFailure: 'no encrypted connection to the mail server' });
      expect(mails).toEqual([]);
    });
  });
});
