import { randomUUID } from 'node:crypto';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Caller } from '../../platform/identity/caller.ts';
import { isBlobRef } from '../../platform/blobs/blob-store.ts';
import { callNeuron } from '../../activities/external/call-neuron.ts';
import { applyAnswer } from '../../neurons/external.ts';
import { json, startHttpServer, type LocalServer } from '../environment/http-server.ts';
import { answerError, answerMessage } from './anthropic.ts';
import { externalBench, neuronOf, signalOf, type ExternalBench } from './bench.ts';

const CANARY = 'sk-ant-canary';
/** A PNG of one pixel. */
const PICTURE = { mediaType: 'image/png', bytes: Buffer.from('iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==', 'base64') } as const;
const DATA_URL = `data:image/png;base64,${PICTURE.bytes.toString('base64')}`;

describe('llm neurons', () => {
  let bench: ExternalBench;
  let server: LocalServer;
  let caller: Caller;
  beforeAll(async () => {
    bench = await externalBench();
  });
  afterAll(() => bench.close());
  beforeEach(async () => {
    server = await startHttpServer((request, response) => answerMessage(response, request.body, { action: 'restart', confidence: 0.9 }));
    caller = await bench.organisation();
    await bench.connect(caller, 'models', { kind: 'llm', provider: 'anthropic', apiKey: CANARY, baseUrl: `${server.url}/v1` });
  });
  afterEach(() => server.close());

  const answer = { type: 'object', properties: { action: { type: 'string', enum: ['restart', 'wait'] }, confidence: { type: 'number' } }, required: ['action', 'confidence'], additionalProperties: false };
  const decide = (summary: string) => [{ when: 'true', decide: { summary, reason: '"because"' } }];
  const judge = (behaviour: Record<string, unknown> = {}, change: Record<string, unknown> = {}) =>
    neuronOf({ kind: 'llm', connection: 'models', model: 'claude-3-haiku-20240307', system: 'You decide.', prompt: '"Cpu is at " + string(signal.data.value)', answer, maxOutputTokens: 200, timeoutSeconds: 5, price: { input: 3, output: 15 }, rules: decide('answer.action'), fallback: decide('"by rule"'), ...behaviour }, change);

  it('asks for an answer that fits the schema, pays what it cost, and keeps prompt and answer in a blob', async () => {
    const neuron = judge();
    const result = await bench.call(caller, neuron, signalOf({ value: 97.5 }));
    expect(result).toMatchObject({ outcome: { fallback: false, answer: { action: 'restart', confidence: 0.9 } }, costUsd: '0.000810000', tokens: { input: 120, output: 30 } });
    const [request] = server.received;
    expect(request).toMatchObject({ method: 'POST', path: '/v1/messages', headers: { 'x-api-key': CANARY, 'anthropic-version': '2023-06-01' } });
    const body = JSON.parse(request!.body);
    expect(body).toMatchObject({ model: 'claude-3-haiku-20240307', max_tokens: 200, system: [{ type: 'text', text: 'You decide.' }], messages: [{ role: 'user', content: [{ type: 'text', text: 'Cpu is at 97.5' }] }], tool_choice: { type: 'any' } });
    expect(body.tools[0]).toMatchObject({ name: 'json' });
    expect(body.tools[0].input_schema).toMatchObject({ required: ['action', 'confidence'] });
    expect(applyAnswer(neuron, signalOf({}), result.outcome).decisions[0]).toMatchObject({ summary: 'restart' });
    if (!isBlobRef(result.context)) throw new Error('no context');
    const blob = JSON.parse((await bench.blobs.get(caller.orgId, result.context)).toString());
    expect(blob).toMatchObject({ input: { prompt: 'Cpu is at 97.5' }, answer: { action: 'restart' } });
    expect(JSON.stringify(blob)).not.toContain(CANARY);
    const [day] = await bench.budgets.view(caller);
    expect(day?.used).toEqual({ reserved: { calls: 0, tokens: 0, usd: '0.000000000' }, spent: { calls: 1, tokens: 150, usd: '0.000810000' } });
  });

  it('uses native structured output with models that have it', async () => {
    const result = await bench.call(caller, judge({ model: 'claude-sonnet-4-5' }), signalOf({ value: 1 }));
    expect(result.outcome).toEqual({ fallback: false, answer: { action: 'restart', confidence: 0.9 } });
    expect(JSON.parse(server.received[0]!.body)).toMatchObject({ output_config: { format: { type: 'json_schema' } } });
  });

  it('makes and pays equal calls of a batch once, and a retry reads the answer', async () => {
    const [neuron, batchId, signal] = [judge(), randomUUID(), signalOf({ value: 5 })];
    const first = await bench.call(caller, neuron, signal, { batchId });
    expect(await bench.call(caller, neuron, signal, { batchId })).toEqual(first);
    expect(await bench.call(caller, neuron, signalOf({ value: 5 }), { batchId })).toMatchObject({ outcome: first.outcome, costUsd: '0.000000000' });
    expect(server.received).toHaveLength(1);
    await bench.call(caller, neuron, signalOf({ value: 6 }), { batchId });
    await bench.call(caller, { ...neuron, version: 2 }, signal, { batchId });
    await bench.call(caller, neuron, signal);
    expect(server.received).toHaveLength(4);
  });

  it('waits as long as a 429 says, and tries again', async () => {
    const times: number[] = [];
    server.answer = (request, response) => {
      times.push(performance.now());
      if (times.length === 1) answerError(response, 429, 'rate_limit_error', { 'retry-after': '1' });
      else answerMessage(response, request.body, { action: 'wait', confidence: 1 });
    };
    const result = await bench.call(caller, judge(), signalOf({ value: 1 }));
    expect(result.outcome).toMatchObject({ fallback: false, answer: { action: 'wait' } });
    expect(times[1]! - times[0]!).toBeGreaterThan(900);
  });

  const failing: [string, (target: LocalServer) => void, string][] = [
    ['refuses the key', (target) => (target.answer = (_, response) => answerError(response, 401, 'authentication_error')), 'the credential was refused (HTTP 401)'],
    ['is overloaded for good', (target) => (target.answer = (_, response) => answerError(response, 529, 'overloaded_error', { 'retry-after-ms': '10' })), 'the service failed (HTTP 529)'],
    ['is slow', (target) => (target.answer = () => undefined), 'no answer in time'],
    ['answers no JSON', (target) => (target.answer = (_, response) => response.writeHead(200, { 'content-type': 'application/json' }).end('{"id": "msg_1", ')), 'the answer of the provider cannot be read'],
    ['answers what does not fit', (target) => (target.answer = (request, response) => answerMessage(response, request.body, { action: 'explode', confidence: 0.9 })), 'the answer does not fit the schema'],
    ['answers without end', (target) => (target.answer = (_, response) => response.writeHead(200, { 'content-type': 'application/json' }).end(Buffer.alloc(5 * 1024 * 1024, ' '))), 'longer than 4194304 bytes'],
    ['hangs up', (target) => (target.answer = (_, response) => response.destroy()), 'the connection was cut'],
  ];
  it.each(failing)('falls back and says so when the provider %s', async (_name, arrange, reason) => {
    arrange(server);
    const neuron = judge({ timeoutSeconds: 4 });
    const result = await bench.call(caller, neuron, signalOf({ value: 1 }));
    expect(result.outcome).toMatchObject({ fallback: true, reason: expect.stringContaining(reason) });
    expect(JSON.stringify(result)).not.toContain(CANARY);
    expect(applyAnswer(neuron, signalOf({}), result.outcome).decisions[0]).toMatchObject({ summary: 'by rule', reason: expect.stringContaining(reason) });
    const [day] = await bench.budgets.view(caller);
    expect(day?.used?.reserved).toEqual({ calls: 0, tokens: 0, usd: '0.000000000' });
  });

  it('books the worst case when nobody says what a call cost, and nothing when it was refused', async () => {
    server.answer = () => undefined;
    const slow = await bench.call(caller, judge({ timeoutSeconds: 0.3 }), signalOf({ value: 1 }));
    expect(Number(slow.costUsd)).toBeGreaterThan(0.003);
    server.answer = (_, response) => answerError(response, 401, 'authentication_error');
    expect(await bench.call(caller, judge(), signalOf({ value: 1 }))).toMatchObject({ costUsd: '0.000000000' });
    const [day] = await bench.budgets.view(caller);
    expect(day?.used?.spent).toMatchObject({ calls: 1, usd: slow.costUsd });
  });

  it('does not call without room in the budget, whichever', async () => {
    await bench.budgets.replace(caller, { month: { usd: 0.000001 } });
    expect((await bench.call(caller, judge(), signalOf({ value: 1 }))).outcome).toEqual({ fallback: true, reason: "the organisation's budget of the month is used up" });
    await bench.budgets.replace(caller, {});
    expect((await bench.call(caller, judge({ perCascade: { calls: 0 } }), signalOf({ value: 1 }))).outcome).toEqual({ fallback: true, reason: "the neuron's budget in this cascade is used up" });
    expect(server.received).toEqual([]);
  });

  it('asks no model where the installation asks none, and says so', async () => {
    const quiet = await callNeuron({ ...bench, models: 'fallback' }, { orgId: caller.orgId, batchId: randomUUID(), neuron: judge(), signal: signalOf({ value: 1 }) }, AbortSignal.timeout(30_000));
    expect(quiet.outcome).toEqual({ fallback: true, reason: 'this installation asks no models' });
    expect(server.received).toHaveLength(0);
  });

  it('stays within a limit under 200 concurrent calls', async () => {
    await bench.budgets.replace(caller, { day: { usd: 0.1 } });
    const neuron = judge();
    const results = await Promise.all(Array.from({ length: 200 }, (_, index) => bench.call(caller, neuron, signalOf({ value: index }))));
    const answered = results.filter((result) => !result.outcome.fallback).length;
    expect(answered).toBe(server.received.length);
    const [day] = await bench.budgets.view(caller);
    expect(Number(day?.used?.spent.usd)).toBeLessThanOrEqual(0.1);
    expect(day?.used?.spent.usd).toBe((answered * 0.00081).toFixed(9));
  });

  it('cancels the call when the activity is cancelled', async () => {
    server.answer = () => undefined;
    const abort = new AbortController();
    const calling = bench.call(caller, judge(), signalOf({ value: 1 }), { abort: abort.signal });
    setTimeout(() => abort.abort(), 300);
    await expect(calling).rejects.toThrow(/abort/i);
    const [day] = await bench.budgets.view(caller);
    expect(day?.used?.reserved.calls).toBe(0);
  });

  it('opens the breaker after failures in a row, lets one probe through, and closes it on success', async () => {
    const neuron = judge({}, { breaker: { failures: 2, resetSeconds: 0.4 } });
    server.answer = (_, response) => answerError(response, 401, 'authentication_error');
    for (let call = 0; call < 2; call += 1) await bench.call(caller, neuron, signalOf({ value: 1 }));
    expect(await bench.breakers.view(caller.orgId, neuron.id)).toMatchObject({ state: 'open', failures: 2, lastFailure: 'the credential was refused (HTTP 401)' });
    expect((await bench.call(caller, neuron, signalOf({ value: 1 }))).outcome).toEqual({ fallback: true, reason: 'the circuit breaker of the neuron is open' });
    expect(server.received).toHaveLength(2);
    await new Promise((resolve) => setTimeout(resolve, 500));
    expect(await bench.breakers.view(caller.orgId, neuron.id)).toMatchObject({ state: 'half-open' });
    server.answer = (request, response) => answerMessage(response, request.body, { action: 'wait', confidence: 1 });
    const results = await Promise.all(Array.from({ length: 10 }, (_, index) => bench.call(caller, neuron, signalOf({ value: index }))));
    expect(results.filter((result) => !result.outcome.fallback)).toHaveLength(1);
    expect(await bench.breakers.view(caller.orgId, neuron.id)).toMatchObject({ state: 'closed', failures: 0 });
    expect((await bench.call(caller, neuron, signalOf({ value: 1 }))).outcome.fallback).toBe(false);
  });

  it('shows pictures with the prompt, pays equal ones once, and keeps what stands for them only', async () => {
    const [batchId, signal, neuron] = [randomUUID(), signalOf({ value: 5 }), judge()];
    const first = await bench.call(caller, neuron, signal, { batchId, pictures: [PICTURE] });
    expect(first.outcome).toMatchObject({ fallback: false, answer: { action: 'restart' } });
    expect(JSON.parse(server.received[0]!.body).messages).toEqual([{ role: 'user', content: [{ type: 'image', source: { type: 'base64', media_type: 'image/png', data: PICTURE.bytes.toString('base64') } }, { type: 'text', text: 'Cpu is at 5' }] }]);
    expect(await bench.call(caller, neuron, signal, { batchId, pictures: [PICTURE] })).toEqual(first);
    expect(server.received).toHaveLength(1);
    await bench.call(caller, neuron, signal, { batchId, pictures: [{ ...PICTURE, bytes: Buffer.from('another') }] });
    await bench.call(caller, neuron, signal, { batchId });
    expect(server.received).toHaveLength(3);
    if (!isBlobRef(first.context)) throw new Error('no context');
    const kept = (await bench.blobs.get(caller.orgId, first.context)).toString();
    expect(kept).toContain('"sha256"');
    expect(kept).not.toContain(PICTURE.bytes.toString('base64'));
  });

  it('reserves what the dearest picture of the provider could cost', async () => {
    await bench.budgets.replace(caller, { day: { tokens: 5_000 } });
    expect((await bench.call(caller, judge(), signalOf({ value: 1 }), { pictures: [PICTURE] })).outcome).toMatchObject({ fallback: true, reason: expect.stringContaining('budget of the day is used up') });
    expect((await bench.call(caller, judge(), signalOf({ value: 1 }))).outcome).toMatchObject({ fallback: false });
  });

  it('falls back without a connection, a usable prompt, or a usable schema', async () => {
    expect((await bench.call(caller, judge({ connection: 'none' }), signalOf({ value: 1 }))).outcome).toEqual({ fallback: true, reason: 'there is no llm connection "none"' });
    expect((await bench.call(caller, judge(), signalOf({}))).outcome).toEqual({ fallback: true, reason: 'the request cannot be made from this signal' });
    expect((await bench.call(caller, judge({ answer: { $ref: 'https://example.com/schema' } }), signalOf({ value: 1 }))).outcome).toMatchObject({ fallback: true, reason: expect.stringContaining('not supported') });
    expect(server.received).toEqual([]);
  });

  describe('OpenAI', () => {
    const usage = { input_tokens: 50, output_tokens: 10, total_tokens: 60, input_tokens_details: { cached_tokens: 0 }, output_tokens_details: { reasoning_tokens: 0 } };

    it('speaks the Responses API', async () => {
      await bench.connect(caller, 'openai', { kind: 'llm', provider: 'openai', apiKey: CANARY, baseUrl: `${server.url}/v1` });
      server.answer = (_, response) =>
        json(response, 200, { id: 'resp_1', object: 'response', created_at: 1, status: 'completed', model: 'gpt-5-mini', output: [{ type: 'message', id: 'msg_1', role: 'assistant', status: 'completed', content: [{ type: 'output_text', text: '{"action":"wait","confidence":0.5}', annotations: [] }] }], usage });
      const result = await bench.call(caller, judge({ connection: 'openai', model: 'gpt-5-mini' }), signalOf({ value: 1 }), { pictures: [PICTURE] });
      expect(result).toMatchObject({ outcome: { fallback: false, answer: { action: 'wait' } }, tokens: { input: 50, output: 10 } });
      expect(server.received[0]).toMatchObject({ path: '/v1/responses', headers: { authorization: `Bearer ${CANARY}` } });
      expect(JSON.parse(server.received[0]!.body)).toMatchObject({ max_output_tokens: 200, text: { format: { type: 'json_schema' } }, input: expect.arrayContaining([{ role: 'user', content: [{ type: 'input_image', image_url: DATA_URL }, { type: 'input_text', text: 'Cpu is at 1' }] }]) });
    });

    it('speaks Chat Completions with compatible servers', async () => {
      await bench.connect(caller, 'own', { kind: 'llm', provider: 'openai-compatible', apiKey: CANARY, baseUrl: `${server.url}/api` });
      server.answer = (_, response) =>
        json(response, 200, { id: 'c1', object: 'chat.completion', created: 1, model: 'own', choices: [{ index: 0, finish_reason: 'stop', message: { role: 'assistant', content: '{"action":"restart","confidence":1}' } }], usage: { prompt_tokens: 40, completion_tokens: 12, total_tokens: 52 } });
      const result = await bench.call(caller, judge({ connection: 'own', model: 'own' }), signalOf({ value: 1 }), { pictures: [PICTURE] });
      expect(result).toMatchObject({ outcome: { fallback: false, answer: { action: 'restart' } }, tokens: { input: 40, output: 12 } });
      expect(server.received[0]?.path).toBe('/api/chat/completions');
      expect(JSON.parse(server.received[0]!.body)).toMatchObject({ response_format: { type: 'json_schema' }, messages: expect.arrayContaining([{ role: 'user', content: [{ type: 'image_url', image_url: { url: DATA_URL } }, { type: 'text', text: 'Cpu is at 1' }] }]) });
    });

    it('says when the answer was cut short', async () => {
      await bench.connect(caller, 'own', { kind: 'llm', provider: 'openai-compatible', apiKey: CANARY, baseUrl: `${server.url}/api` });
      server.answer = (_, response) =>
        json(response, 200, { id: 'c1', object: 'chat.completion', created: 1, model: 'own', choices: [{ index: 0, finish_reason: 'length', message: { role: 'assistant', content: '{"action":"rest' } }], usage: { prompt_tokens: 40, completion_tokens: 200, total_tokens: 240 } });
      const result = await bench.call(caller, judge({ connection: 'own', model: 'own' }), signalOf({ value: 1 }));
      expect(result).toMatchObject({ outcome: { fallback: true, reason: 'the answer was longer than maxOutputTokens' }, tokens: { input: 40, output: 200 }, costUsd: '0.003120000' });
    });
  });
});
