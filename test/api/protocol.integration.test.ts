import { Agent, request } from 'node:http';
import { connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { problemSchema } from '../../api/problem.ts';
import { FAILURES } from '../../schemas/errors.ts';
import { startTestApi, type TestApi, type TestKey } from './running-api.ts';

describe('protocol', () => {
  let test: TestApi;
  let key: TestKey;
  beforeAll(async () => {
    test = await startTestApi({ HAL9_CORS_ORIGINS: 'https://console.example', HAL9_BODY_LIMIT_BYTES: '4096', HAL9_TEMPORAL_UI_UPSTREAM: 'http://127.0.0.1:9' });
    key = await test.key(await test.database.organisation());
  });
  afterAll(() => test.stop());

  const send = (body: string | Buffer | undefined, headers: Record<string, string> = {}) =>
    fetch(`${test.url}/v1/api-keys`, { method: 'POST', headers: { authorization: `Bearer ${key.text}`, 'content-type': 'application/json', ...headers }, ...(body === undefined ? {} : { body }) });

  /** Without a Content-Length. */
  const chunked = (parts: string[]) => {
    const init: RequestInit & { duplex: 'half' } = { method: 'POST', headers: { authorization: `Bearer ${key.text}`, 'content-type': 'application/json' }, body: new Blob(parts).stream(), duplex: 'half' };
    return fetch(`${test.url}/v1/api-keys`, init);
  };

  const problem = async (answer: Response) => {
    expect(answer.headers.get('content-type')).toBe('application/problem+json');
    const body = problemSchema.parse(await answer.json());
    expect(body.status).toBe(answer.status);
    expect(body.instance).toBe(answer.headers.get('x-request-id'));
    expect(body.type).toMatch(/^\/problems\//);
    const explained = await fetch(test.url + body.type);
    expect([explained.status, ((await explained.json()) as { title: string }).title]).toEqual([200, body.title]);
    return { status: body.status, type: body.type.slice('/problems/'.length), detail: body.detail, errors: body.errors };
  };

  describe('bodies', () => {
    const draft = { name: 'x', scopes: ['runs:read'] };
    const nested = (depth: number) => `${'['.repeat(depth)}${']'.repeat(depth)}`;
    const cases: [string, () => Promise<Response>, number, string][] = [
      ['truncated', () => send('{"name": "x", "sco'), 400, 'MalformedBody'],
      ['no JSON', () => send('name=x'), 400, 'MalformedBody'],
      ['not UTF-8', () => send(Buffer.from([0x22, 0xff, 0xfe, 0x22])), 400, 'MalformedBody'],
      ['UTF-16', () => send(Buffer.from(JSON.stringify(draft), 'utf16le')), 400, 'MalformedBody'],
      ['charset latin1', () => send(JSON.stringify(draft), { 'content-type': 'application/json; charset=latin1' }), 415, 'UnsupportedMediaType'],
      ['text/plain', () => send(JSON.stringify(draft), { 'content-type': 'text/plain' }), 415, 'UnsupportedMediaType'],
      ['compressed', () => send(JSON.stringify(draft), { 'content-encoding': 'gzip' }), 415, 'UnsupportedMediaType'],
      ['oversized', () => send(JSON.stringify({ ...draft, name: 'x'.repeat(5000) })), 413, 'BodyTooLarge'],
      ['oversized in chunks', () => chunked(['{"name":"', 'x'.repeat(10_000)]), 413, 'BodyTooLarge'],
      ['nested deeply', () => send(`{"name": ${nested(500)}}`), 400, 'MalformedBody'],
      ['__proto__', () => send('{"name": "x", "scopes": ["runs:read"], "__proto__": {"admin": true}}'), 400, 'MalformedBody'],
      ['__proto__ in escapes', () => send('{"name": "x", "scopes": ["runs:read"], "\\u005f_proto__": {"admin": true}}'), 400, 'MalformedBody'],
      ['empty', () => send(undefined), 422, 'InvalidInput'],
      ['an array', () => send('[]'), 422, 'InvalidInput'],
      ['unknown field', () => send(JSON.stringify({ ...draft, admin: true })), 422, 'InvalidInput'],
    ];
    it.each(cases)('%s is refused with a remedy', async (_name, ask, status, type) => {
      expect(await problem(await ask())).toMatchObject({ status, type });
    });

    it('names each wrong field by a JSON pointer', async () => {
      const { errors } = await problem(await send(JSON.stringify({ name: '', scopes: ['runs:read', 7] })));
      expect(errors.map((error) => error.path).sort()).toEqual(['/name', '/scopes/1']);
      const query = await problem(await fetch(`${test.url}/v1/api-keys?limit=0`, { headers: { 'x-api-key': key.text } }));
      expect(query).toMatchObject({ type: 'InvalidInput', errors: [{ path: '/query/limit' }] });
      const cursor = await problem(await fetch(`${test.url}/v1/api-keys?cursor=%7B%7D`, { headers: { 'x-api-key': key.text } }));
      expect(cursor).toMatchObject({ type: 'InvalidInput', errors: [{ path: '/query/cursor' }] });
    });

    it('goes on unharmed', async () => {
      expect((await send(JSON.stringify(draft))).status).toBe(201);
      expect(({} as Record<string, unknown>)['admin']).toBeUndefined();
    });
  });

  it('answers unknown paths, methods and broken escapes', async () => {
    expect(await problem(await fetch(`${test.url}/v2/nothing`))).toMatchObject({ status: 404, type: 'NotFound' });
    const wrong = await fetch(`${test.url}/v1/api-keys`, { method: 'PUT' });
    expect(wrong.headers.get('allow')).toBe('GET, POST, HEAD, OPTIONS');
    expect(await problem(wrong)).toMatchObject({ status: 405, type: 'MethodNotAllowed' });
    expect(await problem(await fetch(`${test.url}/v1/runs/%E0%A4%A`, { headers: { 'x-api-key': key.text } }))).toMatchObject({ status: 400 });
    expect((await fetch(`${test.url}/healthz`, { method: 'HEAD' })).status).toBe(200);
    expect((await fetch(`${test.url}/v1/api-keys`, { method: 'OPTIONS' })).status).toBe(204);
  });

  it('keeps and makes request ids, and joins a trace', async () => {
    const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
    const answer = await fetch(`${test.url}/healthz`, { headers: { 'x-request-id': 'mine-1', traceparent } });
    expect(answer.headers.get('x-request-id')).toBe('mine-1');
    expect(answer.headers.get('x-trace-id')).toBe('0af7651916cd43dd8448eb211c80319c');
    const other = await fetch(`${test.url}/healthz`, { headers: { 'x-request-id': 'bad id\twith "everything"', traceparent: '00-0-0-0' } });
    expect(other.headers.get('x-request-id')).toMatch(/^[0-9a-f-]{36}$/);
    expect(other.headers.get('x-trace-id')).toMatch(/^[0-9a-f]{32}$/);
  });

  it('sends the headers that protect browsers', async () => {
    const { headers } = await fetch(`${test.url}/healthz`);
    expect(Object.fromEntries(['x-content-type-options', 'x-frame-options', 'referrer-policy', 'cache-control'].map((name) => [name, headers.get(name)]))).toEqual({
      'x-content-type-options': 'nosniff',
      'x-frame-options': 'SAMEORIGIN',
      'referrer-policy': 'no-referrer',
      'cache-control': 'no-store',
    });
    expect(headers.get('content-security-policy')).toContain("default-src 'self'");
    expect(headers.get('content-security-policy')).not.toContain('upgrade-insecure-requests');
    expect(headers.get('x-powered-by')).toBeNull();
    expect(headers.get('strict-transport-security')).toBeNull();
  });

  it('opens itself to listed origins only', async () => {
    const preflight = (origin: string, path = '/v1/api-keys') =>
      fetch(test.url + path, { method: 'OPTIONS', headers: { origin, 'access-control-request-method': 'POST', 'access-control-request-headers': 'authorization,content-type' } });
    const listed = await preflight('https://console.example');
    expect(listed.headers.get('access-control-allow-origin')).toBe('https://console.example');
    expect(listed.headers.get('access-control-allow-headers')).toContain('authorization');
    expect(listed.headers.get('access-control-allow-credentials')).toBeNull();
    expect((await preflight('https://evil.example')).headers.get('access-control-allow-origin')).toBeNull();
    expect((await preflight('https://console.example', '/codec/default/decode')).headers.get('access-control-allow-origin')).toBeNull();
  });

  it('does not let a slow client hold a connection', async () => {
    const slow = await startTestApi();
    try {
      const socket = connect(slow.api.port, '127.0.0.1');
      socket.write('GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: ');
      const began = performance.now();
      const ended = await new Promise<string>((resolve) => {
        let text = '';
        socket.on('data', (chunk: Buffer) => (text += chunk.toString()));
        socket.on('close', () => resolve(text));
      });
      expect(ended).toContain('408');
      expect(performance.now() - began).toBeLessThan(30_000);
    } finally {
      await slow.stop();
    }
  });

  it('limits requests of a key and failures of an address, and says how long to wait', async () => {
    const limited = await test.another({ HAL9_RATE_LIMIT: '5', HAL9_FAILED_LOGINS: '3' });
    const url = `http://127.0.0.1:${limited.port}/v1/api-keys`;
    const many = await Promise.all(Array.from({ length: 12 }, () => fetch(url, { headers: { 'x-api-key': key.text } })));
    const refused = many.filter((answer) => answer.status === 429);
    expect(refused.length).toBeGreaterThanOrEqual(5);
    expect(Number(refused[0]?.headers.get('retry-after'))).toBeGreaterThanOrEqual(1);
    const failures = [];
    for (let index = 0; index < 5; index += 1) failures.push((await fetch(url, { headers: { 'x-api-key': 'wrong' } })).status);
    expect(failures).toEqual([401, 401, 401, 429, 429]);
    await expect.poll(async () => (await fetch(url, { headers: { 'x-api-key': key.text } })).status).toBe(200);
  });

  it('names every failure it knows', async () => {
    for (const type of Object.keys(FAILURES)) expect((await fetch(`${test.url}/problems/${type}`)).status, type).toBe(200);
    expect((await fetch(`${test.url}/problems/constructor`)).status).toBe(404);
  });

  it('says 502 or 503 and never 500 when what is behind is away', async () => {
    const answer = await fetch(`${test.url}/temporal/`, { headers: { authorization: `Bearer ${key.text}` } });
    expect(await problem(answer)).toMatchObject({ status: 503, type: 'DependencyUnavailable' });
    const page = await fetch(`${test.url}/temporal/`, { headers: { accept: 'text/html' }, redirect: 'manual' });
    expect([page.status, page.headers.get('location')]).toEqual([303, '/sign-in?returnTo=%2Ftemporal%2F']);
    expect((await fetch(`${test.url}/temporal/`)).status).toBe(401);
    const stranger = await test.key(await test.database.organisation());
    expect(await problem(await fetch(`${test.url}/temporal/`, { headers: { authorization: `Bearer ${stranger.text}` } }))).toMatchObject({ status: 403, type: 'Forbidden' });
  });

  it('asks to come again while PostgreSQL or Temporal is away, and names it', async () => {
    const noDatabase = await test.another({ DATABASE_URL: 'postgres://nobody@127.0.0.1:1/nothing' });
    const answer = await fetch(`http://127.0.0.1:${noDatabase.port}/v1/api-keys`, { headers: { 'x-api-key': key.text } });
    expect(answer.headers.get('retry-after')).toBe('1');
    expect(await problem(answer)).toMatchObject({ status: 503, type: 'DependencyUnavailable', detail: 'PostgreSQL does not answer' });
    const ready = await fetch(`http://127.0.0.1:${noDatabase.port}/readyz`);
    expect([ready.status, await ready.json()]).toMatchObject([503, { status: 'not-ready', dependencies: [{ name: 'postgres', state: 'down' }, { name: 'temporal', state: 'up' }] }]);
    const noTemporal = await test.another({ TEMPORAL_ADDRESS: '127.0.0.1:1' });
    const run = await fetch(`http://127.0.0.1:${noTemporal.port}/v1/runs/remediate~00000000-0000-4000-8000-000000000000/cancel`, { method: 'POST', headers: { 'x-api-key': key.text } });
    expect(await problem(run)).toMatchObject({ status: 503, type: 'DependencyUnavailable' });
  });

  it('takes any number of requests over one connection without piling up listeners', async () => {
    const warnings: string[] = [];
    const note = (warning: Error) => void warnings.push(warning.message);
    process.on('warning', note);
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    for (let index = 0; index < 30; index += 1) {
      const status = await new Promise((resolve, reject) => {
        const sent = request(`${test.url}/v1/signals`, { method: 'POST', agent, headers: { 'x-api-key': key.text, 'content-type': 'application/json' } }, (answer) => answer.resume().on('end', () => resolve(answer.statusCode)));
        sent.on('error', reject).end(JSON.stringify({ id: `keep-${index}`, source: 'test', type: 'test.keep' }));
      });
      expect(status).toBe(202);
    }
    agent.destroy();
    process.off('warning', note);
    expect(warnings).toEqual([]);
  });

  it('measures by route and by nothing that has no bound', async () => {
    await fetch(`${test.url}/v1/api-keys`, { headers: { 'x-api-key': key.text } });
    const text = await (await fetch(`${test.url}/metrics`)).text();
    expect(text).toMatch(/hal9_http_request_duration_seconds_count\{method="GET",route="listApiKeys",status="200"\} [1-9]/);
    expect(text).toMatch(/hal9_http_failures_total\{route="createApiKey",failure="BodyTooLarge"\}/);
    expect(text).not.toContain(key.orgId);
    expect(text).not.toContain(key.id);
    expect(await (await fetch(`${test.url}/readyz`)).json()).toMatchObject({ status: 'ready', dependencies: [{ state: 'up' }, { state: 'up' }] });
  });
});
