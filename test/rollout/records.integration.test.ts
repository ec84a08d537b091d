import { randomUUID } from 'node:crypto';
import { sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { RetentionStore } from '../../database/retention.ts';
import { RolloutStore, type RolloutUnitKey, type RolloutVerdictRecord } from '../../database/rollouts.ts';
import { startTestApi, type TestApi, type TestKey } from '../api/running-api.ts';

const PLAN = { wave: 'all', namespace: 'shop', workload: 'Deployment/web', replicas: 3, strategy: 'canary', steps: [{ weight: 25, soakSeconds: 60, approvals: 2 }], from: { main: 'web:1' }, to: { main: 'web:2' } } as const;
const DAYS = { history: 60, calls: 60, messages: 60, approvals: 60 };

const verdict = (metric: string, more: Partial<RolloutVerdictRecord> = {}): RolloutVerdictRecord => ({
  at: new Date('2026-05-01T10:00:00.000Z'), service: 'web', cluster: 'eu', step: 'canary 25 %', metric, outcome: 'pass', reason: '3 is within the limits',
  queries: { new: 'avg(latency)' }, samples: { new: [3, null] }, statistic: { mean: 3, finding: null }, threshold: { above: 5, below: null }, ...more,
});

describe('records of rollouts', () => {
  let test: TestApi;
  let store: RolloutStore;
  let key: TestKey;
  beforeAll(async () => {
    test = await startTestApi();
    store = new RolloutStore(test.database.database);
    key = await test.key(await test.database.organisation());
  });
  afterAll(() => test.stop());

  const begin = async (orgId = key.orgId, days = 0): Promise<RolloutUnitKey> => {
    const unit = { orgId, runId: `rollout~${randomUUID()}`, service: 'web', cluster: 'eu' };
    if (days > 0) await test.database.database.withOrg(orgId, (tx) => sql`insert into rollouts (org_id, run_id, created_at) values (${orgId}, ${unit.runId}, now() - make_interval(days => ${days}))`.execute(tx));
    await store.begin(orgId, unit.runId);
    await store.plan(unit, PLAN);
    return unit;
  };
  const ask = async (method: string, path: string, { body, as = key }: { body?: unknown; as?: TestKey } = {}): Promise<{ status: number; body: Record<string, unknown> }> => {
    const answer = await fetch(test.url + path, { method, headers: { authorization: `Bearer ${as.text}`, 'content-type': 'application/json' }, ...(body === undefined ? {} : { body: JSON.stringify(body) }) });
    return { status: answer.status, body: (await answer.json()) as Record<string, unknown> };
  };

  it('are the same when an attempt is made again, and its verdicts are the last ones', async () => {
    const unit = await begin();
    await store.begin(unit.orgId, unit.runId);
    await store.plan(unit, PLAN);
    for (let attempt = 0; attempt < 2; attempt += 1) await store.record(unit, { key: 'execution/3', step: '1 new beside 3 old pods', share: 25, state: 'running' });
    await store.judge(unit, 'execution/5/1', [verdict('errors'), verdict('latency', { outcome: 'inconclusive' })]);
    await store.judge(unit, 'execution/5/1', [verdict('errors', { outcome: 'fail', reason: '9 is above 5', statistic: { mean: 9 } }), verdict('latency')]);
    const { status, body } = await ask('GET', `/v1/rollouts/${unit.runId}`);
    expect([status, body]).toEqual([200, {
      runId: unit.runId, status: null, createdAt: expect.any(String) as string, closedAt: null,
      units: [{ service: 'web', cluster: 'eu', ...PLAN, state: 'running', changedAt: expect.any(String) as string }],
      steps: [{ at: expect.any(String) as string, service: 'web', cluster: 'eu', step: '1 new beside 3 old pods', share: 25 }],
    }]);
    const verdicts = await ask('GET', `/v1/rollouts/${unit.runId}/verdicts`);
    const shown = { ...verdict('errors', { outcome: 'fail', reason: '9 is above 5', statistic: { mean: 9 } }), at: '2026-05-01T10:00:00.000Z', seq: expect.any(Number) as number };
    expect(verdicts.body).toEqual({ items: [{ ...shown, ...verdict('latency'), at: shown.at }, shown], nextCursor: null });
    expect((await ask('GET', `/v1/rollouts/${unit.runId}/verdicts?outcome=fail`)).body['items']).toEqual([shown]);
  });

  it('come in pages, the newest first, with the status of their run', async () => {
    const own = await test.key(await test.database.organisation());
    const units = [await begin(own.orgId), await begin(own.orgId), await begin(own.orgId)];
    await test.database.database.system.insertInto('runs').values({ org_id: own.orgId, run_id: units[2]?.runId ?? '', operation: 'rollout', origin: 'api', status: 'completed', tags: [], started_at: new Date(), closed_at: new Date() }).execute();
    const first = await ask('GET', '/v1/rollouts?limit=2', { as: own });
    expect(first.body['items']).toMatchObject([{ runId: units[2]?.runId, status: 'completed', units: [{ service: 'web' }] }, { runId: units[1]?.runId, status: null }]);
    const second = await ask('GET', `/v1/rollouts?limit=2&cursor=${String(first.body['nextCursor'])}`, { as: own });
    expect(second.body).toMatchObject({ items: [{ runId: units[0]?.runId }], nextCursor: null });
    const narrow = await test.key(own.orgId, ['runs:read:type=greet']);
    expect((await ask('GET', '/v1/rollouts', { as: narrow })).status).toBe(403);
    expect((await ask('GET', '/v1/rollouts', { as: await test.key(own.orgId, ['runs:read:type=rollout']) })).status).toBe(200);
    expect((await ask('GET', `/v1/rollouts/${units[0]?.runId ?? ''}/verdicts`)).status).toBe(404);
  });

  it('are not begun by a step of a rollout that has none', async () => {
    const unit = { orgId: key.orgId, runId: `rollout~${randomUUID()}`, service: 'web', cluster: 'eu' };
    await store.record(unit, { key: 'k', step: 'out', state: 'new' });
    await store.judge(unit, 'k', [verdict('errors')]);
    expect(await store.find(unit.orgId, unit.runId)).toBeUndefined();
  });

  it('go with their steps and verdicts when they have had their time, unless the run goes on', async () => {
    const { orgId } = await test.key(await test.database.organisation());
    const [old, open, young] = [await begin(orgId, 61), await begin(orgId, 61), await begin(orgId, 59)];
    for (const unit of [old, open, young]) {
      await store.record(unit, { key: 'k', step: 'begun' });
      await store.judge(unit, 'k', [verdict('errors')]);
    }
    await test.database.database.system.insertInto('runs').values({ org_id: orgId, run_id: open.runId, operation: 'rollout', origin: 'api', status: 'running', tags: [], started_at: new Date() }).execute();
    const retention = new RetentionStore(test.database.database);
    expect(await retention.removeOfAllOrganisations(DAYS, [], () => Promise.resolve())).toMatchObject({ rollouts: 1 });
    expect(await retention.removeOfAllOrganisations(DAYS, [], () => Promise.resolve())).not.toHaveProperty('rollouts');
    expect((await store.list(orgId, 10)).map(({ runId }) => runId)).toEqual([young.runId, open.runId]);
    const { rows } = await test.database.database.withOrg(orgId, (tx) => sql<{ steps: number; verdicts: number }>`select (select count(*)::int from rollout_steps) as steps, (select count(*)::int from rollout_verdicts) as verdicts`.execute(tx));
    expect(rows).toEqual([{ steps: 2, verdicts: 2 }]);
  });

  it('have nothing of an import, which answers inputs and notes', async () => {
    const spec = 'apiVersion: flagger.app/v1beta1\nkind: Canary\nmetadata: { name: web, namespace: shop }\nspec:\n  provider: kubernetes\n  targetRef: { kind: Deployment, name: web }\n  suspend: true\n  analysis: { interval: 30s, stepWeight: 50, metrics: [] }\n';
    const before = (await ask('GET', '/v1/rollouts')).body['items'];
    const { status, body } = await ask('POST', '/v1/rollouts/import', { body: { specs: spec, cluster: 'eu', images: { main: 'web:2' } } });
    expect(status).toBe(200);
    expect(body).toMatchObject({
      rollouts: [{ source: 'Canary shop/web', format: 'flagger', open: [], input: { services: [{ images: { main: 'web:2' } }], waves: [{ clusters: ['eu'] }], strategy: { steps: [{ weight: 50, soakSeconds: 30 }, { weight: 100, soakSeconds: 30 }] } } }],
      ignored: [],
    });
    expect(JSON.stringify(body)).toContain('suspend has no counterpart in HAL9');
    expect((await ask('GET', '/v1/rollouts')).body['items']).toEqual(before);
    for (const specs of ['a: [', 'kind: ConfigMap', '['.repeat(100_000)]) expect(await ask('POST', '/v1/rollouts/import', { body: { specs } }), specs.slice(0, 20)).toMatchObject({ status: 422, body: { type: expect.stringContaining('InvalidInput') as string } });
  });
});
