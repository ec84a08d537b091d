import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pino from 'pino';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { startApi, type RunningApi } from '../../api/process.ts';
import { ApiKeyStore } from '../../database/api-keys.ts';
import { RemediationActionStore } from '../../database/remediation-actions.ts';
import { loadConfig } from '../../platform/config/config.ts';
import { formatKey, generateKey, hashSecret } from '../../platform/identity/key-format.ts';
import { KeyRing } from '../../platform/keys/key-ring.ts';
import { CascadeHouse } from './house.ts';
import { reading, THREE_LAYERS } from './neurons.ts';

const SECRET = Buffer.alloc(32, 7);

let house: CascadeHouse;
let api: RunningApi;
let folder: string;

beforeAll(async () => {
  house = await CascadeHouse.open(new KeyRing([{ id: 'test', key: SECRET }]));
  await house.serve();
  folder = await mkdtemp(join(tmpdir(), 'hal9-cascade-api-'));
  const config = loadConfig({
    DATABASE_URL: house.test.url, TEMPORAL_ADDRESS: inject('temporalAddress'), TEMPORAL_NAMESPACE: house.namespace, HAL9_DATA: folder, HAL9_PORT: '0',
    HAL9_MASTER_KEYS: `test:${SECRET.toString('base64')}`,
  });
  api = await startApi(config, { version: '0.0.0', logger: pino({ level: 'silent' }), drainMs: 3000 });
});
afterAll(async () => {
  await api.stop();
  await house.close();
  await rm(folder, { recursive: true, force: true });
});

/** The members of answers that these tests look into one by one. */
interface Body {
  readonly id: string;
  readonly signalId: string;
  readonly items: readonly { readonly name: string; readonly version: number; readonly members: readonly unknown[] }[];
  readonly nextCursor: string | null;
  readonly decisions: readonly { readonly id: string; readonly summary: string }[];
  readonly emissions: readonly { readonly direction: string; readonly type: string }[];
  readonly durationMs: number;
}

type Call = (method: string, path: string, body?: unknown, headers?: Readonly<Record<string, string>>) => Promise<{ status: number; headers: Headers; body: Body }>;

