import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pino from 'pino';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTemporal, type RunningTemporal } from '../../deploy/local/temporal.ts';
import { resolveTool, temporalTool } from '../../deploy/local/tools.ts';
import { createDataConverter } from '../../platform/codec/data-converter.ts';
import { loadConfig } from '../../platform/config/config.ts';
import { systemCaller, type Caller } from '../../platform/identity/caller.ts';
import { loadKeyRing } from '../../platform/keys/load.ts';
import type { Operations } from '../../platform/operations/contract.ts';
import { discoverContracts, projectRoots } from '../../platform/operations/discovery.ts';
import { createOperations } from '../../platform/operations/operations.ts';
import { connectTemporalClient, type TemporalClient } from '../../platform/temporal/connect.ts';
import { HalError } from '../../schemas/errors.ts';
import { createTestDatabase, type TestDatabase } from '../environment/database.ts';
import { freePort } from '../../platform/telemetry/free-port.ts';
import { startProcess, type RunningProcess } from '../environment/worker.ts';
import { PROJECT } from '../operations/project.ts';

/** The core worker and a Temporal server of its own that comes late, dies and comes back. */
describe('Temporal away', () => {
  let folder: string;
  let test: TestDatabase;
  let port: number;
  let server: RunningTemporal | undefined;
  let worker: RunningProcess | undefined;
  let temporal: TemporalClient;
  let operations: Operations;
  let caller: Caller;
  const start = async (): Promise<void> => {
    server = await startTemporal({ executable: await resolveTool(temporalTool(), { env: process.env, progress: () => undefined }), port, folder });
  };
  const kill = async (): Promise<void> => {
    const child = server?.process;
    const ended = new Promise((resolve) => child?.once('exit', resolve));
    child?.kill('SIGKILL');
    await ended;
  };
  const greet = () => operations.start(caller, { operation: 'greet', input: { name: 'Ada', waitFor: true }, origin: 'api' });

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'hal9-outage-'));
    [test, port] = await Promise.all([createTestDatabase(), freePort()]);
    const env = { DATABASE_URL: test.url, TEMPORAL_ADDRESS: `127.0.0.1:${port}`, HAL9_DATA: folder, HAL9_OPERATIONS: PROJECT, HAL9_LOG_LEVEL: 'debug' };
    const config = loadConfig(env);
    const keys = await loadKeyRing(config);
    temporal = await connectTemporalClient(config, createDataConverter(keys));
    operations = createOperations({ client: temporal.client, database: test.database, contracts: await discoverContracts(projectRoots(PROJECT)), keys, logger: pino({ level: 'silent' }) });
    caller = systemCaller(await test.organisation(), 'test');
    const starting = startProcess('workers/core/main.ts', env);
    // The worker is there first, and waits.
    await new Promise((resolve) => setTimeout(resolve, 3_000));
    await start();
    worker = await starting;
  });
  afterAll(async () => {
    worker?.child.kill('SIGKILL');
    await operations.close();
    await temporal.close();
    await server?.stop();
    await test.drop();
    await rm(folder, { recursive: true, force: true });
  });

  it('says so to callers, and goes on with open runs once it is back', async () => {
    const before = await greet();
    expect(await operations.query(caller, before.runId, 'title', null)).toBeNull();
    await kill();
    await expect(greet()).rejects.toMatchObject({ type: 'DependencyUnavailable', failure: { status: 503 } });
    await start();
    await onceThere(() => operations.signal(caller, before.runId, 'proceed', { title: 'Countess' }));
    expect(await operations.result(caller, before.runId, 30_000)).toEqual({ status: 'completed', result: { greeting: 'Good day, Countess Ada.' } });
    const after = await onceThere(greet);
    await operations.signal(caller, after.runId, 'proceed', { title: 'Lady' });
    expect(await operations.result(caller, after.runId, 30_000)).toMatchObject({ status: 'completed' });
    expect(worker?.child.exitCode).toBeNull();
  });
});

/** As a caller does who is told to try again: a server that was killed looks for its dead self for a while after it answers again. */
async function onceThere<T>(work: () => Promise<T>): Promise<T> {
  const deadline = Date.now() + 60_000;
  for (;;) {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof HalError) || error.type !== 'DependencyUnavailable' || Date.now() > deadline) throw error;
      await new Promise((resolve) => setTimeout(resolve, 1000 * (error.retryAfterSeconds ?? 1)));
    }
  }
}
