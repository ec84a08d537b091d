import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { once } from 'node:events';
import { afterAll, afterEach, beforeAll, describe, expect, expectTypeOf, it } from 'vitest';
import { ApiError, ConnectionError, Hal9Client, RequestTimeout, type CallAnswer, type Retry, type StreamEvent } from '../../clients/typescript/index.ts';
import { serveApi, type ServedApi } from './served-api.ts';

describe('the TypeScript client against the API', () => {
  let served: ServedApi;
  let client: Hal9Client;
  beforeAll(async () => {
    served = await serveApi();
    client = new Hal9Client({ url: served.url, credential: served.credential });
  });
  afterAll(() => served.stop());

  it('starts a run, messages it and reads its result', async () => {
    const started = await client.runs.start('greet', { name: 'Ada', waitFor: true }, { tags: ['client'] });
    expect(started).toMatchObject({ operation: 'greet', status: 'running', created: true });
    expect(await client.runs.query(started.runId, 'title')).toBeNull();
    expect(await client.runs.update(started.runId, 'rename', { name: 'Grace' })).toEqual({ before: 'Ada' });
    await expect(client.runs.result(started.runId, { limitMs: 10 })).rejects.toThrow(RequestTimeout);
    await client.runs.signal(started.runId, 'proceed', { title: 'Admiral' });
    expect(await client.runs.result(started.runId, { limitMs: 20_000 })).toEqual({ status: 'completed', result: { greeting: 'Good day, Admiral Grace.' } });
    expect((await client.runs.get(started.runId)).tags).toEqual(['client']);
    await expect(client.runs.signal(started.runId, 'proceed', { title: 'late' })).rejects.toMatchObject({ type: 'RunClosed', status: 409 });
  });

  it('starts one run for one idempotency key, and ends runs', async () => {
    const start = () => client.runs.start('greet', { name: 'Ada', waitFor: true }, { idempotencyKey: 'once' });
    const [first, second] = [await start(), await start()];
    expect(second).toMatchObject({ runId: first.runId, created: false });
    await client.runs.cancel(first.runId);
    expect((await client.runs.result(first.runId, { limitMs: 20_000 })).status).toBe('cancelled');
    const other = await client.runs.start('greet', { name: 'Bob', waitFor: true });
    await client.runs.terminate(other.runId, 'enough');
    expect((await client.runs.result(other.runId)).status).toBe('terminated');
  });

  it('throws what the API says as a typed error', async () => {
    const failure = await client.runs.start('greet', { name: '' }).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(ApiError);
    expect(failure).toMatchObject({ type: 'InvalidInput', status: 422, retryable: false, errors: [{ path: '/input/name' }] });
    expect((failure as ApiError).requestId).not.toBe('');
    expect((failure as ApiError).remedy).toContain('errors');
    await expect(new Hal9Client({ url: served.url, credential: 'hal9_wrong' }).call('listRuns', { params: {} })).rejects.toMatchObject({ type: 'Unauthenticated' });
    await expect(client.call('getRun', { params: { id: 'greet~none' } })).rejects.toMatchObject({ type: 'NotFound' });
  });

  it('knows the types of every operation', async () => {
    expectTypeOf<CallAnswer<'listApiKeys'>['items'][number]['scopes']>().toEqualTypeOf<string[]>();
    expectTypeOf(client.runs.list()).toExtend<AsyncGenerator<{ runId: string; startedAt: string }>>();
    // @ts-expect-error an id is needed
    await expect(client.call('getRun', { params: {} })).rejects.toThrow('needs id');
  });

  it('follows the cursor of a list', async () => {
    const names = ['one', 'two', 'three', 'four', 'five'];
    for (const name of names) await client.call('createApiKey', { params: {}, body: { name, scopes: ['runs:read'] } });
    const seen: string[] = [];
    for await (const key of client.items('listApiKeys', { limit: 2 })) seen.push(key.name);
    expect(seen).toEqual(expect.arrayContaining(names));
  });

  it('uploads lines in order, no faster than they are committed, and reports the bad ones by number', async () => {
    let asked = 0;
    let committed = 0;
    let ahead = 0;
    async function* source() {
      for (let number = 1; number <= 2500; number += 1) {
        asked = number;
        ahead = Math.max(ahead, asked - committed);
        yield number === 1700 ? 'not json\n' : `${JSON.stringify({ id: String(number), source: 'client', type: 'test.line', data: { number } })}\n`;
      }
    }
    const upload = await client.signals.upload(source(), { lines: 500, onProgress: ({ lines }) => void (committed = lines) });
    expect(upload).toMatchObject({ lines: 2500, accepted: 2499, duplicates: 0, rejected: 1, rejections: [{ line: 1700 }] });
    expect(ahead).toBeLessThanOrEqual(501);
    expect(await client.signals.send([{ id: '1', source: 'client', type: 'test.line' }])).toMatchObject({ accepted: 0, duplicates: 1 });
  });
});

