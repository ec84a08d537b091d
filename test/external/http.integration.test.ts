import { randomUUID } from 'node:crypto';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Caller } from '../../platform/identity/caller.ts';
import { json, startHttpServer, type LocalServer } from '../environment/http-server.ts';
import { externalBench, neuronOf, signalOf, type ExternalBench } from './bench.ts';

const CANARY = 'canary-header-value';

describe('http neurons', () => {
  let bench: ExternalBench;
  let server: LocalServer;
  let caller: Caller;
  beforeAll(async () => {
    bench = await externalBench();
  });
  afterAll(() => bench.close());
  beforeEach(async () => {
    server = await startHttpServer((_, response) => json(response, 200, { verdict: 'fraud' }));
    caller = await bench.organisation();
  });
  afterEach(() => server.close());

  const rules = [{ when: 'true', decide: { summary: '"x"', reason: '"y"' } }];
  const ask = (behaviour: Record<string, unknown> = {}) => neuronOf({ kind: 'http', url: `${server.url}/score`, timeoutSeconds: 2, rules, ...behaviour });

  it('sends the signal as JSON with the headers of the connection, once a batch', async () => {
    await bench.connect(caller, 'scores', { kind: 'http', baseUrl: server.url, headers: { authorization: `Bearer ${CANARY}` } });
    const [neuron, signal, batchId] = [ask({ connection: 'scores' }), signalOf({ amount: 5 }), randomUUID()];
    const result = await bench.call(caller, neuron, signal, { batchId });
    expect(result).toMatchObject({ outcome: { fallback: false, answer: { status: 200, body: { verdict: 'fraud' } } }, costUsd: '0.000000000' });
    expect(await bench.call(caller, neuron, signal, { batchId })).toEqual(result);
    expect(server.received).toHaveLength(1);
    expect(server.received[0]).toMatchObject({ method: 'POST', path: '/score', headers: { authorization: `Bearer ${CANARY}`, 'content-type': 'application/json' } });
    expect(JSON.parse(server.received[0]!.body)).toMatchObject({ type: 'hal9.incident', subject: 'web-1', data: { amount: 5 } });
  });

  it('sends the body the neuron says, or none with GET, and takes text and refusals as answers', async () => {
    await bench.call(caller, ask({ body: '{"value": signal.data.amount}' }), signalOf({ amount: 7 }));
    expect(server.received[0]?.body).toBe('{"value":7}');
    server.answer = (_, response) => response.writeHead(404, { 'content-type': 'text/plain' }).end('none');
    const result = await bench.call(caller, ask({ method: 'GET' }), signalOf({}));
    expect(result.outcome).toEqual({ fallback: false, answer: { status: 404, body: 'none' } });
    expect(server.received[1]).toMatchObject({ method: 'GET', body: '' });
  });

  it.each<[string, LocalServer['answer'], string]>([
    ['fails', (_, response) => response.writeHead(500).end(), 'the service failed (HTTP 500)'],
    ['is slow', () => undefined, 'no answer in time'],
    ['lies about JSON', (_, response) => response.writeHead(200, { 'content-type': 'application/json' }).end('{'), 'the answer says it is JSON and is not'],
    ['answers without end', (_, response) => response.end(Buffer.alloc(2 * 1024 * 1024)), 'the answer is longer than 1048576 bytes'],
  ])('falls back when the service %s', async (_name, answer, reason) => {
    server.answer = answer;
    const neuron = ask({ timeoutSeconds: 0.5 });
    expect((await bench.call(caller, neuron, signalOf({}))).outcome).toEqual({ fallback: true, reason });
    expect(await bench.breakers.view(caller.orgId, neuron.id)).toMatchObject({ failures: 1, lastFailure: reason });
  });

  it('sends a connection\'s headers to its own origin only', async () => {
    await bench.connect(caller, 'scores', { kind: 'http', baseUrl: 'https://scores.example', headers: { authorization: CANARY } });
    expect((await bench.call(caller, ask({ connection: 'scores' }), signalOf({}))).outcome).toEqual({ fallback: true, reason: 'the connection belongs to another origin than the URL' });
    expect((await bench.call(caller, ask({ connection: 'none' }), signalOf({}))).outcome).toMatchObject({ fallback: true });
    expect(server.received).toEqual([]);
  });

  it('does not reach private addresses unless they are allowed', async () => {
    const strict = await externalBench({ allowPrivate: false });
    const result = await strict.call(await strict.organisation(), ask(), signalOf({}));
    expect(result.outcome).toMatchObject({ fallback: true, reason: expect.stringContaining('private or reserved') });
    expect(server.received).toEqual([]);
    await strict.close();
  });
});
