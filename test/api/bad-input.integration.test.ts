import { request } from 'node:http';
import { connect } from 'node:net';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { problemSchema } from '../../api/problem.ts';
import { scimProblem } from '../../api/scim-problem.ts';
import { startTestApi, type TestApi, type TestKey } from './running-api.ts';

const LIMIT_BYTES = 64 * 1024;
const METHODS = ['get', 'post', 'put', 'patch', 'delete'] as const;

interface Operation {
  readonly id: string;
  readonly method: string;
  readonly path: string;
  /** Media types of the body. */
  readonly media: readonly string[];
}

/** What every route that takes a body does with bodies that are none, taken from the API's own document. */
describe('bad input', () => {
  let test: TestApi;
  let key: TestKey;
  const operations: Operation[] = [];

  beforeAll(async () => {
    test = await startTestApi({ HAL9_BODY_LIMIT_BYTES: String(LIMIT_BYTES), HAL9_RATE_LIMIT: '0' });
    key = await test.key(await test.database.organisation());
    for (const [path, methods] of Object.entries(test.api.openApi.paths))
      for (const [method, operation] of Object.entries(methods)) operations.push({ id: String(operation['operationId']), method: method.toUpperCase(), path: filled(path), media: mediaOf(operation['requestBody']) });
  });
  afterAll(() => test.stop());

  const taking = () => operations.filter(({ media }) => media.length > 0);
  const takingJson = () => operations.filter(({ media }) => media.includes('application/json'));

  const bodies: Record<string, { body: string | Buffer; headers?: Record<string, string> }> = {
    truncated: { body: '{"name": "x", "set' },
    'not JSON': { body: 'name=x&y' },
    'UTF-8 with a broken byte': { body: Buffer.concat([Buffer.from('{"name": "'), Buffer.from([0xc3, 0x28]), Buffer.from('"}')]) },
    'an overlong encoding': { body: Buffer.concat([Buffer.from('{"name": "'), Buffer.from([0xc0, 0xaf]), Buffer.from('"}')]) },
    'UTF-16': { body: Buffer.from('\ufeff{"name": "x"}', 'utf16le') },
    'NUL in a text': { body: '{"name": "a\\u0000b"}' },
    'NUL in a key': { body: '{"na\\u0000me": "b"}' },
    'half a surrogate pair': { body: '{"name": "\\ud800"}' },
    'a number without bounds': { body: '{"name": 1e999}' },
    'nesting without end': { body: `{"name": ${'['.repeat(5000)}${']'.repeat(5000)}}` },
    'a list where an object belongs': { body: '[1, 2, 3]' },
    'a bare value': { body: '"x"' },
    compressed: { body: gzipSync('{"name": "x"}'), headers: { 'content-encoding': 'gzip' } },
    'a bomb': { body: gzipSync(Buffer.alloc(8 * 1024 * 1024, 32)), headers: { 'content-encoding': 'gzip' } },
    'an encoding nobody knows': { body: '{"name": "x"}', headers: { 'content-encoding': 'zstd, gzip' } },
    'another charset': { body: '{"name": "x"}', headers: { 'content-type': 'application/json; charset=utf-16' } },
    'another media type': { body: '{"name": "x"}', headers: { 'content-type': 'application/vnd.ms-excel' } },
    'too large': { body: JSON.stringify({ name: 'x'.repeat(LIMIT_BYTES) }) },
  };

  it.each(Object.entries(bodies))('%s: every route that takes JSON says what is wrong', async (_name, { body, headers }) => {
    expect(takingJson().length).toBeGreaterThan(60);
    for (const operation of takingJson()) {
      const answer = await fetch(test.url + operation.path, { method: operation.method, body: typeof body === 'string' ? body : new Uint8Array(body), redirect: 'manual', headers: { authorization: `Bearer ${key.text}`, 'content-type': 'application/json', ...headers } });
      expect(answer.status, operation.id).toBeGreaterThanOrEqual(400);
      await explained(answer, operation.id);
    }
  });

  it.each(Object.entries(bodies))('%s: no other body brings a route down', async (_name, { body, headers }) => {
    const others = taking().filter(({ media }) => !media.includes('application/json'));
    expect(others.length).toBeGreaterThan(3);
    for (const operation of others) {
      const type = operation.media.find((media) => media !== '*/*') ?? 'application/octet-stream';
      const answer = await fetch(test.url + operation.path, { method: operation.method, body: typeof body === 'string' ? body : new Uint8Array(body), redirect: 'manual', headers: { authorization: `Bearer ${key.text}`, 'content-type': type, ...headers } });
      if (answer.status >= 400) await explained(answer, operation.id);
    }
  });

  it('refuses a body announced as too large before it comes', async () => {
    for (const operation of takingJson()) {
      const status = await new Promise<number | undefined>((resolve, reject) => {
        const sent = request(test.url + operation.path, { method: operation.method, headers: { authorization: `Bearer ${key.text}`, 'content-type': 'application/json', 'content-length': String(1024 ** 4), expect: '100-continue' } }, (answer) => {
          resolve(answer.statusCode);
          sent.destroy();
        });
        sent.on('error', reject);
        sent.flushHeaders();
      });
      expect([401, 403, 404, 413, 422, 429], `${operation.id}: ${status}`).toContain(status);
    }
  });

  it('names the methods of every path', async () => {
    const paths = Map.groupBy(operations, ({ path }) => path);
    for (const [path, known] of paths) {
      const allowed = known.map(({ method }) => method);
      for (const method of METHODS.map((name) => name.toUpperCase()).filter((name) => !allowed.includes(name))) {
        const answer = await fetch(test.url + path, { method, headers: { authorization: `Bearer ${key.text}` } });
        // Some addresses are also those of another path with a variable in it.
        if (answer.status !== 405) continue;
        expect(answer.headers.get('allow')?.split(', '), path).toEqual(expect.arrayContaining(allowed));
        await explained(answer, `${method} ${path}`);
      }
      const options = await fetch(test.url + path, { method: 'OPTIONS' });
      expect([options.status, options.headers.get('allow')?.split(', ').includes('OPTIONS')], path).toEqual([204, true]);
    }
  });

  it('answers HEAD as GET, without a body', async () => {
    for (const path of ['/healthz', '/v1/runs', '/v1/api-keys', '/openapi.json', '/v1/no-such-thing']) {
      const [head, get] = await Promise.all(['HEAD', 'GET'].map((method) => fetch(test.url + path, { method, headers: { authorization: `Bearer ${key.text}` } })));
      expect([head?.status, head?.headers.get('content-type'), await head?.text()]).toEqual([get?.status, get?.headers.get('content-type'), '']);
      await get?.text();
    }
  });

  it('takes the last of equal keys, and nothing from between the lines', async () => {
    const answer = await fetch(`${test.url}/v1/api-keys`, { method: 'POST', headers: { authorization: `Bearer ${key.text}`, 'content-type': 'application/json' }, body: '{"name": "first", "scopes": ["*"], "name": "last", "scopes": ["runs:read"]}' });
    expect([answer.status, await answer.json()]).toMatchObject([201, { name: 'last', scopes: ['runs:read'] }]);
  });

  it('names the field that cannot be kept', async () => {
    const answer = await fetch(`${test.url}/v1/api-keys`, { method: 'POST', headers: { authorization: `Bearer ${key.text}`, 'content-type': 'application/json' }, body: '{"name": "x", "scopes": ["runs:read", "a\\u0000"]}' });
    expect(await answer.json()).toMatchObject({ type: '/problems/InvalidInput', errors: [{ path: '/scopes/1' }] });
    const address = await fetch(`${test.url}/v1/runs?tag=a%00b`, { headers: { authorization: `Bearer ${key.text}` } });
    expect(await address.json()).toMatchObject({ type: '/problems/InvalidInput', detail: 'the address holds a NUL (%00)' });
  });

  it.each<[string, string, number, string]>([
    ['a very long address', `GET /v1/runs?tag=${'x'.repeat(20_000)} HTTP/1.1\r\nHost: x\r\n\r\n`, 431, 'HeadersTooLarge'],
    ['a very long header', `GET /v1/runs HTTP/1.1\r\nHost: x\r\nX-Long: ${'x'.repeat(20_000)}\r\n\r\n`, 431, 'HeadersTooLarge'],
    ['another protocol', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n', 400, 'MalformedRequest'],
    ['a method nobody knows', 'EXPLODE /v1/runs HTTP/1.1\r\nHost: x\r\n\r\n', 400, 'MalformedRequest'],
    ['no Host', 'GET /v1/runs HTTP/1.1\r\n\r\n', 400, 'MalformedRequest'],
    ['two lengths', 'POST /v1/signals HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\n{}', 400, 'MalformedRequest'],
    ['a length and chunks', 'POST /v1/signals HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n', 400, 'MalformedRequest'],
    ['a header folded over lines', 'GET /v1/runs HTTP/1.1\r\nHost: x\r\nX-A: b\r\n c: d\r\n\r\n', 400, 'MalformedRequest'],
    ['an expectation nobody knows', 'GET /v1/runs HTTP/1.1\r\nHost: x\r\nExpect: the-unexpected\r\nConnection: close\r\n\r\n', 401, 'Unauthenticated'],
  ])('%s is answered by a problem', async (_name, text, status, type) => {
    const socket = connect(test.api.port, '127.0.0.1');
    const answer = await new Promise<string>((resolve, reject) => {
      let got = '';
      socket.on('data', (chunk: Buffer) => {
        got += chunk.toString();
        if (got.includes('"errors":')) resolve(got);
      });
      socket.on('error', reject).on('close', () => resolve(got));
      socket.write(text);
    });
    socket.destroy();
    const [head = '', body = ''] = answer.split('\r\n\r\n');
    expect(head).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `));
    expect(head.toLowerCase()).toContain('content-type: application/problem+json');
    expect(problemSchema.parse(JSON.parse(body))).toMatchObject({ status, type: `/problems/${type}` });
  });

  it('lets nobody hold a connection with a body that trickles in', async () => {
    const impatient = await startTestApi({ HAL9_HOST: '127.0.0.1' });
    try {
      const hers = await impatient.key(await impatient.database.organisation());
      const socket = connect(impatient.api.port, '127.0.0.1');
      socket.write(`POST /v1/api-keys HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${hers.text}\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n`);
      const drip = setInterval(() => socket.write(' '), 500);
      const answer = await new Promise<string>((resolve) => {
        let got = '';
        socket.on('data', (chunk: Buffer) => (got += chunk.toString())).on('error', () => undefined).on('close', () => resolve(got));
      });
      clearInterval(drip);
      expect(answer).toContain('MalformedBody');
      expect(answer).toContain('did not arrive within 30 s');
    } finally {
      await impatient.stop();
    }
  });

  /** A failure that says what to do, in the form its reader understands. */
  async function explained(answer: Response, id: string): Promise<void> {
    expect(answer.status, id).toBeLessThan(500);
    const type = answer.headers.get('content-type') ?? '';
    const text = await answer.text();
    if (type.startsWith('text/html')) expect(text, id).toContain('Back to the sign-in page');
    else if (type === 'application/scim+json') expect(scimProblem.safeParse(JSON.parse(text)).success, id).toBe(true);
    else {
      expect(type, `${id}: ${text.slice(0, 200)}`).toBe('application/problem+json');
      expect(problemSchema.parse(JSON.parse(text)).remedy.length, id).toBeGreaterThan(10);
    }
  }
});

/** A path whose variables name nothing that there is. */
function filled(path: string): string {
  return path.replace(/\{[A-Za-z]+\}/g, '0b6ed4d7-6a0e-4d0a-9d0e-111111111111');
}

function mediaOf(body: unknown): string[] {
  if (typeof body !== 'object' || body === null || !('content' in body)) return [];
  return typeof body.content === 'object' && body.content !== null ? Object.keys(body.content) : [];
}
