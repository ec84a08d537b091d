import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pino from 'pino';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { createDataConverter } from '../../platform/codec/data-converter.ts';
import { loadConfig } from '../../platform/config/config.ts';
import { systemCaller } from '../../platform/identity/caller.ts';
import { loadKeyRing } from '../../platform/keys/load.ts';
import type { Operations } from '../../platform/operations/contract.ts';
import { discoverContracts, projectRoots } from '../../platform/operations/discovery.ts';
import { createOperations } from '../../platform/operations/operations.ts';
import { connectTemporalClient, type TemporalClient } from '../../platform/temporal/connect.ts';
import { WorkerStore } from '../../database/workers.ts';
import { createTestDatabase, type TestDatabase } from '../environment/database.ts';
import { createTestNamespace } from '../environment/temporal.ts';
import { startProcess, type RunningProcess } from '../environment/worker.ts';
import { PROJECT } from '../operations/project.ts';

/** The shipped worker process, with a project of one's own beside HAL9's. */
describe('core worker', () => {
  let test: TestDatabase;
  let folder: string;
  let worker: RunningProcess | undefined;
  let temporal: TemporalClient | undefined;
  let operations: Operations | undefined;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'hal9-worker-'));
    test = await createTestDatabase();
    const env = { DATABASE_URL: test.url, TEMPORAL_ADDRESS: inject('temporalAddress'), TEMPORAL_NAMESPACE: await createTestNamespace(), HAL9_DATA: folder, HAL9_OPERATIONS: PROJECT };
    const config = loadConfig(env);
    worker = await startProcess('workers/core/main.ts', env);
    const keys = await loadKeyRing(config);
    temporal = await connectTemporalClient(config, createDataConverter(keys));
    operations = createOperations({ client: temporal.client, database: test.database, contracts: await discoverContracts(projectRoots(PROJECT)), keys, logger: pino({ level: 'silent' }) });
  });
  afterAll(async () => {
    worker?.child.kill('SIGKILL');
    await operations?.close();
    await temporal?.close();
    await test.drop();
    await rm(folder, { recursive: true, force: true });
  });

  /** What `beforeAll` made; it fails the suite when it did not. */
  const running = (): { worker: RunningProcess; operations: Operations } => {
    if (worker === undefined || operations === undefined) throw new Error('not started');
    return { worker, operations };
  };

  it('serves an operation of the project', async () => {
    const caller = systemCaller(await test.organisation(), 'test');
    const { runId } = await running().operations.start(caller, { operation: 'greet', input: { name: 'Ada' }, origin: 'api' });
    expect(await running().operations.result(caller, runId, 20_000)).toEqual({ status: 'completed', result: { greeting: 'Good day, Ada.' } });
  });

  it('tells its metrics, those of Temporal included, and its health', async () => {
    const { worker } = running();
    const metrics = await (await fetch(`${worker.metricsUrl}/metrics`)).text();
    expect(metrics).toMatch(/hal9_worker_heartbeat_timestamp_seconds\{process="core",pid="\d+"\} \d+/);
    expect(metrics).toContain(`hal9_process_cpu_seconds_total`);
    expect(metrics).toContain('temporal_');
    const ready = await fetch(`${worker.metricsUrl}/readyz`);
    expect([ready.status, await ready.json()]).toEqual([200, { status: 'ok', dependencies: { postgresql: 'ok', temporal: 'ok' } }]);
    expect((await fetch(`${worker.metricsUrl}/healthz`)).status).toBe(200);
  });

  it('is on the list of processes while it lives, and ends when asked', async () => {
    const { worker } = running();
    const store = new WorkerStore(test.database);
    await expect.poll(async () => (await store.list()).map(({ process, pid }) => [process, pid])).toEqual([['core', worker.child.pid]]);
    const [row] = await store.list();
    expect(row?.queues).toEqual(expect.arrayContaining(['core', 'core-interactive']));
    const began = Date.now();
    expect(await worker.stop()).toBe(0);
    expect(Date.now() - began).toBeLessThan(7_000);
    expect(await store.list()).toEqual([]);
  });
});
