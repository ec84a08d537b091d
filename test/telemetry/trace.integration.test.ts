import { createServer, type Server } from 'node:http';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { systemCaller } from '../../platform/identity/caller.ts';
import { freePort } from '../../platform/telemetry/free-port.ts';
import { serveProject, type ServedProject } from '../operations/project.ts';

const bodySchema = z.object({
  resourceSpans: z.array(
    z.object({
      resource: z.object({ attributes: z.array(z.object({ key: z.string(), value: z.looseObject({ stringValue: z.string().optional() }) })) }),
      scopeSpans: z.array(z.object({ spans: z.array(z.object({ traceId: z.string(), spanId: z.string(), parentSpanId: z.string().optional(), name: z.string(), status: z.looseObject({ code: z.int().optional() }) })) })),
    }),
  ),
});
type Span = z.output<typeof bodySchema>['resourceSpans'][number]['scopeSpans'][number]['spans'][number];

/** An OTLP/HTTP collector that keeps what it receives. */
async function collector(): Promise<{ url: string; spans: Span[]; text: () => string; server: Server }> {
  const spans: Span[] = [];
  let text = '';
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const body = Buffer.concat(chunks).toString();
      text += body;
      for (const resource of bodySchema.parse(JSON.parse(body)).resourceSpans) spans.push(...resource.scopeSpans.flatMap((scope) => scope.spans));
      response.writeHead(200, { 'content-type': 'application/json' }).end('{}');
    });
  });
  const port = await freePort();
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  return { url: `http://127.0.0.1:${port}`, spans, text: () => text, server };
}

describe('traces', () => {
  let received: Awaited<ReturnType<typeof collector>>;
  let project: ServedProject;
  beforeAll(async () => {
    received = await collector();
    project = await serveProject({}, { HAL9_OTLP_URL: received.url });
  });
  afterAll(async () => {
    await project.close();
    received.server.close();
  });

  const traceOf = (traceId: string): Record<string, Span> => Object.fromEntries(received.spans.filter((span) => span.traceId === traceId).map((span) => [span.name, span]));

  it('leads from the request through the workflow to its activity', async () => {
    const [traceId, root] = ['4bf92f3577b34da6a3ce929d0e0e4736', '00f067aa0ba902b7'];
    const caller = systemCaller(await project.test.organisation(), 'test', `00-${traceId}-${root}-01`);
    const { runId } = await project.operations.start(caller, { operation: 'greet', input: { name: 'Canary Ada' }, origin: 'api' });
    await project.operations.result(caller, runId, 10_000);
    await expect.poll(() => Object.keys(traceOf(traceId)).sort()).toEqual(['compose', 'run greet', 'start greet']);
    const spans = traceOf(traceId);
    expect(spans['start greet']?.parentSpanId).toBe(root);
    expect(spans['run greet']?.parentSpanId).toBe(spans['start greet']?.spanId);
    expect(spans['compose']?.parentSpanId).toBe(spans['run greet']?.spanId);
    expect(received.text()).not.toContain('Canary');
  });

  it('marks what failed, without its message', async () => {
    const traceId = 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa';
    const caller = systemCaller(await project.test.organisation(), 'test', `00-${traceId}-00f067aa0ba902b7-01`);
    const { runId } = await project.operations.start(caller, { operation: 'greet', input: { name: 'Canary Bob', fail: true }, origin: 'api' });
    await project.operations.result(caller, runId, 10_000);
    await expect.poll(() => Object.keys(traceOf(traceId)).sort()).toEqual(['refuse', 'run greet', 'start greet']);
    expect(traceOf(traceId)['refuse']?.status).toMatchObject({ code: 2, message: 'ActionRefused' });
    expect(traceOf(traceId)['run greet']?.status).toMatchObject({ code: 2 });
    expect(received.text()).not.toContain('Canary');
  });
});
