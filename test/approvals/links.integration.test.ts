import { join } from 'node:path';
import { DefaultLogger, NativeConnection, Runtime, Worker } from '@temporalio/worker';
import { Client, Connection } from '@temporalio/client';
import pino from 'pino';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { createApprovalActivities } from '../../activities/approvals/index.ts';
import { ApprovalStore } from '../../database/approvals.ts';
import { startTemporal, type RunningTemporal } from '../../deploy/local/temporal.ts';
import { resolveTool, temporalTool } from '../../deploy/local/tools.ts';
import { createDataConverter } from '../../platform/codec/data-converter.ts';
import { Connections } from '../../platform/connections/connections.ts';
import { Egress } from '../../platform/connections/egress.ts';
import { systemCaller } from '../../platform/identity/caller.ts';
import { KeyRing } from '../../platform/keys/key-ring.ts';
import { createNotify } from '../../platform/notify/notify.ts';
import { createOperations } from '../../platform/operations/operations.ts';
import type { Operations } from '../../platform/operations/contract.ts';
import { TASK_QUEUES } from '../../schemas/names/task-queues.ts';
import contract from '../../schemas/operations/approval.ts';
import { startTestApi, type TestApi, type TestKey } from '../api/running-api.ts';
import { startHttpServer, type LocalServer } from '../environment/http-server.ts';
import { freePort } from '../../platform/telemetry/free-port.ts';

Runtime.install({ logger: new DefaultLogger('ERROR') });

const page = z.object({ items: z.array(z.object({ id: z.uuid(), runId: z.string() })) });

