import pino from 'pino';
import { Registry } from 'prom-client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { assembleApi } from '../../api/assemble.ts';
import { listen, type RunningServer } from '../../api/server.ts';
import { ActWriter } from '../../platform/audit/act-writer.ts';
import { EncryptionCodec } from '../../platform/codec/payload-codec.ts';
import { openIdentity } from '../../api/identity.ts';
import type { ApiKeys } from '../../platform/identity/api-keys.ts';
import { systemCaller, type Caller } from '../../platform/identity/caller.ts';
import { serveProject, type ServedProject } from '../operations/project.ts';

interface Answer {
  status: number;
  headers: Headers;
  body: Record<string, unknown>;
}

describe('runs over REST', () => {
  let project: ServedProject;
  let server: RunningServer;
  let apiKeys: ApiKeys;
  let closeIdentity: () => Promise<void>;
  let secret: string;
  let foreign: string;
  const lines: string[] = [];
  beforeAll(async () => {
    project = await serveProject();
    const { config, keys, operations } = project;
    const logger = pino({}, { write: (line: string) => void lines.push(line) });
    const identity = openIdentity({ config, database: project.test.database, keys, logger });
    apiKeys = identity.apiKeys;
    closeIdentity = () => identity.close();
    const parts = { version: '0', identity, keys, codec: new EncryptionCodec(keys), operations, acts: new ActWriter(project.test.database, logger, new Registry()), dependencies: [], logger, registry: new Registry(), draining: () => false, platformOrganisation: () => Promise.resolve(undefined), resources: [] };
    const { app } = assembleApi({ ...parts, config: { ...config, TEMPORAL_UI_URL: 'http://ui.example' } });
    server = await listen(app, { host: '127.0.0.1', port: 0, logger, drainMs: 100 });
    const key = async () => (await apiKeys.create({ orgId: await project.test.organisation(), actor: { kind: 'system', id: 'test' }, scopes: ['*'], requestId: 'test', traceparent: undefined }, { name: 'test', scopes: ['*'] })).secret;
    [secret, foreign] = [await key(), await key()];
  });
  afterAll(async () => {
    await server.stop();
    await closeIdentity();
    await project.close();
  });

  const ask = async (method: string, path: string, body?: unknown, headers: Record<string, string> = {}): Promise<Answer> => {
    const answer = await fetch(`http://127.0.0.1:${server.port}${path}`, {
      method,
      headers: { authorization: `Bearer ${secret}`, ...(body === undefined ? {} : { 'content-type': 'application/json' }), ...headers },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    return { status: answer.status, headers: answer.headers, body: (await answer.json()) as Record<string, unknown> };
  };
  const start = (input: Record<string, unknown>, headers: Record<string, string> = {}, more: Record<string, unknown> = {}) => ask('POST', '/v1/workflows/greet/runs', { input: { name: 'Ada', ...input }, ...more }, headers);
  const path = (run: Answer, rest = '') => `/v1/runs/${String(run.body['runId'])}${rest}`;

  it('starts a run and waits for its result', async () => {
    const run = await start({}, { traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01' });
    expect(run).toMatchObject({ status: 201, body: { operation: 'greet', status: 'running', created: true, traceId: '0af7651916cd43dd8448eb211c80319c' } });
    expect(run.headers.get('location')).toBe((run.body['links'] as { self: string }).self);
    expect((run.body['links'] as { temporal: string }).temporal).toMatch(/^http:\/\/ui\.example\/namespaces\/test-.+\/workflows\/.+greet%2F/);
    expect(await ask('GET', path(run, '/result?waitSeconds=20'))).toMatchObject({ status: 200, body: { status: 'completed', result: { greeting: 'Good day, Ada.' } } });
    expect(await ask('GET', path(run))).toMatchObject({ status: 200, body: { status: 'completed', operation: 'greet', source: 'read-model' } });
    expect(await ask('GET', path(run, '?include=pending'))).toMatchObject({ status: 200, body: { status: 'completed', source: 'temporal' } });
  });

  it('waits for the end when the client prefers so', async () => {
    const run = await start({}, { prefer: 'respond-async, wait=20' });
    expect(run).toMatchObject({ status: 201, body: { status: 'completed', outcome: { status: 'completed', result: { greeting: 'Good day, Ada.' } } } });
    expect(run.headers.get('preference-applied')).toBe('wait=20');
    expect((await start({ waitFor: true }, { prefer: 'wait=0' })).body).toMatchObject({ status: 'running' });
  });

  it('starts once for one Idempotency-Key', async () => {
    const headers = { 'idempotency-key': 'order-1' };
    const first = await start({ waitFor: true }, headers);
    const again = await start({ waitFor: true }, headers);
    expect([first.headers.get('idempotency-replayed'), again.headers.get('idempotency-replayed'), (await start({})).headers.get('idempotency-replayed')]).toEqual(['false', 'true', null]);
    expect([first.status, again.status, again.body['created'], again.body['runId']]).toEqual([201, 200, false, first.body['runId']]);
    expect(await start({ name: 'Grace' }, headers)).toMatchObject({ status: 409, body: { type: '/problems/IdempotencyMismatch' } });
    expect(await start({}, { 'idempotency-key': 'x'.repeat(300) })).toMatchObject({ status: 422, body: { errors: [{ path: '/headers/idempotency-key' }] } });
  });

  it('passes messages and says what it cannot', async () => {
    const run = await start({ waitFor: true }, {}, { tags: ['spring'] });
    expect(await ask('POST', path(run, '/queries/title'), {})).toMatchObject({ status: 200, body: { answer: null } });
    expect(await ask('POST', path(run, '/updates/rename'), { payload: { name: 'Grace' } })).toMatchObject({ status: 200, body: { answer: { before: 'Ada' } } });
    expect(await ask('POST', path(run, '/updates/rename'), { payload: { name: '' } })).toMatchObject({ status: 409, body: { type: '/problems/UpdateRejected' } });
    expect(await ask('POST', path(run, '/signals/proceed'), { payload: { title: 7 } })).toMatchObject({ status: 422, body: { type: '/problems/InvalidInput' } });
    expect(await ask('POST', path(run, '/signals/nothing'), { payload: {} })).toMatchObject({ status: 404, body: { type: '/problems/UnknownMessage' } });
    expect(await ask('GET', path(run, '/result'))).toMatchObject({ status: 202, body: { status: 'running' } });
    expect(await ask('POST', path(run, '/signals/proceed'), { payload: { title: 'Admiral' } })).toMatchObject({ status: 202 });
    expect(await ask('GET', path(run, '/result?waitSeconds=20'))).toMatchObject({ status: 200, body: { result: { greeting: 'Good day, Admiral Grace.' } } });
    expect(await ask('POST', path(run, '/signals/proceed'), { payload: { title: 'x' } })).toMatchObject({ status: 409, body: { type: '/problems/RunClosed' } });
    expect(await ask('POST', path(run, '/updates/rename'), { payload: { name: 'x' } })).toMatchObject({ status: 409, body: { type: '/problems/RunClosed' } });
    expect(await ask('POST', path(run, '/cancel'))).toMatchObject({ status: expect.toSatisfy((status: number) => status === 202 || status === 409) });
  });

  it('cancels, terminates, and tells failures', async () => {
    const [cancelled, terminated, failed] = [await start({ waitFor: true }), await start({ waitFor: true }), await start({ fail: true })];
    expect((await ask('POST', path(cancelled, '/cancel'))).status).toBe(202);
    expect((await ask('POST', path(terminated, '/terminate'), { reason: 'test' })).status).toBe(200);
    expect((await ask('POST', path(terminated, '/terminate'), {})).status).toBe(422);
    expect(await ask('GET', path(cancelled, '/result?waitSeconds=20'))).toMatchObject({ status: 200, body: { status: 'cancelled' } });
    expect(await ask('GET', path(terminated, '/result?waitSeconds=20'))).toMatchObject({ status: 200, body: { status: 'terminated' } });
    expect(await ask('GET', path(failed, '/result?waitSeconds=20'))).toMatchObject({ status: 200, body: { status: 'failed', failure: { type: 'ActionRefused' } } });
  });

  it('streams a run to its end, and from where a client left', async () => {
    const run = await start({ waitFor: true });
    await expect.poll(async () => (await ask('GET', path(run))).body['source']).toBe('read-model');
    const open = (headers: Record<string, string> = {}): Promise<Response> => fetch(`http://127.0.0.1:${server.port}${path(run, '/stream')}`, { headers: { authorization: `Bearer ${secret}`, ...headers }, signal: AbortSignal.timeout(20_000) });
    const stream = await open();
    expect([stream.status, stream.headers.get('content-type')]).toEqual([200, 'text/event-stream; charset=utf-8']);
    const changes = async () => {
      expect(await ask('POST', path(run, '/pause'))).toMatchObject({ status: 200, body: { changed: true } });
      expect((await ask('GET', path(run))).body['pausedAt']).not.toBeNull();
      await ask('POST', path(run, '/resume'));
      expect((await ask('GET', path(run))).body['pausedAt']).toBeNull();
      await ask('POST', path(run, '/signals/proceed'), { payload: { title: 'Admiral' } });
      await ask('GET', path(run, '/result?waitSeconds=20'));
    };
    const [whole] = await Promise.all([stream.text(), changes()]);
    const events = [...whole.matchAll(/^id: (\d+)\nevent: ([a-z]+)\ndata: (.+)$/gm)].map(([, id, event, data]) => ({ id: Number(id), event, data: JSON.parse(data ?? '') as Record<string, unknown> }));
    expect(events.map(({ event }) => event).filter((event) => event !== 'progress')).toEqual(['started', 'paused', 'resumed', 'closed']);
    expect(events.at(-1)?.data).toMatchObject({ type: 'closed', seq: events.length, data: { status: 'completed' } });
    const rest = await (await open({ 'last-event-id': '1' })).text();
    expect([...rest.matchAll(/^id: (\d+)$/gm)].map(([, id]) => Number(id))).toEqual(events.slice(1).map(({ id }) => id));
    expect((await open({ 'last-event-id': String(events.length) })).status).toBe(204);
    expect((await open({ 'last-event-id': 'x' })).status).toBe(422);
    expect(await ask('GET', '/v1/runs/greet~00000000-0000-4000-8000-000000000000/stream')).toMatchObject({ status: 404 });
  });

  it('ends a stream within a second of the end of its key', async () => {
    const owner: Caller = { ...systemCaller(await project.test.organisation(), 'test') };
    const key = await apiKeys.create(owner, { name: 'short', scopes: ['*'] });
    const headers = { authorization: `Bearer ${key.secret}` };
    const run = await ask('POST', '/v1/workflows/greet/runs', { input: { name: 'Ada', waitFor: true } }, headers);
    const stream = await fetch(`http://127.0.0.1:${server.port}${path(run, '/stream')}`, { headers });
    await apiKeys.revoke(owner, key.key.id);
    await expect(stream.text()).rejects.toThrow();
    expect((await ask('GET', path(run), undefined, headers)).status).toBe(401);
  });

  it('shows what a run did, retries it and replays it from a step', async () => {
    const failed = await start({ fail: true });
    await ask('GET', path(failed, '/result?waitSeconds=20'));
    const history = await ask('GET', path(failed, '/history'));
    expect(history).toMatchObject({ status: 200, body: { steps: expect.arrayContaining([expect.objectContaining({ name: 'refuse', kind: 'activity', state: 'failed', replayable: true, failure: { type: 'ActionRefused', message: 'nobody greets Ada' } })]) } });
    expect(JSON.stringify(history.body)).not.toContain('"input"');
    expect(JSON.stringify((await ask('GET', path(failed, '/history?payloads=true'))).body)).toContain('"input":"Ada"');
    expect(await ask('POST', path(failed, '/replay'), { dryRun: true })).toMatchObject({ status: 200, body: { dryRun: true, epoch: 1, effect: 'idempotent', repeated: [{ name: 'refuse' }] } });
    expect(await ask('POST', path(failed, '/replay'), {})).toMatchObject({ status: 202, body: { dryRun: false, epoch: 1 } });
    expect(await ask('GET', path(failed, '/result?waitSeconds=20'))).toMatchObject({ status: 200, body: { status: 'failed' } });
    const again = await ask('POST', path(failed, '/retry'));
    expect(again).toMatchObject({ status: 201, body: { operation: 'greet', created: true } });
    expect(await ask('POST', path(failed, '/replay'), { fromEvent: 1 })).toMatchObject({ status: 422, body: { errors: [{ path: '/fromEvent' }] } });
    await ask('GET', path(again, '/result?waitSeconds=20'));
    expect((await ask('GET', '/v1/runs/failures?type=greet')).body['items']).toMatchObject([{ operation: 'greet', failure: 'ActionRefused', count: expect.any(Number) }]);
    expect(await ask('GET', '/v1/runs/failures?type=nothing')).toMatchObject({ status: 200, body: { items: [] } });
  });

  it('takes start options within what the operation allows', async () => {
    expect(await start({}, {}, { timeoutSeconds: 10_000 })).toMatchObject({ status: 422, body: { detail: expect.stringContaining('5 minutes') } });
    expect(await start({}, {}, { priority: 9 })).toMatchObject({ status: 422, body: { errors: [{ path: '/priority' }] } });
    const run = await start({ waitFor: true }, {}, { priority: 1, timeoutSeconds: 60, memo: { ticket: 'OPS-7' } });
    expect(await ask('GET', path(run, '?include=pending'))).toMatchObject({ body: { memo: { ticket: 'OPS-7' } } });
    await ask('POST', path(run, '/terminate'), { reason: 'test' });
  });

  it('refuses what it does not know, naming fields of the input', async () => {
    expect(await start({ name: '' })).toMatchObject({ status: 422, body: { errors: [{ path: '/input/name' }] } });
    expect(await ask('POST', '/v1/workflows/greet/runs', {})).toMatchObject({ status: 422 });
    expect(await ask('POST', '/v1/workflows/nothing/runs', { input: {} })).toMatchObject({ status: 404, body: { type: '/problems/UnknownOperation' } });
    expect(await ask('POST', '/v1/workflows/__proto__/runs', { input: {} })).toMatchObject({ status: 404 });
    expect(await ask('GET', '/v1/runs/not-a-run')).toMatchObject({ status: 404 });
    expect(await ask('GET', '/v1/runs/greet~00000000-0000-4000-8000-000000000000')).toMatchObject({ status: 404 });
  });

  it('hides runs of another organisation', async () => {
    const run = await start({ waitFor: true });
    const stranger = { authorization: `Bearer ${foreign}` };
    for (const [method, rest, body] of [['GET', ''], ['GET', '/result'], ['POST', '/cancel'], ['POST', '/terminate', { reason: 'x' }], ['POST', '/signals/proceed', { payload: { title: 'x' } }], ['POST', '/queries/title', {}], ['POST', '/updates/rename', { payload: { name: 'x' } }]] as const) {
      expect([rest, (await ask(method, path(run, rest), body, stranger)).status]).toEqual([rest, 404]);
    }
    expect((await ask('GET', '/v1/runs', undefined, stranger)).body['items']).toEqual([]);
    await ask('POST', path(run, '/terminate'), { reason: 'test' });
  });

  it('lists runs in pages and by filter', async () => {
    for (let index = 0; index < 3; index += 1) await start({ waitFor: true }, {}, { tags: ['page'] });
    await expect.poll(async () => ((await ask('GET', '/v1/runs?tag=page')).body['items'] as unknown[]).length).toBe(3);
    const first = await ask('GET', '/v1/runs?tag=page&limit=2');
    const rest = await ask('GET', `/v1/runs?tag=page&limit=2&cursor=${String(first.body['nextCursor'])}`);
    expect([(first.body['items'] as unknown[]).length, (rest.body['items'] as unknown[]).length, rest.body['nextCursor']]).toEqual([2, 1, null]);
    expect(await ask('GET', '/v1/runs?cursor=nonsense')).toMatchObject({ status: 422 });
    expect(await ask('GET', '/v1/runs?status=nonsense')).toMatchObject({ status: 422 });
  });

  it('shows the catalogue with JSON schemas', async () => {
    const { body } = await ask('GET', '/v1/workflows');
    expect((body['items'] as { type: string }[]).map((item) => item.type)).toEqual(['greet']);
    expect((await ask('GET', '/v1/workflows/greet')).body).toMatchObject({
      type: 'greet',
      input: { type: 'object', required: ['name'] },
      signals: { proceed: { payload: { properties: { title: { type: 'string' } } } } },
      updates: { hail: { permission: 'greetings:write' } },
    });
    expect((await ask('GET', '/v1/workflows/nothing')).status).toBe(404);
  });

  describe('codec endpoint', () => {
    const payloadsOf = async (run: Answer): Promise<unknown[]> => {
      const parts = String(run.body['runId']).split('~');
      const description = await project.temporal.client.workflowService.getWorkflowExecutionHistory({ namespace: project.namespace, execution: { workflowId: `${orgOf(run)}/${parts.join('/')}` } });
      const input = description.history?.events?.[0]?.workflowExecutionStartedEventAttributes?.input?.payloads?.[0];
      const text = (bytes: Uint8Array | null | undefined) => Buffer.from(bytes ?? []).toString('base64');
      return [{ metadata: Object.fromEntries(Object.entries(input?.metadata ?? {}).map(([name, value]) => [name, text(value)])), data: text(input?.data) }];
    };
    const orgOf = (run: Answer) => decodeURIComponent((run.body['links'] as { temporal: string }).temporal.split('/workflows/')[1] ?? '').split('/')[0];
    const decode = (payloads: unknown[], headers: Record<string, string> = {}) => ask('POST', `/codec/${project.namespace}/decode`, { payloads }, headers);

    it('opens payloads of the caller and leaves those of others sealed', async () => {
      const run = await start({ waitFor: true, name: 'Grace Hopper' });
      const payloads = await payloadsOf(run);
      expect(JSON.stringify(payloads)).not.toContain(Buffer.from('Grace Hopper').toString('base64').slice(0, 8));
      const opened = await decode(payloads);
      const [payload] = opened.body['payloads'] as { data: string }[];
      expect(JSON.parse(Buffer.from(payload!.data, 'base64').toString())).toMatchObject({ name: 'Grace Hopper' });
      expect((await decode(payloads, { authorization: `Bearer ${foreign}` })).body['payloads']).toEqual(payloads);
      const sealed = await ask('POST', `/codec/${project.namespace}/encode`, opened.body);
      expect((await decode(sealed.body['payloads'] as unknown[])).body).toEqual(opened.body);
      expect((await ask('POST', '/codec/other/decode', { payloads })).status).toBe(404);
      expect(lines.join('')).toContain('"event":"codec.decode"');
      expect(lines.join('')).not.toContain('Grace Hopper');
      await ask('POST', path(run, '/terminate'), { reason: 'test' });
    });

    it('knows the browser session of the Temporal UI, and only from where it may come', async () => {
      const url = `http://127.0.0.1:${server.port}`;
      const signIn = (key: string, headers: Record<string, string> = {}) => fetch(`${url}/ui-session`, { method: 'POST', body: new URLSearchParams({ key }), redirect: 'manual', headers });
      expect((await fetch(`${url}/ui-session`, { redirect: 'manual' })).headers.get('location')).toBe('/sign-in?returnTo=http%3A%2F%2Fui.example');
      expect((await signIn('wrong')).status).toBe(401);
      expect((await signIn(secret, { origin: 'https://evil.example' })).status).toBe(403);
      const signedIn = await signIn(secret, { origin: url });
      const cookie = signedIn.headers.get('set-cookie') ?? '';
      expect([signedIn.status, signedIn.headers.get('location')]).toEqual([303, 'http://ui.example']);
      expect(cookie).toMatch(/^hal9_session=[\w-]{43}; Path=\/; Max-Age=43200; HttpOnly; SameSite=Lax$/);
      expect(cookie).not.toContain(secret.slice(-43));
      const session = { authorization: '', cookie: cookie.split(';')[0] ?? '' };
      const asSession = (target: string, headers: Record<string, string>) =>
        fetch(url + target, { method: 'POST', headers: { 'content-type': 'application/json', cookie: session.cookie, ...headers }, body: '{"payloads":[]}' });
      const allowed = await asSession(`/codec/${project.namespace}/decode`, { origin: 'http://ui.example' });
      expect([allowed.status, allowed.headers.get('access-control-allow-origin'), allowed.headers.get('access-control-allow-credentials')]).toEqual([200, 'http://ui.example', 'true']);
      expect((await asSession(`/codec/${project.namespace}/decode`, { origin: 'https://evil.example' })).status).toBe(401);
      expect((await asSession('/v1/api-keys', { origin: 'http://ui.example' })).status).toBe(401);
      expect((await asSession('/v1/api-keys', { origin: url })).status).toBe(403);
      const out = await fetch(`${url}/ui-session/end`, { method: 'POST', redirect: 'manual', headers: { cookie: session.cookie } });
      expect(out.headers.get('set-cookie')).toContain('Max-Age=0');
      expect((await asSession(`/codec/${project.namespace}/decode`, { origin: url })).status).toBe(401);
    });
  });
});
