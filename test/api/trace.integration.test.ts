import { createServer, type Server } from 'node:http';
import { connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTestApi, type TestApi } from './running-api.ts';

interface Span {
  name: string;
  traceId: string;
  parentSpanId?: string;
  kind: number;
  attributes: { key: string; value: Record<string, unknown> }[];
}

/** `SERVER` in OTLP's enumeration of span kinds. */
const SERVER = 2;

describe('spans of requests', () => {
  let collector: Server;
  let test: TestApi;
  const spans: Span[] = [];
  beforeAll(async () => {
    collector = createServer((request, response) => {
      let body = '';
      request.on('data', (chunk: Buffer) => (body += chunk.toString()));
      request.on('end', () => {
        const sent = JSON.parse(body) as { resourceSpans: { scopeSpans: { spans: Span[] }[] }[] };
        spans.push(...sent.resourceSpans.flatMap((resource) => resource.scopeSpans.flatMap((scope) => scope.spans)));
        response.end('{}');
      });
    });
    await new Promise<void>((resolve) => collector.listen(0, '127.0.0.1', resolve));
    const address = collector.address();
    test = await startTestApi({ HAL9_OTLP_URL: `http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}` });
  });
  afterAll(async () => {
    await test.stop();
    collector.close();
  });

  it('join the trace of the client and answer its id', async () => {
    const key = await test.key(await test.database.organisation());
    const answer = await fetch(`${test.url}/v1/runs?tag=private`, { headers: { 'x-api-key': key.text, traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01' } });
    expect(answer.headers.get('x-trace-id')).toBe('0af7651916cd43dd8448eb211c80319c');
    expect(answer.headers.get('traceresponse')).toMatch(/^00-0af7651916cd43dd8448eb211c80319c-(?!b7ad6b7169203331)[0-9a-f]{16}-01$/);
    await expect.poll(() => spans.find((span) => span.name === 'GET /v1/runs')).toMatchObject({ traceId: '0af7651916cd43dd8448eb211c80319c', parentSpanId: 'b7ad6b7169203331', kind: SERVER });
    const text = JSON.stringify(spans);
    expect(text).toContain('"http.response.status_code"');
    expect(text).not.toContain('private');
    expect(text).not.toContain(key.text.slice(-20));
  });

  it('are named in every answer, whatever became of the request', async () => {
    const traceparent = '00-1af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
    const asked: [string, string, number][] = [['GET', '/nothing/here', 404], ['DELETE', '/v1/runs', 405], ['OPTIONS', '/v1/runs', 204], ['GET', '/v1/runs', 401], ['GET', '/v1/runs/%00', 422], ['GET', '/healthz', 200]];
    for (const [method, path, status] of asked) {
      const answer = await fetch(test.url + path, { method, headers: { traceparent } });
      expect([path, answer.status, answer.headers.get('x-trace-id')]).toEqual([path, status, traceparent.slice(3, 35)]);
      const own = await fetch(test.url + path, { method });
      expect([path, own.headers.get('x-trace-id')]).toEqual([path, expect.stringMatching(/^(?!0{32})[0-9a-f]{32}$/)]);
    }
    const unreadable = await new Promise<string>((resolve) => {
      let text = '';
      const socket = connect(Number(new URL(test.url).port), '127.0.0.1', () => socket.write('this is no HTTP\r\n\r\n'));
      socket.on('data', (chunk) => (text += chunk.toString())).on('close', () => resolve(text));
    });
    expect(unreadable).toMatch(/^HTTP\/1\.1 400 [^]*\r\nX-Trace-Id: [0-9a-f]{32}\r\n/);
  });
});
