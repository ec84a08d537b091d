import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pino from 'pino';
import { inject } from 'vitest';
import { createDataConverter } from '../../platform/codec/data-converter.ts';
import { loadConfig } from '../../platform/config/config.ts';
import { loadKeyRing } from '../../platform/keys/load.ts';
import type { Operations } from '../../platform/operations/contract.ts';
import { discoverContracts, projectRoots } from '../../platform/operations/discovery.ts';
import { createOperations } from '../../platform/operations/operations.ts';
import { connectTemporalClient, type TemporalClient } from '../../platform/temporal/connect.ts';
import type { OperationContract } from '../../schemas/operations/operation.ts';
import { createTestDatabase, type TestDatabase } from '../environment/database.ts';
import { createTestNamespace } from '../environment/temporal.ts';
import { startProcess, type RunningProcess } from '../environment/worker.ts';

export interface CoreProcess {
  readonly worker: RunningProcess;
  readonly test: TestDatabase;
  readonly temporal: TemporalClient;
  readonly operations: Operations;
  readonly env: Readonly<Record<string, string>>;
  close(): Promise<void>;
}

/** The shipped core worker as a process, with a project of one's own beside HAL9's, and operations to talk to it. */
export async function startCoreProcess(project: string, settings: Readonly<Record<string, string>> = {}, contracts?: ReadonlyMap<string, OperationContract>): Promise<CoreProcess> {
  const folder = await mkdtemp(join(tmpdir(), 'hal9-worker-'));
  const test = await createTestDatabase();
  const env = {
    DATABASE_URL: test.url,
    TEMPORAL_ADDRESS: inject('temporalAddress'),
    TEMPORAL_NAMESPACE: await createTestNamespace(),
    HAL9_DATA: folder,
    HAL9_OPERATIONS: project,
    ...settings,
  };
  const config = loadConfig(env);
  const keys = await loadKeyRing(config);
  const temporal = await connectTemporalClient(config, createDataConverter(keys));
  const operations = createOperations({
    client: temporal.client,
    database: test.database,
    contracts: contracts ?? (await discoverContracts(projectRoots(project))),
    keys,
    logger: pino({ level: 'silent' }),
  });
  const close = async (): Promise<void> => {
    await operations.close();
    await temporal.close();
    await test.drop();
    await rm(folder, { recursive: true, force: true });
  };
  const worker = await startProcess('workers/core/main.ts', env).catch(async (error: unknown) => {
    await close();
    throw error;
  });
  return {
    worker, test, temporal, operations, env,
    async close() {
      worker.child.kill('SIGKILL');
      await close();
    },
  };
}
