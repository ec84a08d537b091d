import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { NeuronLook } from '../../activities/kubernetes/activity-contract.ts';
import { lookByNeuron } from '../../activities/kubernetes/neuron-look.ts';
import { NeuronStore } from '../../database/neurons.ts';
import { SignalReadStore } from '../../database/signal-reads.ts';
import { SignalStore } from '../../database/signals.ts';
import { actOf } from '../../platform/audit/act.ts';
import type { Caller } from '../../platform/identity/caller.ts';
import { neuronDraftSchema } from '../../schemas/neurons/definition.ts';
import { rolloutMetricSchema, type Verdict } from '../../schemas/operations/rollout.ts';
import { json, startHttpServer, type LocalServer } from '../environment/http-server.ts';
import { externalBench, type ExternalBench } from '../external/bench.ts';

const LATENCY: Verdict = { at: '2026-11-21T12:00:00Z', service: 'web', cluster: 'eu', step: 'canary 25 %', metric: 'latency', outcome: 'pass', reason: 'fine', queries: { new: 'latency' }, samples: { new: [100, 120] }, statistic: { mean: 110 }, threshold: { above: 200, below: null } };
const LOOK: NeuronLook = {
  target: { cluster: 'eu', service: 'web', namespace: 'shop', kind: 'Deployment', name: 'web', uid: 'u', replicas: 3, from: { main: 'web:1' }, to: { main: 'web:2' }, shape: '', strategy: { kind: 'rolling' }, isReturn: false },
  metrics: [],
  step: 'canary 25 %',
  intervalSeconds: 1,
  sinceMs: Date.UTC(2026, 10, 21, 12),
  measured: [LATENCY],
};

