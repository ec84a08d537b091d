import { randomBytes, randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { Client, Connection } from '@temporalio/client';
import { bundleWorkflowCode, NativeConnection, Runtime, Worker } from '@temporalio/worker';
import pino from 'pino';
import { afterAll, beforeAll, beforeEach, describe, expect, inject, it } from 'vitest';
import { createWebhookActivities } from '../../activities/webhooks/index.ts';
import { DeliveryStore } from '../../database/deliveries.ts';
import { Egress, type EgressOptions } from '../../platform/connections/egress.ts';
import type { Caller } from '../../platform/identity/caller.ts';
import { systemCaller } from '../../platform/identity/caller.ts';
import { KeyRing } from '../../platform/keys/key-ring.ts';
import type { Operations } from '../../platform/operations/contract.ts';
import { createOperations } from '../../platform/operations/operations.ts';
import { Endpoints } from '../../platform/webhooks/endpoints.ts';
import { WebhookSender } from '../../platform/webhooks/sender.ts';
import { StandardWebhook } from '../../platform/webhooks/standard-webhooks.ts';
import webhookDelivery from '../../schemas/operations/webhook-delivery.ts';
import { createWebhookAnnouncer } from '../../workers/dispatcher/webhooks.ts';
import { createTestDatabase, type TestDatabase } from '../environment/database.ts';
import { startHttpServer, type LocalServer } from '../environment/http-server.ts';
import { createTestNamespace } from '../environment/temporal.ts';

const logger = pino({ level: 'silent' });
const silent = { log() {}, trace() {}, debug() {}, info() {}, warn() {}, error() {} };
const keys = new KeyRing([{ id: 'test', key: randomBytes(32) }]);

let test: TestDatabase;
let operations: Operations;
let endpoints: Endpoints;
let server: LocalServer;
let egress: Egress;
let connection: Connection;
let native: NativeConnection;
let worker: Worker;
let serving: Promise<void>;
let caller: Caller;

beforeAll(async () => {
  Runtime.install({ logger: silent });
  const address = inject('temporalAddress');
  const namespace = await createTestNamespace();
  [test, connection, native, server] = await Promise.all([createTestDatabase(), Connection.connect({ address }), NativeConnection.connect({ address }), startHttpServer()]);
  const workflowBundle = await bundleWorkflowCode({ workflowsPath: join(import.meta.dirname, '../../workflows/webhook-delivery/index.ts'), logger: silent });
  egress = new Egress({ allowPrivate: true });
  const sender = new WebhookSender({ database: test.database, egress, keys });
  worker = await Worker.create({ connection: native, namespace, taskQueue: 'core', workflowBundle, activities: { ...createWebhookActivities(sender) } });
  serving = worker.run();
  operations = createOperations({ client: new Client({ connection, namespace }), database: test.database, contracts: new Map([[webhookDelivery.name, webhookDelivery]]), keys, logger });
  endpoints = new Endpoints({ database: test.database, keys, egress });
});
afterAll(async () => {
  worker.shutdown();
  await serving;
  await operations.close();
  await egress.close();
  await server.close();
  await connection.close();
  await native.close();
  await test.drop();
});
beforeEach(async () => {
  caller = systemCaller(await test.organisation(), 'test');
  server.received.length = 0;
  server.answer = (_, response) => response.end();
});

async function endpoint(more: Readonly<Record<string, unknown>> = {}) {
  return endpoints.create(caller, { name: randomUUID(), url: `${server.url}/hook`, events: ['*'], enabled: true, ...more });
}

/** One dispatcher looks once. */
async function announce(): Promise<void> {
  await createWebhookAnnouncer({ deliveries: new DeliveryStore(test.database), operations, logger }).run(new AbortController().signal);
}

async function until<T>(what: () => Promise<T | undefined>): Promise<T> {
  for (let attempt = 0; attempt < 300; attempt++) {
    const found = await what();
    if (found !== undefined) return found;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error('it never came');
}

async function settled(id: string) {
  return until(async () => {
    const found = await endpoints.message(caller, id);
    return found.message.state === 'pending' && found.attempts.length === 0 ? undefined : found;
  });
}

async function sql(text: string, values: readonly unknown[] = []): Promise<void> {
  await test.database.withOrgClient(caller.orgId, (client) => client.query(text, [...values]));
}

describe('an endpoint', () => {
  it('gets what it can verify, and its run ends when nothing waits', async () => {
    const { endpoint: made, secret } = await endpoint();
    const id = await endpoints.ping(caller, made.id);
    await announce();
    const { message, attempts } = await settled(id);
    expect(message).toMatchObject({ state: 'delivered', type: 'hal9.ping', attempts: 1, lastFailure: null });
    expect(attempts).toMatchObject([{ httpStatus: 200, failure: null }]);
    const [request] = server.received;
    const headers = { 'webhook-id': String(request!.headers['webhook-id']), 'webhook-timestamp': String(request!.headers['webhook-timestamp']), 'webhook-signature': String(request!.headers['webhook-signature']) };
    expect(headers['webhook-id']).toBe(`msg_${id}`);
    expect(new StandardWebhook(secret).verify(request!.body, headers).valid).toBe(true);
    expect(JSON.parse(request!.body)).toEqual({ type: 'hal9.ping', timestamp: message.createdAt.toISOString(), data: { endpointId: made.id } });
    const runId = (await operations.start(caller, { operation: 'webhook-delivery', input: { endpointId: made.id }, origin: 'dispatcher' })).runId;
    expect(await operations.result(caller, runId, 10_000)).toMatchObject({ status: 'completed' });
  });

  it('gets messages signed with both secrets while one is rotated', async () => {
    const { endpoint: made, secret } = await endpoint();
    const rotated = await endpoints.rotate(caller, made.id, { overlapSeconds: 600 });
    const id = await endpoints.ping(caller, made.id);
    await announce();
    await settled(id);
    const { headers, body } = server.received[0]!;
    const sent = { 'webhook-id': String(headers['webhook-id']), 'webhook-timestamp': String(headers['webhook-timestamp']), 'webhook-signature': String(headers['webhook-signature']) };
    expect([secret, rotated.secret].map((one) => new StandardWebhook(one).verify(body, sent).valid)).toEqual([true, true]);
  });

  it('is tried again by the schedule under the same id, by a run that sleeps until then', async () => {
    const { endpoint: made } = await endpoint();
    let failures = 1;
    server.answer = (_, response) => response.writeHead(failures-- > 0 ? 500 : 204).end();
    const id = await endpoints.ping(caller, made.id);
    await announce();
    const { message } = await settled(id);
    expect(message).toMatchObject({ state: 'pending', attempts: 1, lastFailure: 'the service failed (HTTP 500)' });
    expect(Math.round((message.nextAt.getTime() - Date.now()) / 1000)).toBeLessThanOrEqual(5);
    const after = await until(async () => {
      const found = await endpoints.message(caller, id);
      return found.message.state === 'delivered' ? found : undefined;
    });
    expect(after.attempts.map(({ httpStatus }) => httpStatus)).toEqual([500, 204]);
    expect(new Set(server.received.map(({ headers }) => headers['webhook-id'])).size).toBe(1);
  });

  it('waits as long as Retry-After says, and hears of something new only then', async () => {
    const { endpoint: made } = await endpoint();
    server.answer = (_, response) => response.writeHead(429, { 'retry-after': '3600' }).end();
    const id = await endpoints.ping(caller, made.id);
    await announce();
    const { message } = await settled(id);
    expect(message.nextAt.getTime() - Date.now()).toBeGreaterThan(3_500_000);
    expect((await endpoints.get(caller, made.id)).openUntil!.getTime() - Date.now()).toBeGreaterThan(3_500_000);
  });

  it('that is gone is switched off, with what waited', async () => {
    const { endpoint: made } = await endpoint();
    server.answer = (_, response) => response.writeHead(410).end();
    const id = await endpoints.ping(caller, made.id);
    await announce();
    const off = await until(async () => {
      const now = await endpoints.get(caller, made.id);
      return now.enabled ? undefined : now;
    });
    expect(off.disabledReason).toBe('the endpoint answered 410 Gone: it wants no more messages');
    expect((await endpoints.message(caller, id)).message.state).toBe('abandoned');
    await expect(endpoints.redeliver(caller, id)).rejects.toMatchObject({ type: 'Conflict' });
    expect(await endpoints.change(caller, made.id, { ...made, enabled: true })).toMatchObject({ enabled: true, disabledReason: null });
    server.answer = (_, response) => response.end();
    await endpoints.redeliver(caller, id);
    await announce();
    expect((await until(async () => ((await endpoints.message(caller, id)).message.state === 'delivered' ? true : undefined)))).toBe(true);
  });

  it('that fails again and again is left alone for a while, then tried with one message', async () => {
    const { endpoint: made } = await endpoint();
    server.answer = (_, response) => response.writeHead(500).end();
    for (let n = 0; n < 30; n++) await endpoints.ping(caller, made.id);
    // By hand: a run beside it would be at work still when the first failures are counted.
    const sender = new WebhookSender({ database: test.database, egress, keys });
    await sender.deliverDue(caller.orgId, made.id, new AbortController().signal);
    const open = await endpoints.get(caller, made.id);
    expect(open.openUntil).not.toBeNull();
    expect(open.failures).toBeGreaterThanOrEqual(5);
    const before = server.received.length;
    expect(before).toBeGreaterThanOrEqual(5);
    expect(before).toBeLessThan(20);
    expect((await sender.deliverDue(caller.orgId, made.id, new AbortController().signal)).nextInMs).toBeGreaterThan(1000);
    expect(server.received).toHaveLength(before);
    await sql('update webhook_endpoints set open_until = now() where id = $1', [made.id]);
    await sql(`update webhook_messages set next_at = now() where endpoint_id = $1 and state = 'pending'`, [made.id]);
    await sender.deliverDue(caller.orgId, made.id, new AbortController().signal);
    expect(server.received).toHaveLength(before + 1);
  });

  it('gives up when the schedule is used up', async () => {
    const { endpoint: made } = await endpoint({ enabled: true });
    server.answer = (_, response) => response.writeHead(404).end();
    const id = await endpoints.ping(caller, made.id);
    await sql('update webhook_messages set attempts = 9 where id = $1', [id]);
    const sender = new WebhookSender({ database: test.database, egress, keys });
    expect(await sender.deliverDue(caller.orgId, made.id, new AbortController().signal)).toMatchObject({ failed: 1, nextInMs: null });
    expect((await endpoints.message(caller, id)).message).toMatchObject({ state: 'failed', attempts: 10, lastFailure: 'the request was refused (HTTP 404)' });
  });
});

describe('answers', () => {
  it('count by their status, however long they are', async () => {
    const { endpoint: made } = await endpoint();
    server.answer = (_, response) => response.end(Buffer.alloc(2_000_000));
    const id = await endpoints.ping(caller, made.id);
    await announce();
    expect((await settled(id)).message).toMatchObject({ state: 'delivered', attempts: 1 });
  });
});

describe('addresses', () => {
  const strict = async (options: Partial<EgressOptions>, url: string) => {
    const { endpoint: made } = await endpoint({ url });
    const guarded = new Egress({ allowPrivate: false, ...options });
    const id = await endpoints.ping(caller, made.id);
    await new WebhookSender({ database: test.database, egress: guarded, keys }).deliverDue(caller.orgId, made.id, new AbortController().signal);
    await guarded.close();
    return (await endpoints.message(caller, id)).message.lastFailure;
  };

  it('that are private are refused when saved and when connecting', async () => {
    const guarded = new Endpoints({ database: test.database, keys, egress: new Egress({ allowPrivate: false }) });
    await expect(guarded.create(caller, { name: 'x', url: 'http://169.254.169.254/latest', events: ['*'], enabled: true })).rejects.toMatchObject({ type: 'InvalidInput' });
    expect(await strict({}, `${server.url}/hook`)).toContain('private or reserved');
    expect(server.received).toEqual([]);
  });

  it('that change between two look-ups are refused in the one that counts', async () => {
    let asked = 0;
    const resolve = () => Promise.resolve([{ address: asked++ === 0 ? '127.0.0.1' : '203.0.113.1', family: 4 }]);
    expect(await strict({ resolve }, `http://rebinding.example:${String(server.port)}/`)).toContain('private or reserved');
    expect([asked, server.received]).toEqual([1, []]);
  });

  it('are not followed elsewhere', async () => {
    const { endpoint: made } = await endpoint();
    server.answer = (request, response) => response.writeHead(request.path === '/hook' ? 302 : 200, { location: `${server.url}/inside` }).end();
    const id = await endpoints.ping(caller, made.id);
    await announce();
    expect((await settled(id)).message.lastFailure).toBe('the service redirects (HTTP 302); give the final address');
    expect(server.received.map(({ path }) => path)).toEqual(['/hook']);
  });
});

describe('events', () => {
  async function run(status: string, operation = 'greet', runId = `${operation}~${randomUUID()}`): Promise<string> {
    await test.database.systemPool.query(
      `insert into runs (org_id, run_id, operation, origin, status, started_at, closed_at) values ($1, $2, $3, 'api', $4, now(), case when $4 <> 'running' then now() end)
       on conflict (org_id, run_id) do update set status = excluded.status, closed_at = excluded.closed_at`,
      [caller.orgId, runId, operation, status],
    );
    return runId;
  }
  const types = async (endpointId: string) => (await endpoints.messages(caller, { endpointId }, 50)).map(({ type }) => type).reverse();

  it('of runs are written once with their cause, for those who want them', async () => {
    const { endpoint: all } = await endpoint();
    const { endpoint: failures } = await endpoint({ events: ['run.failed', 'approval.*'] });
    const { endpoint: off } = await endpoint({ enabled: false });
    const runId = await run('running');
    await run('completed', 'greet', runId);
    await run('completed', 'greet', runId);
    await run('failed');
    await run('running', 'webhook-delivery');
    expect(await types(all.id)).toEqual(['run.started', 'run.completed', 'run.failed']);
    expect(await types(failures.id)).toEqual(['run.failed']);
    expect(await types(off.id)).toEqual([]);
    expect((await endpoints.messages(caller, { endpointId: all.id }, 50)).at(-1)?.data).toMatchObject({ runId, operation: 'greet', status: 'running' });
  });

  it('of approvals and decisions follow their states, and stay in their organisation', async () => {
    const { endpoint: made } = await endpoint({ events: ['decision.*', 'approval.*'] });
    const [approval, decision] = [randomUUID(), randomUUID()];
    await sql(`insert into approvals (org_id, id, run_id, summary, reason, permission, required, deadline_at) values (hal9_org(), $1, 'approval~x', 's', 'r', 'approvals:write', 1, now())`, [approval]);
    await sql(`update approvals set state = 'approved' where id = $1`, [approval]);
    await sql(
      `insert into decisions (org_id, id, batch_id, layer, ordinal, neuron_id, neuron_version, neuron_name, summary, reason, severity, event_time, causes, state)
       values (hal9_org(), $1, $1, 'L4', 0, $1, 1, 'cool', 'cool it', 'hot', 'critical', now(), '{}', 'pending')`,
      [decision],
    );
    await sql(`update decisions set run_id = 'x' where id = $1`, [decision]);
    await sql(`update decisions set state = 'done' where id = $1`, [decision]);
    expect(await types(made.id)).toEqual(['approval.requested', 'approval.approved', 'decision.made', 'decision.done']);
    caller = systemCaller(await test.organisation(), 'test');
    expect(await endpoints.messages(caller, {}, 10)).toEqual([]);
    await expect(endpoints.get(caller, made.id)).rejects.toMatchObject({ type: 'NotFound' });
  });
});