/** A key of a new organisation, or of one that is there. */
async function caller(scopes: readonly string[] = ['*'], orgId?: string): Promise<{ call: Call; orgId: string }> {
  const org = orgId ?? (await house.test.organisation());
  const text = generateKey();
  await new ApiKeyStore(house.test.database).insert({ orgId: org, id: randomUUID(), name: 'test', prefix: text.prefix, secretHash: hashSecret(text.secret), scopes, expiresAt: null });
  const call: Call = async (method, path, body, headers = {}) => {
    const response = await fetch(`http://127.0.0.1:${String(api.port)}${path}`, {
      method,
      headers: { authorization: `Bearer ${formatKey(text)}`, ...(body === undefined ? {} : { 'content-type': 'application/json' }), ...headers },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const answer = await response.text();
    return { status: response.status, headers: response.headers, body: answer === '' ? undefined : JSON.parse(answer) };
  };
  return { call, orgId: org };
}

describe('neurons over REST', () => {
  it('creates, reads, lists, replaces, changes and switches, each a version', async () => {
    const { call } = await caller();
    const created = await call('POST', '/v1/neurons', THREE_LAYERS[0]);
    expect(created).toMatchObject({ status: 201, body: { name: 'hot', version: 1, enabled: true, fanOut: 10 } });
    expect(created.headers.get('etag')).toBe('"1"');
    const path = `/v1/neurons/${created.body.id}`;
    expect((await call('POST', '/v1/neurons', THREE_LAYERS[0])).status).toBe(409);
    expect(await call('PATCH', path, { description: 'hotter', fanOut: 20 }, { 'if-match': '"1"' })).toMatchObject({ status: 200, body: { version: 2, description: 'hotter', fanOut: 20, name: 'hot' } });
    expect((await call('PATCH', path, { description: 'late' }, { 'if-match': '"1"' })).status).toBe(409);
    expect(await call('PUT', path, { ...THREE_LAYERS[0], name: 'hotter' }, { 'if-match': '"2"' })).toMatchObject({ status: 200, body: { version: 3, name: 'hotter', description: '' } });
    expect(await call('POST', `${path}/disable`)).toMatchObject({ status: 200, body: { version: 4, enabled: false } });
    expect((await call('GET', `${path}/versions`)).body.items.map((item) => item.version)).toEqual([4, 3, 2, 1]);
    await call('POST', '/v1/neurons', THREE_LAYERS[1]);
    const page = await call('GET', '/v1/neurons?limit=1');
    expect(page.body.items.map((item) => item.name)).toEqual(['confirm']);
    expect((await call('GET', `/v1/neurons?limit=1&cursor=${page.body.nextCursor ?? ''}`)).body).toMatchObject({ items: [{ name: 'hotter' }], nextCursor: null });
    expect((await call('GET', '/v1/neurons?layer=L3')).body.items).toHaveLength(1);
  });

  it('refuses what does not compile, and operations that the caller may not start', async () => {
    const { call, orgId } = await caller();
    const broken = { ...THREE_LAYERS[0], behaviour: { kind: 'rules', rules: [{ when: 'signal.data.value >', emit: { type: 'x' } }] } };
    expect(await call('POST', '/v1/neurons', broken)).toMatchObject({ status: 422, body: { errors: [{ path: '/behaviour/rules/0/when' }] } });
    const starts = (type: string) => ({ ...THREE_LAYERS[2], name: `starts-${type}`, behaviour: { kind: 'rules', rules: [{ when: 'true', decide: { summary: '"s"', reason: '"r"', operation: { type, input: '{}' } } }] } });
    expect(await call('POST', '/v1/neurons', starts('nowhere'))).toMatchObject({ status: 422, body: { errors: [{ path: '/behaviour/rules/0/decide/operation/type' }] } });
    expect((await call('POST', '/v1/neurons', starts('cascade'))).status).toBe(422);
    expect((await (await caller(['neurons:*'], orgId)).call('POST', '/v1/neurons', starts('remediate'))).status).toBe(403);
    expect((await call('POST', '/v1/neurons', starts('remediate'))).status).toBe(201);
    expect((await (await caller(['neurons:read'], orgId)).call('POST', '/v1/neurons', THREE_LAYERS[0])).status).toBe(403);
  });

  it('tries a neuron on samples without a trace', async () => {
    const { call } = await caller();
    const tried = await call('POST', '/v1/neurons/test', { neuron: THREE_LAYERS[0], signals: [{ type: 'test.reading', data: { value: 95 } }, { type: 'test.reading', data: { value: 5 } }, { type: 'test.reading', data: {} }] });
    expect(tried).toMatchObject({ status: 200, body: { evaluations: 3, emissions: [{ signal: 0, type: 'test.hot', targetLayer: 'L3', data: { value: 95 } }], decisions: [], failures: [{ signal: 2 }] } });
    expect((await call('GET', '/v1/neurons')).body.items).toEqual([]);
    const { body } = await call('POST', '/v1/neurons', THREE_LAYERS[2]);
    expect((await call('POST', `/v1/neurons/${body.id}/test`, { signals: [{ type: 'test.confirmed', subject: 'h', data: { value: 1 } }] })).body.decisions).toMatchObject([{ summary: 'cool h' }]);
  });

  it('belongs to its organisation', async () => {
    const [mine, other] = [await caller(), await caller()];
    const { body } = await mine.call('POST', '/v1/neurons', THREE_LAYERS[0]);
    for (const [method, path, sent] of [['GET', '', undefined], ['PUT', '', THREE_LAYERS[0]], ['PATCH', '', {}], ['POST', '/disable', undefined], ['GET', '/versions', undefined]] as const) {
      expect((await other.call(method, `/v1/neurons/${body.id}${path}`, sent)).status).toBe(404);
    }
  });
});

describe('decisions and traces over REST', () => {
  it('decides a waiting signal, shows its trace as a tree, and lists the decision', async () => {
    const { call } = await caller();
    for (const neuron of THREE_LAYERS) expect((await call('POST', '/v1/neurons', neuron)).status).toBe(201);
    let waited = await call('POST', '/v1/signals?wait=true', reading('hot', 95));
    // 202: committed, and not decided within the ten seconds that a request waits. Asked again, it waits on.
    while (waited.status === 202) waited = await call('POST', '/v1/signals?wait=true', reading('hot', 95));
    expect(waited).toMatchObject({ status: 200, body: { state: 'decided', decisions: [{ summary: 'cool host-a', layer: 'L4' }] } });
    const again = await call('POST', '/v1/signals?wait=true', reading('hot', 95));
    expect(again.body).toEqual(waited.body);
    const trace = await call('GET', `/v1/signals/${waited.body.signalId}/trace`);
    expect(trace).toMatchObject({
      status: 200,
      body: {
        signal: { type: 'test.reading', state: 'decided' }, truncated: false, costUsd: '0.000000000', deadLetters: [],
        tree: { kind: 'signal', children: [{ kind: 'emission', layer: 'L2', title: 'hot emits test.hot to L3', children: [{ kind: 'emission', layer: 'L3', children: [{ kind: 'decision', layer: 'L4', title: 'cool decides: cool host-a' }] }] }] },
      },
    });
    expect(trace.body.durationMs).toBeGreaterThan(0);
    const [decision] = trace.body.decisions;
    if (decision === undefined) throw new Error('no decision');
    expect(await call('GET', `/v1/decisions/${decision.id}`)).toMatchObject({ status: 200, body: { id: decision.id, reason: 'value 95', effectState: 'pending', neuron: { name: 'cool', version: 1 } } });
    expect((await call('GET', '/v1/decisions?severity=critical&layer=L4&limit=1')).body).toMatchObject({ items: [{ id: decision.id }], nextCursor: null });
    expect((await call('GET', '/v1/decisions?severity=info')).body.items).toEqual([]);
    const other = await caller();
    expect((await other.call('GET', `/v1/decisions/${decision.id}`)).status).toBe(404);
    expect((await other.call('GET', `/v1/signals/${waited.body.signalId}/trace`)).status).toBe(404);
  });

  it('follows delegations down and correlators across batches, and gathers incidents', async () => {
    const { call, orgId } = await caller();
    await house.neurons(orgId, [
      { name: 'pass', layer: 'L2', subscription: { types: ['test.reading'] }, behaviour: { kind: 'rules', rules: [{ when: 'true', emit: { type: 'hal9.anomaly', severity: 'critical' } }] } },
      { name: 'group', layer: 'L3', subscription: { types: ['hal9.anomaly'] }, behaviour: { kind: 'correlator', settleSeconds: 0, minMembers: 2, causes: [{ cause: 'heat', when: 'true' }] } },
      { name: 'ask', layer: 'L4', subscription: { types: ['hal9.incident'] }, behaviour: { kind: 'rules', match: 'all', rules: [{ when: 'true', delegate: { layer: 'L2', type: 'test.look' } }, { when: 'true', decide: { summary: '"incident"', reason: '"two"' } }] } },
      { name: 'look', layer: 'L2', subscription: { types: ['test.look'] }, behaviour: { kind: 'rules', rules: [{ when: 'true', decide: { summary: '"looked"', reason: '"asked"' } }] } },
    ]);
    const [first] = await house.ingest(orgId, [reading('one', 1)]);
    await house.decideAll();
    // The second comes in another batch, and completes the group.
    await house.ingest(orgId, [reading('two', 1, { source: 'host/b', subject: 'host-b' })]);
    await house.decideAll();
    const { body } = await call('GET', `/v1/signals/${String(first)}/trace`);
    expect(body.decisions.map((decision) => decision.summary).sort()).toEqual(['incident', 'looked']);
    expect(body.emissions.map((emission) => `${emission.direction} ${emission.type}`)).toEqual(['up hal9.anomaly', 'up hal9.incident', 'down test.look']);
    const incidents = await call('GET', '/v1/incidents');
    expect(incidents.body.items).toMatchObject([{ state: 'opened', cause: 'heat', decisions: [{ summary: 'incident' }] }]);
    expect(incidents.body.items[0]?.members).toHaveLength(2);
  });

  it('lists what host agents did, page by page and by filter, of the own organisation', async () => {
    const [{ call, orgId }, other] = [await caller(), await caller()];
    const actions = new RemediationActionStore(house.test.database);
    const run = `${orgId}/remediate/${randomUUID()}`;
    for (let step = 1; step <= 3; step += 1) {
      const action = { id: randomUUID(), hostId: step === 3 ? 'b' : 'a', incidentId: 'i-1', workflowId: run, step, cause: 'cpu-hog', action: 'terminateProcess', target: `burn (${step})` };
      if (step === 2) await actions.refuse(orgId, action, 'not on the list');
      else await actions.reserve(orgId, action, { maxPerIncident: 9, maxPerHour: 9 });
      if (step === 1) await actions.finish(orgId, action.id, 'done', 'ended by SIGTERM');
    }
    const listed = async (query: string) => (await call('GET', `/v1/remediation-actions?${query}`)).body;
    const first = await listed('limit=2');
    expect(first.items).toMatchObject([{ step: 3, state: 'started', finishedAt: null }, { step: 2, state: 'refused', detail: 'not on the list', runId: run.slice(37).replace('/', '~') }]);
    const rest = await listed(`limit=2&cursor=${first.nextCursor ?? ''}`);
    expect(rest).toMatchObject({ items: [{ step: 1, state: 'done', detail: 'ended by SIGTERM', incidentId: 'i-1' }], nextCursor: null });
    expect((await listed('hostId=a')).items).toHaveLength(2);
    expect((await listed('state=refused')).items).toHaveLength(1);
    expect((await listed(`runId=${run.slice(37).replace('/', '~')}&incidentId=i-1`)).items).toHaveLength(3);
    expect((await listed('runId=none')).items).toEqual([]);
    expect((await other.call('GET', '/v1/remediation-actions')).body.items).toEqual([]);
    expect((await call('GET', '/v1/remediation-actions?cursor=bm8')).status).toBe(422);
  });
});
