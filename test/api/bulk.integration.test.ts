import pino from 'pino';
import { Registry } from 'prom-client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { assembleApi } from '../../api/assemble.ts';
import { openIdentity } from '../../api/identity.ts';
import { createBulkRoutes } from '../../api/routes/bulk.ts';
import { listen, type RunningServer } from '../../api/server.ts';
import { RunStore } from '../../database/runs.ts';
import { ActWriter } from '../../platform/audit/act-writer.ts';
import { EncryptionCodec } from '../../platform/codec/payload-codec.ts';
import type { ApiKeys } from '../../platform/identity/api-keys.ts';
import { systemCaller, type Caller } from '../../platform/identity/caller.ts';
import { Bulk } from '../../platform/operations/bulk.ts';
import { HAL9_ROOT } from '../../platform/operations/discovery.ts';
import { RunProjection } from '../../platform/operations/run-projection.ts';
import { createDelayedStartGuard } from '../../workers/dispatcher/delayed-starts.ts';
import { PROJECT, serveProject, type ServedProject } from '../operations/project.ts';

type Body = Record<string, unknown>;

describe('many runs over REST', () => {
  let project: ServedProject;
  let server: RunningServer;
  let apiKeys: ApiKeys;
  let closeIdentity: () => Promise<void>;
  let owner: Caller;
  let secret: string;
  let projecting: NodeJS.Timeout;
  const logger = pino({ level: 'silent' });
  beforeAll(async () => {
    project = await serveProject({}, {}, [HAL9_ROOT, PROJECT]);
    const { config, keys, operations, test } = project;
    const identity = openIdentity({ config, database: test.database, keys, logger });
    apiKeys = identity.apiKeys;
    closeIdentity = () => identity.close();
    const registry = new Registry();
    const resources = createBulkRoutes({ bulk: new Bulk({ database: test.database, keys, operations }) });
    const { app } = assembleApi({ config, version: '0', identity, keys, codec: new EncryptionCodec(keys), operations, acts: new ActWriter(test.database, logger, registry), dependencies: [], logger, registry, draining: () => false, platformOrganisation: () => Promise.resolve(undefined), resources });
    server = await listen(app, { host: '127.0.0.1', port: 0, logger, drainMs: 100 });
    owner = systemCaller(await test.organisation(), 'test');
    secret = (await apiKeys.create(owner, { name: 'test', scopes: ['*'] })).secret;
    const projection = new RunProjection(project.temporal.client, new RunStore(test.database));
    projecting = setInterval(() => void projection.advance(AbortSignal.timeout(10_000)).catch(() => undefined), 300);
  });
  afterAll(async () => {
    clearInterval(projecting);
    await server.stop();
    await closeIdentity();
    await project.close();
  });

  const ask = async (method: string, path: string, body?: unknown, key = secret): Promise<{ status: number; headers: Headers; body: Body }> => {
    const answer = await fetch(`http://127.0.0.1:${server.port}${path}`, { method, headers: { 'authorization': `Bearer ${key}`, 'content-type': 'application/json' }, ...(body === undefined ? {} : { body: JSON.stringify(body) }) });
    return { status: answer.status, headers: answer.headers, body: (await answer.json()) as Body };
  };
  const start = async (tag: string, key = secret, more: Body = {}): Promise<string> => String((await ask('POST', '/v1/workflows/greet/runs', { input: { name: 'Ada', waitFor: true }, tags: [tag], ...more }, key)).body['runId']);
  const many = async (tag: string, count: number): Promise<string[]> => {
    const ids: string[] = [];
    for (let n = 0; n < count; n += 1) ids.push(await start(tag));
    await expect.poll(async () => ((await ask('GET', `/v1/runs?tag=${tag}`)).body['items'] as Body[]).length).toBe(count);
    return ids;
  };
  /** Begins it and waits for its end. */
  const act = async (body: Body): Promise<{ location: string; items: Body[]; report: Body }> => {
    const begun = await ask('POST', '/v1/runs/bulk', body);
    expect(begun.status, JSON.stringify(begun.body)).toBe(202);
    const location = begun.headers.get('location') ?? '';
    await expect.poll(async () => (await ask('GET', `/v1/runs/${String(begun.body['runId'])}/result?waitSeconds=10`)).body['status']).toBe('completed');
    return { location, items: (await ask('GET', `${location}/items`)).body['items'] as Body[], report: (await ask('GET', location)).body };
  };

  it('acts on one by its id, on several by their ids, and on all that match a query', async () => {
    const ids = await many('three-ways', 4);
    const [one = '', ...rest] = ids;
    expect((await ask('POST', `/v1/runs/${one}/pause`)).body).toEqual({ changed: true });
    const paused = await act({ action: 'pause', runIds: rest });
    expect(paused.report).toMatchObject({ action: 'pause', counts: { done: 3, failed: 0, waiting: 0 } });
    for (const id of ids) expect((await ask('GET', `/v1/runs/${id}`)).body['pausedAt']).not.toBeNull();
    expect((await act({ action: 'resume', query: { type: 'greet', tag: 'three-ways', status: 'running' } })).report).toMatchObject({ counts: { done: 4 } });
    expect((await act({ action: 'signal', query: { tag: 'three-ways' }, signal: { name: 'proceed', payload: { title: 'Dr' } } })).report).toMatchObject({ counts: { done: 4 } });
    for (const id of ids) expect((await ask('GET', `/v1/runs/${id}/result?waitSeconds=20`)).body).toMatchObject({ status: 'completed', result: { greeting: 'Good day, Dr Ada.' } });
    // Each way says for each run what became of it.
    const late = await act({ action: 'signal', runIds: [...rest, 'greet~00000000-0000-4000-8000-000000000000'], signal: { name: 'proceed', payload: { title: 'Dr' } } });
    expect(late.items).toHaveLength(4);
    for (const { runId, failure } of late.items) expect([runId, failure]).toEqual([runId, rest.includes(String(runId)) ? 'RunClosed' : 'NotFound']);
    const retried = await act({ action: 'retry', runIds: rest });
    expect(new Set(retried.items.map(({ newRunId }) => newRunId)).size).toBe(3);
    expect((await act({ action: 'terminate', runIds: retried.items.map(({ newRunId }) => newRunId), reason: 'test' })).report).toMatchObject({ counts: { done: 3 } });
    const replayed = await act({ action: 'replay', runIds: [one] });
    // Nothing failed in it, so there is no step to begin at.
    expect(replayed.items).toMatchObject([{ state: 'failed', failure: 'InvalidInput' }]);
    expect((await ask('POST', '/v1/runs/bulk', { action: 'cancel', query: {} })).status).toBe(422);
    expect((await ask('POST', '/v1/runs/bulk', { action: 'cancel', query: { tag: 'nothing-has-it' } })).status).toBe(404);
  });

  it('goes at its rate, can be paused, resumed and aborted, and pages its report', async () => {
    const ids = await many('slowly', 5);
    const begun = await ask('POST', '/v1/runs/bulk', { action: 'cancel', runIds: ids, perSecond: 1 });
    const [bulk, location] = [`/v1/runs/${String(begun.body['runId'])}`, begun.headers.get('location') ?? ''];
    const counts = async (): Promise<Record<string, number>> => (await ask('GET', location)).body['counts'] as Record<string, number>;
    await expect.poll(async () => (await counts())['done']).toBeGreaterThan(0);
    expect((await ask('POST', `${bulk}/pause`)).body).toEqual({ changed: true });
    expect((await counts())['waiting']).toBeGreaterThan(0);
    expect((await ask('POST', `${bulk}/resume`)).body).toEqual({ changed: true });
    await ask('POST', `${bulk}/cancel`);
    expect((await ask('GET', `${bulk}/result?waitSeconds=30`)).body).toMatchObject({ status: 'cancelled' });
    const { done = 0, aborted = 0 } = await counts();
    expect([done + aborted, done > 0, aborted > 0]).toEqual([5, true, true]);
    const first = await ask('GET', `${location}/items?limit=3`);
    const second = await ask('GET', `${location}/items?limit=3&cursor=${String(first.body['nextCursor'])}`);
    expect([...(first.body['items'] as Body[]), ...(second.body['items'] as Body[])].map(({ n }) => n)).toEqual([1, 2, 3, 4, 5]);
    expect(((await ask('GET', `${location}/items?state=aborted`)).body['items'] as Body[]).length).toBe(aborted);
    await act({ action: 'terminate', query: { tag: 'slowly', status: 'running' } });
  });

  it('never begins a queued start whose key was revoked', async () => {
    const short = await apiKeys.create(owner, { name: 'short', scopes: ['*'] });
    const concurrency = { key: 'one-at-a-time', limit: 1, onConflict: 'queue' };
    const running = await start('queue', secret, { concurrency });
    const queued = await start('queue', short.secret, { concurrency });
    const other = await start('queue', secret, { concurrency });
    expect((await ask('GET', `/v1/runs/${queued}?include=pending`)).body['lease']).toMatchObject({ state: 'queued' });
    await apiKeys.revoke(owner, short.key.id);
    const guard = createDelayedStartGuard({ client: project.temporal.client, database: project.test.database, logger });
    await expect
      .poll(async () => {
        await guard.run(AbortSignal.timeout(10_000));
        return (await ask('GET', `/v1/runs/${queued}/result`)).body['status'];
      })
      .toBe('terminated');
    // It did nothing, those of other keys wait on, and the one that runs goes on.
    expect(((await ask('GET', `/v1/runs/${queued}/history`)).body['steps'] as Body[]).map(({ kind }) => kind)).toEqual(['run']);
    expect((await ask('GET', `/v1/runs/${other}?include=pending`)).body).toMatchObject({ status: 'running', lease: { state: 'queued' } });
    expect((await ask('GET', `/v1/runs/${running}`)).body).toMatchObject({ status: 'running' });
    for (const id of [running, other]) await ask('POST', `/v1/runs/${id}/terminate`, { reason: 'test' });
  });
});