/** The whole way over HTTP: run, message, link, page, answer. */
describe('approvals over HTTP', () => {
  const keys = KeyRing.parse(`test:${Buffer.alloc(32, 7).toString('base64')}`);
  const egress = new Egress({ allowPrivate: true });
  const logger = pino({ level: 'silent' });
  let api: TestApi;
  let temporal: RunningTemporal;
  let native: NativeConnection;
  let connection: Connection;
  let worker: Worker;
  let running: Promise<void>;
  let operations: Operations;
  let slack: LocalServer;
  let key: TestKey;

  beforeAll(async () => {
    temporal = await startTemporal({ executable: await resolveTool(temporalTool(), { env: process.env, progress: () => undefined }), port: await freePort() });
    api = await startTestApi({ TEMPORAL_ADDRESS: temporal.address });
    const { database } = api.database;
    [native, connection] = await Promise.all([NativeConnection.connect({ address: temporal.address }), Connection.connect({ address: temporal.address })]);
    operations = createOperations({ client: new Client({ connection, dataConverter: createDataConverter(keys) }), database, contracts: new Map([[contract.name, contract]]), keys, logger });
    const connections = new Connections({ database, keys, egress });
    slack = await startHttpServer();
    key = await api.key(await api.database.organisation());
    await connections.create(systemCaller(key.orgId, 'test'), { name: 'approvals', settings: { kind: 'slack', url: slack.url } }, { test: false, signal: AbortSignal.timeout(5000) });
    const activities = createApprovalActivities({ store: new ApprovalStore(database), connections, notify: createNotify({ database, connections, egress }), operations, keys, publicUrl: api.url, logger });
    worker = await Worker.create({
      connection: native,
      taskQueue: TASK_QUEUES.core,
      dataConverter: createDataConverter(keys),
      workflowsPath: join(import.meta.dirname, '../../workflows/approval/index.ts'),
      activities: { ...activities },
      shutdownForceTime: '5 seconds',
    });
    running = worker.run();
  });
  afterAll(async () => {
    worker.shutdown();
    await running;
    await operations.close();
    await Promise.all([native.close(), connection.close(), egress.close(), slack.close()]);
    await api.stop();
    await temporal.stop();
  });

  const ask = async (summary: string): Promise<{ link: string; runId: string }> => {
    slack.received.length = 0;
    const { runId } = await operations.start(systemCaller(key.orgId, 'test'), { operation: 'approval', origin: 'decision', input: { summary, reason: 'because', approval: {} } });
    await expect.poll(() => slack.received.length).toBe(1);
    const link = /<(http:[^|]+)\|Open>/.exec(JSON.parse(slack.received[0]!.body).text)?.[1];
    if (link === undefined) throw new Error('no link');
    return { link, runId };
  };
  const authorized = (path: string, init: RequestInit = {}) => fetch(`${api.url}${path}`, { ...init, headers: { authorization: `Bearer ${key.text}`, 'content-type': 'application/json' } });

  const listed = async (query = '') => page.parse(await (await authorized(`/v1/approvals${query}`)).json()).items;

  it('shows a page that changes nothing, answers once by POST, and keeps the token out of the log', async () => {
    const { link, runId } = await ask('Delete <b>3</b> volumes?');
    for (let visit = 0; visit < 2; visit += 1) {
      const shown = await fetch(link);
      expect(shown.status).toBe(200);
      expect(shown.headers.get('content-type')).toBe('text/html; charset=utf-8');
      expect(shown.headers.get('content-security-policy')).toContain("default-src 'none'");
      expect(shown.headers.get('referrer-policy')).toBe('no-referrer');
      expect(shown.headers.get('cache-control')).toBe('no-store');
      const html = await shown.text();
      expect(html).toContain('Delete &lt;b&gt;3&lt;/b&gt; volumes?');
      expect(html).toContain('<form method="post" action="?answer=approve">');
      expect(html).not.toContain('<script');
    }
    expect((await fetch(link, { method: 'HEAD' })).status).toBe(200);
    expect(await listed('?state=open')).toHaveLength(1);
    expect((await fetch(link, { method: 'POST' })).status).toBe(422);

    const answered = await fetch(`${link}?answer=approve`, { method: 'POST', headers: { 'content-type': 'application/x-www-form-urlencoded' } });
    expect([answered.status, await answered.text()]).toEqual([200, expect.stringContaining('<h1>Approved</h1>')]);
    expect((await fetch(`${link}?answer=refuse`, { method: 'POST' })).status).toBe(410);
    expect((await fetch(link)).status).toBe(410);
    expect((await fetch(`${api.url}/approve/x.y.z`)).status).toBe(410);
    expect(await operations.result(systemCaller(key.orgId, 'test'), runId, 10_000)).toMatchObject({ status: 'completed', result: { state: 'approved' } });
    expect(api.log.join('\n')).toContain('"path":"/approve/:token"');
    expect(api.log.join('\n')).not.toContain(link.split('/approve/')[1]?.split('.')[2]);
  });

  it('answers with a key that has the permission', async () => {
    const { runId } = await ask('Again?');
    const id = (await listed()).find((item) => item.runId === runId)?.id;
    const reader = await api.key(key.orgId, ['approvals:read']);
    expect((await fetch(`${api.url}/v1/approvals/${id}/approve`, { method: 'POST', headers: { authorization: `Bearer ${reader.text}` } })).status).toBe(403);
    const refused = await authorized(`/v1/approvals/${id}/refuse`, { method: 'POST', body: JSON.stringify({ comment: 'not today' }) });
    expect([refused.status, await refused.json()]).toMatchObject([200, { id, answers: [{ approver: { kind: 'api-key', id: key.id }, approved: false, comment: 'not today' }] }]);
    expect(await operations.result(systemCaller(key.orgId, 'test'), runId, 10_000)).toMatchObject({ result: { state: 'refused' } });
    expect(await (await authorized(`/v1/approvals/${id}`)).json()).toMatchObject({ state: 'refused', outcome: 'refused' });
    expect((await authorized(`/v1/approvals/${id}/approve`, { method: 'POST' })).status).toBe(409);
    expect((await authorized(`/v1/approvals/${crypto.randomUUID()}/approve`, { method: 'POST' })).status).toBe(404);
  });
});