describe('the TypeScript client with a server that misbehaves', () => {
  let server: Server | undefined;
  afterEach(() => {
    server?.closeAllConnections();
    server?.close();
  });

  const serve = async (answer: (request: IncomingMessage, response: ServerResponse, count: number) => void): Promise<string> => {
    let count = 0;
    server = createServer((request, response) => answer(request, response, (count += 1))).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const address = server.address();
    return `http://127.0.0.1:${typeof address === 'object' && address !== null ? address.port : 0}`;
  };
  const problem = (response: ServerResponse, status: number, headers: Record<string, string> = {}) =>
    response.writeHead(status, { 'content-type': 'application/problem+json', ...headers }).end(JSON.stringify({ type: '/problems/RateLimited', title: 'Too many requests', status, detail: 'slow down', instance: 'r', remedy: 'wait', retryable: true, errors: [] }));

  it('waits as long as Retry-After says and sends the same key again', async () => {
    const keys: unknown[] = [];
    const retries: Retry[] = [];
    const url = await serve((request, response, count) => {
      keys.push(request.headers['idempotency-key']);
      request.resume();
      if (count === 1) problem(response, 429, { 'retry-after': '0' });
      else if (count === 2) problem(response, 502);
      else response.writeHead(201, { 'content-type': 'application/json' }).end('{"runId":"greet~1"}');
    });
    const client = new Hal9Client({ url, onRetry: (retry) => void retries.push(retry) });
    expect(await client.runs.start('greet', {})).toEqual({ runId: 'greet~1' });
    expect(retries).toMatchObject([{ attempt: 1, waitMs: 0, reason: 'HTTP 429' }, { attempt: 2, reason: 'HTTP 502' }]);
    expect(new Set(keys).size).toBe(1);
  });

  it('gives up when told to wait longer than it may, and does not repeat what may have been done', async () => {
    let requests = 0;
    const url = await serve((request, response) => {
      requests += 1;
      request.resume();
      problem(response, request.url === '/v1/runs' ? 503 : 502, { 'retry-after': '3600' });
    });
    const client = new Hal9Client({ url });
    await expect(client.call('listRuns', { params: {} })).rejects.toMatchObject({ status: 503, retryAfterSeconds: 3600 });
    await expect(client.runs.cancel('greet~1')).rejects.toMatchObject({ status: 502 });
    expect(requests).toBe(2);
  });

  it('says that nobody answers, or not in time', async () => {
    const url = await serve((request) => request.resume());
    await expect(new Hal9Client({ url, timeoutMs: 50, retries: 0 }).call('health', { params: {} })).rejects.toThrow(RequestTimeout);
    await expect(new Hal9Client({ url: 'http://127.0.0.1:1', retries: 1 }).call('health', { params: {} })).rejects.toThrow(ConnectionError);
    const page = await serve((_, response) => response.writeHead(404, { 'content-type': 'text/html' }).end('<h1>no</h1>'));
    await expect(new Hal9Client({ url: page }).call('health', { params: {} })).rejects.toMatchObject({ type: 'Unexpected', status: 404 });
  });

  it('reads events and goes on after the last one when the stream breaks', async () => {
    const positions: unknown[] = [];
    const url = await serve((request, response, count) => {
      positions.push(request.headers['last-event-id']);
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      if (count === 1) {
        response.write('retry: 1\n\nid: 1\nevent: progress\ndata: {"done":1}\n\n: heartbeat\n\nid: 2\nevent: prog');
        setImmediate(() => response.destroy());
      } else response.end('id: 2\nevent: progress\ndata: {"done":2}\n\nid: 3\nevent: end\ndata: bye\n\n');
    });
    const events: StreamEvent[] = [];
    for await (const event of new Hal9Client({ url }).stream('/v1/runs/greet~1/stream', { until: ({ event: name }) => name === 'end' })) events.push(event);
    expect(events).toEqual([{ id: '1', event: 'progress', data: { done: 1 } }, { id: '2', event: 'progress', data: { done: 2 } }, { id: '3', event: 'end', data: 'bye' }]);
    expect(positions).toEqual([undefined, '1']);
  });
});
