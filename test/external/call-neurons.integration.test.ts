import { randomUUID } from 'node:crypto';
import { MockActivityEnvironment } from '@temporalio/testing';
import { sql } from 'kysely';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createExternalActivities, type LayerCalls } from '../../activities/external/index.ts';
import { ExternalCallStore } from '../../database/external-calls.ts';
import { NeuronStore } from '../../database/neurons.ts';
import type { ExternalNeuron } from '../../neurons/external.ts';
import { act } from '../audit/acts.ts';
import { startHttpServer, type LocalServer } from '../environment/http-server.ts';
import { answerMessage } from './anthropic.ts';
import { externalBench, neuronOf, signalOf, type ExternalBench } from './bench.ts';

/** The activity as a cascade calls it. The mock is of Temporal's context alone: its id, heartbeat and cancellation. */
describe('callNeurons', () => {
  let bench: ExternalBench;
  let server: LocalServer;
  let store: ExternalCallStore;
  let orgId: string;
  let neuron: ExternalNeuron;
  const batchId = (): string => randomUUID();
  beforeAll(async () => {
    bench = await externalBench();
    store = new ExternalCallStore(bench.test.database);
  });
  afterAll(() => bench.close());
  beforeEach(async () => {
    server = await startHttpServer((request, response) => answerMessage(response, request.body, { urgent: true }, { input_tokens: 100, output_tokens: 10 }));
    const caller = await bench.organisation();
    orgId = caller.orgId;
    await bench.connect(caller, 'models', { kind: 'llm', provider: 'anthropic', apiKey: 'k', baseUrl: `${server.url}/v1` });
    neuron = neuronOf({
      kind: 'llm', connection: 'models', model: 'claude-3-haiku-20240307', system: 's', prompt: 'string(signal.data.n)', answer: { type: 'object', properties: { urgent: { type: 'boolean' } }, required: ['urgent'] },
      timeoutSeconds: 5, price: { input: 1, output: 1 }, rules: [{ when: 'answer.urgent', decide: { summary: '"x"', reason: '"y"' } }],
    });
    const { id: _id, version: _version, ...draft } = neuron;
    await new NeuronStore(bench.test.database).create(orgId, neuron.id, draft, 'test', act(orgId, { action: 'neuron.create' }));
  });
  afterEach(() => server.close());

  /** Calls as a layer leaves them. */
  const calls = async (batch: string, values: readonly number[], neuronId = neuron.id): Promise<string[]> => {
    const ids = values.map(() => randomUUID());
    await bench.test.database.withOrg(orgId, async (tx) => {
      for (const [index, n] of values.entries()) {
        await sql`insert into external_calls (org_id, id, batch_id, layer, ordinal, neuron_id, neuron_version, signal)
          values (${orgId}, ${ids[index]}, ${batch}, 'L4', ${index}, ${neuronId}, 1, ${JSON.stringify(signalOf({ n }))})`.execute(tx);
      }
    });
    return ids;
  };
  const environment = () => new MockActivityEnvironment({ workflowExecution: { workflowId: `${orgId}/cascade/${randomUUID()}`, runId: randomUUID() } });
  const run = (env: MockActivityEnvironment, batch: string, limit: number) => {
    const activities = createExternalActivities({ ...bench, store });
    return env.run((input: LayerCalls) => activities.callNeurons(input), { batchId: batch, layer: 'L4' as const, limit });
  };

  it('makes some calls at a time, stores each outcome with its cost, and repeats none', async () => {
    const batch = batchId();
    const ids = await calls(batch, [1, 2, 3, 3, 4, 5, 6]);
    expect(await run(environment(), batch, 5)).toEqual({ waiting: 1 });
    expect(await run(environment(), batch, 5)).toEqual({ waiting: 0 });
    expect(await run(environment(), batch, 5)).toEqual({ waiting: 0 });
    const outcomes = await Promise.all(ids.map(async (id) => (await store.find(orgId, id))?.outcome));
    expect(outcomes[0]).toEqual({ fallback: false, answer: { urgent: true }, costUsd: '0.000110000' });
    expect(outcomes.every((outcome) => outcome?.fallback === false)).toBe(true);
    const paid = outcomes.reduce((sum, outcome) => sum + Number(outcome?.costUsd), 0);
    expect(paid).toBeCloseTo(server.received.length * 0.00011, 9);
  });

  it('falls back for a neuron that is gone', async () => {
    const batch = batchId();
    const [id = ''] = await calls(batch, [1], randomUUID());
    await run(environment(), batch, 5);
    expect((await store.find(orgId, id))?.outcome).toMatchObject({ fallback: true, reason: 'the neuron is not there any more' });
  });

  it('beats while a call is slow, and ends with the activity when it is cancelled', async () => {
    server.answer = () => undefined;
    const batch = batchId();
    const [id = ''] = await calls(batch, [1]);
    const env = environment();
    let beats = 0;
    env.on('heartbeat', () => {
      beats += 1;
    });
    const running = run(env, batch, 5);
    setTimeout(() => env.cancel(), 2500);
    await expect(running).rejects.toThrow(/abort|cancel/i);
    expect(beats).toBeGreaterThanOrEqual(1);
    expect((await store.find(orgId, id))?.outcome).toBeUndefined();
  });
});
