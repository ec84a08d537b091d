import proto from '@temporalio/proto';
import { sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { systemCaller } from '../../platform/identity/caller.ts';
import { WorkerStore } from '../../database/workers.ts';
import { PROJECT } from '../operations/project.ts';
import { startCoreProcess, type CoreProcess } from './core-process.ts';

describe('core worker', () => {
  let core: CoreProcess;
  beforeAll(async () => {
    core = await startCoreProcess(PROJECT);
  });
  afterAll(() => core.close());

  it('serves an operation of a project beside its own', async () => {
    const caller = systemCaller(await core.test.organisation(), 'test');
    const { runId } = await core.operations.start(caller, { operation: 'greet', input: { name: 'Ada' }, origin: 'api' });
    expect(await core.operations.result(caller, runId, 20_000)).toEqual({ status: 'completed', result: { greeting: 'Good day, Ada.' } });
  });

  it('counts the processor time of a project\'s activities, each attempt once, and not that of its own', async () => {
    const orgId = await core.test.organisation();
    const caller = systemCaller(orgId, 'test');
    const begin = (input: object) => core.operations.start(caller, { operation: 'greet', input: { name: 'Ada', ...input }, origin: 'api' });
    for (const { runId } of await Promise.all([begin({}), begin({ fail: true })])) await core.operations.result(caller, runId, 20_000);
    const { rows } = await sql<{ key: string; quantity: number }>`select key, quantity from usage_events where org_id = ${orgId} and meter = 'plugin-cpu-ms'`.execute(core.test.database.system);
    // One attempt of each run's one activity; its first writing is all there is of it.
    expect(rows.map(({ key }) => key.replace(/^[0-9a-f-]{36}/, 'run'))).toEqual(['run/1/1/1', 'run/1/1/1']);
    expect(rows.every(({ quantity }) => quantity >= 1)).toBe(true);
    expect(core.operations.contracts.get('greet')?.meter).toBe('plugin-cpu-ms');
    expect(core.operations.contracts.get('remediate')?.meter).toBeUndefined();
  });

  it('tells its metrics, those of Temporal included, and its health', async () => {
    const metrics = await (await fetch(`${core.worker.metricsUrl}/metrics`)).text();
    expect(metrics).toMatch(/hal9_worker_heartbeat_timestamp_seconds\{process="core",pid="\d+"\} \d+/);
    expect(metrics).toContain('hal9_process_cpu_seconds_total');
    expect(metrics).toContain('temporal_');
    const ready = await fetch(`${core.worker.metricsUrl}/readyz`);
    expect([ready.status, await ready.json()]).toEqual([200, { status: 'ok', dependencies: { postgres: 'ok', temporal: 'ok' } }]);
    expect((await fetch(`${core.worker.metricsUrl}/healthz`)).status).toBe(200);
    expect((await fetch(`${core.worker.metricsUrl}/other`)).status).toBe(404);
  });

  it('writes nothing readable into Temporal or its log', async () => {
    const canary = 'canary-7f3a';
    const caller = systemCaller(await core.test.organisation(), 'test');
    const begin = (input: object) => core.operations.start(caller, { operation: 'greet', input: { name: canary, ...input }, origin: 'api', tags: [canary] });
    const [done, failed, waiting] = await Promise.all([begin({}), begin({ fail: true }), begin({ waitFor: true })]);
    await core.operations.update(caller, waiting.runId, 'rename', { name: `${canary}-2` });
    await core.operations.update(caller, waiting.runId, 'hail', {});
    await core.operations.signal(caller, waiting.runId, 'proceed', { title: canary });
    for (const { runId } of [done, failed, waiting]) await core.operations.result(caller, runId, 20_000);
    for (const { workflowId } of [done, failed, waiting]) {
      const raw = await core.temporal.client.workflowService.getWorkflowExecutionHistory({ namespace: core.env['TEMPORAL_NAMESPACE'], execution: { workflowId } });
      expect(raw.history?.events?.length).toBeGreaterThan(3);
      const text = Buffer.from(proto.temporal.api.history.v1.History.encode(raw.history ?? {}).finish()).toString('latin1');
      // What is meant to be readable is: otherwise the search above would prove nothing.
      expect(text).toContain('binary/encrypted');
      expect(text).not.toContain(canary);
      expect(text).not.toContain('nobody greets');
    }
    const log = core.worker.lines.join('\n');
    expect(log).toContain('"failure":"ActionRefused"');
    expect(log).not.toContain(canary);
  });

  it('is on the list of processes while it lives, and ends when asked', async () => {
    const store = new WorkerStore(core.test.database);
    await expect.poll(async () => (await store.list()).map(({ process, pid }) => [process, pid])).toEqual([['core', core.worker.child.pid]]);
    const [row] = await store.list();
    expect(row?.queues).toEqual(expect.arrayContaining(['core', 'core-interactive']));
    const began = Date.now();
    expect(await core.worker.stop()).toBe(0);
    expect(Date.now() - began).toBeLessThan(7_000);
    expect(await store.list()).toEqual([]);
  });
});

describe('core worker with chosen queues', () => {
  it('serves these alone', async () => {
    const core = await startCoreProcess(PROJECT, { HAL9_QUEUES: 'neurons-l3' });
    try {
      const store = new WorkerStore(core.test.database);
      await expect.poll(async () => (await store.list()).map(({ queues }) => queues)).toEqual([['neurons-l3']]);
    } finally {
      await core.close();
    }
  });

  it('refuses one that nobody knows', async () => {
    await expect(startCoreProcess(PROJECT, { HAL9_QUEUES: 'neurons-l9' })).rejects.toThrow('no such queue neurons-l9');
  });
});
