import { createServer, type Server } from 'node:http';
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
    await expect.poll(() => spans.find((span) => span.name === 'GET /v1/runs'), { timeout: 10_000 }).toMatchObject({ traceId: '0af7651916cd43dd8448eb211c80319c', parentSpanId: 'b7ad6b7169203331', kind: SERVER });
    const text = JSON.stringify(spans);
    expect(text).toContain('"http.response.status_code"');
    expect(text).not.toContain('private');
    expect(text).not.toContain(key.text.slice(-20));
  });
});