describe('a neuron that judges a rollout', () => {
  let bench: ExternalBench;
  let caller: Caller;
  let server: LocalServer;
  beforeAll(async () => {
    [bench, server] = await Promise.all([externalBench(), startHttpServer()]);
  });
  afterAll(async () => {
    await server?.close();
    await bench?.close();
  });
  beforeEach(async () => {
    caller = await bench.organisation();
  });

  const neuron = async (behaviour: object, change: object = {}): Promise<void> => {
    const draft = neuronDraftSchema.parse({ name: 'guard', layer: 'L2', subscription: { types: ['hal9.rollout.*'] }, behaviour, ...change });
    await new NeuronStore(bench.test.database).create(caller.orgId, randomUUID(), draft, 'test', actOf(caller, 'neuron.create', { kind: 'neuron', id: draft.name }));
  };
  const rules = (data: string) => ({ kind: 'rules', rules: [{ when: 'true', emit: { type: 'shop.verdict', data } }] });
  const http = (more: object = {}) => ({ kind: 'http', url: `${server.url}/judge`, timeoutSeconds: 110, rules: [{ when: 'true', emit: { type: 'shop.verdict', data: '{"outcome": answer.body.outcome, "score": answer.body.score}' } }], ...more });
  const look = (source: object = {}, more: object = {}, key = randomUUID(), neuronLook = LOOK): Promise<Verdict> => {
    const metric = rolloutMetricSchema.parse({ name: 'guard', source: { kind: 'neuron', neuron: 'guard', ...source }, ...more });
    const deps = { neurons: new NeuronStore(bench.test.database), signals: new SignalReadStore(bench.test.database), calls: bench };
    return lookByNeuron(deps, { orgId: caller.orgId, key, look: neuronLook, signal: AbortSignal.timeout(600_000) }, metric);
  };

  it('sees what the other metrics found, and its word is kept with what it was asked', async () => {
    await neuron(rules('{"outcome": signal.data.metrics["latency"].statistic.mean > 100.0 ? "fail" : "pass", "reason": signal.data.service + " is slow", "score": signal.data.metrics["latency"].samples.new[1]}'));
    const verdict = await look();
    expect(verdict).toMatchObject({ metric: 'guard', service: 'web', cluster: 'eu', step: 'canary 25 %', outcome: 'fail', reason: 'web is slow', statistic: { answer: 'fail', score: 120 }, threshold: { answer: 'pass' }, samples: { score: [120] }, queries: { neuron: 'guard, version 1' } });
    expect(JSON.parse(verdict.queries['asked'] ?? '')).toMatchObject({ type: 'hal9.rollout.look', service: 'web', from: { main: 'web:1' }, to: { main: 'web:2' }, metrics: { latency: 'pass' }, signals: 0 });
  });

  it('is shown the signals of the service, whose content stays out of the record', async () => {
    const day = new Date().toISOString();
    const rows = [['web', 'first'], ['other', 'second'], ['web', 'third']].map(([subject, word]) => ({ key: randomUUID().replaceAll('-', ''), lane: 0, source: 'shop', type: 'shop.alarm', time: day, envelope: JSON.stringify({ specversion: '1.0', id: word, source: 'shop', type: 'shop.alarm', subject, time: day, data: { word } }) }));
    await new SignalStore(bench.test.database).commit({ orgId: caller.orgId, rows, traceparent: undefined });
    await neuron(rules('{"outcome": signal.data.signals.size() == 0 ? "pass" : "fail", "reason": string(signal.data.signals.size()), "score": signal.data.signals.exists(s, s.data.word == "first") ? 1.0 : 0.0}'));
    const verdict = await look({ signals: { type: 'shop.alarm', subject: 'web' } });
    expect(verdict).toMatchObject({ outcome: 'fail', reason: '2', statistic: { score: 1 } });
    expect(JSON.stringify(verdict)).not.toContain('third');
    expect(await look({ signals: { type: 'shop.silence' } })).toMatchObject({ outcome: 'pass' });
  });

  it('asks a service once a look, and holds its score against the thresholds', async () => {
    server.answer = (_, response) => json(response, 200, { outcome: 'pass', score: 0.7 });
    const before = server.received.length;
    await neuron(http());
    const [key, judge] = [randomUUID(), { judge: { kind: 'threshold', below: 0.9 } }];
    const verdict = await look({}, judge, key);
    expect(verdict).toMatchObject({ outcome: 'fail', reason: '0.7 is below 0.9', statistic: { answer: 'pass', score: 0.7 }, threshold: { below: 0.9 } });
    expect(verdict.queries['context']).toBeDefined();
    // An attempt after a crash reads what was answered.
    expect(await look({}, judge, key)).toMatchObject({ outcome: 'fail', statistic: { score: 0.7 } });
    expect(server.received).toHaveLength(before + 1);
    expect(JSON.parse(server.received.at(-1)?.body ?? '')).toMatchObject({ type: 'hal9.rollout.look', source: 'hal9/rollout', data: { service: 'web', metrics: { latency: { outcome: 'pass' } } } });
    expect(await look({}, { judge: { kind: 'threshold', below: 0.5 } })).toMatchObject({ outcome: 'pass' });
  });

  it('decides nothing where the service is away, whatever the fallback rules say', async () => {
    server.answer = (_, response) => response.writeHead(503).end();
    await neuron(http({ fallback: [{ when: 'true', emit: { type: 'shop.verdict', data: '{"outcome": "pass", "score": 1.0}' } }] }));
    expect(await look()).toMatchObject({ outcome: 'inconclusive', reason: expect.stringMatching(/^no verdict but by fallback rules: .*503/) as string });
  });

  it('decides nothing where a budget refuses the call', async () => {
    const llm = { kind: 'llm', connection: 'models', model: 'any', system: 'judge', prompt: '"good?"', answer: { type: 'object' }, price: { input: 1, output: 1 }, perCascade: { calls: 0 }, rules: [{ when: 'true', emit: { type: 'shop.verdict', data: '{"outcome": "pass"}' } }] };
    const asked = server.received.length;
    await bench.connect(caller, 'models', { kind: 'llm', provider: 'anthropic', baseUrl: server.url, apiKey: 'unused-but-present' });
    await neuron(llm);
    const verdict = await look();
    expect(verdict).toMatchObject({ outcome: 'inconclusive', reason: expect.stringContaining('no verdict: ') as string });
    expect(verdict.reason).toMatch(/budget|limit/);
    expect(server.received).toHaveLength(asked);
  });

  it.each<[string, object | undefined, object, object, string]>([
    ['that is not there', undefined, {}, {}, 'guard: the neuron is not there'],
    ['that is disabled', rules('{"outcome": "pass"}'), { enabled: false }, {}, 'guard: the neuron is disabled'],
    ['that keeps a state', { kind: 'detector' }, {}, {}, 'guard: the neuron keeps a state'],
    ['that does not listen', rules('{"outcome": "pass"}'), { subscription: { types: ['other'] } }, {}, 'no verdict: the neuron emitted nothing'],
    ['that says something else', rules('{"outcome": "maybe"}'), {}, {}, 'neither outcome, score nor reason'],
    ['that says nothing', rules('{"reason": "hm"}'), {}, {}, 'neither pass nor fail'],
    ['without a score where one is judged', rules('{"outcome": "pass"}'), {}, { judge: { kind: 'threshold', above: 1 } }, 'the neuron gave no score'],
    ['whose rule fails', rules('{"outcome": signal.data.nothing.there}'), {}, {}, 'no verdict: '],
  ])('never passes by a neuron %s', async (_case, behaviour, change, more, reason) => {
    if (behaviour !== undefined) await neuron(behaviour, change);
    const verdict = await look({}, more);
    expect(verdict).toMatchObject({ outcome: 'inconclusive' });
    expect(verdict.reason).toContain(reason);
  });
});
