import { join } from 'node:path';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { randomBytes } from 'node:crypto';
import pino from 'pino';
import { NativeConnection, Runtime, Worker, type WorkerOptions } from '@temporalio/worker';
import { inject } from 'vitest';
import { createDataConverter } from '../../platform/codec/data-converter.ts';
import { loadConfig, type Config } from '../../platform/config/config.ts';
import { KeyRing } from '../../platform/keys/key-ring.ts';
import { SubjectKeys } from '../../platform/keys/subject-keys.ts';
import type { Operations } from '../../platform/operations/contract.ts';
import { contractsByName, discoverProjects } from '../../platform/operations/discovery.ts';
import { createOperations } from '../../platform/operations/operations.ts';
import { startTracing } from '../../platform/telemetry/tracing.ts';
import { connectTemporalClient, type TemporalClient } from '../../platform/temporal/connect.ts';
import { loadBundle } from '../../workers/bundle.ts';
import { sdkLogger } from '../../platform/temporal/sdk-logger.ts';
import { activityInterceptors } from '../../workers/interceptors/activity.ts';
import { ProgressReporter } from '../../platform/operations/progress-reporter.ts';
import { progressSink } from '../../workers/interceptors/progress-sink.ts';
import { traceSink } from '../../workers/interceptors/trace-sink.ts';
import createRunActivities from '../../activities/runs/index.ts';
import createGreetingActivities from '../fixtures/operations-project/activities/greetings/index.ts';
import { createTestDatabase, type TestDatabase } from '../environment/database.ts';
import { createTestNamespace } from '../environment/temporal.ts';

export const PROJECT = join(import.meta.dirname, '../fixtures/operations-project');

export interface ServedProject {
  readonly config: Config;
  readonly test: TestDatabase;
  readonly keys: KeyRing;
  /** As HAL9_MASTER_KEYS, for processes of their own. */
  readonly masterKeys: string;
  readonly temporal: TemporalClient;
  readonly operations: Operations;
  readonly namespace: string;
  close(): Promise<void>;
}

/**
 * The fixture project, served in this process: its own database, namespace, keys and a worker for `core` and `core-interactive`, which also acts on many runs.
 * @param roots of projects; with `HAL9_ROOT` its operations are known too.
 */
export async function serveProject(options: Partial<WorkerOptions> = {}, settings: Readonly<Record<string, string>> = {}, roots: readonly string[] = [PROJECT]): Promise<ServedProject> {
  const folder = await mkdtemp(join(tmpdir(), 'hal9-operations-'));
  const [test, namespace] = await Promise.all([createTestDatabase(), createTestNamespace()]);
  const config = loadConfig({ DATABASE_URL: test.url, TEMPORAL_ADDRESS: inject('temporalAddress'), TEMPORAL_NAMESPACE: namespace, HAL9_DATA: folder, ...settings });
  const masterKeys = `test:${randomBytes(32).toString('base64')}`;
  const keys = KeyRing.parse(masterKeys);
  const dataConverter = createDataConverter(keys, new SubjectKeys({ database: test.database, keys }));
  const logger = pino({ level: 'silent' });
  quietRuntime();
  const projects = await discoverProjects(roots);
  const tracing = await startTracing(config, 'test');
  const temporal = await connectTemporalClient(config, dataConverter, { interceptors: tracing.clientInterceptors });
  const operations = createOperations({ client: temporal.client, database: test.database, contracts: contractsByName(projects), keys, logger });
  const connection = await NativeConnection.connect({ address: inject('temporalAddress') });
  const bundle = await loadBundle(projects, join(folder, 'bundles'));
  const progress = new ProgressReporter(test.database, logger);
  const { queues } = createGreetingActivities({ logger });
  const onRuns = createRunActivities({ database: test.database, operations }).queues;
  const workers = await Promise.all(
    Object.entries(queues).map(([taskQueue, greetings]) =>
      Worker.create({
        connection, namespace, taskQueue, activities: { ...greetings, ...onRuns[taskQueue] }, dataConverter,
        workflowBundle: { code: bundle.code },
        interceptors: { activity: activityInterceptors },
        sinks: { ...traceSink(tracing), ...progressSink(progress) },
        ...options,
      }),
    ),
  );
  const running = workers.map((worker) => worker.run());
  return {
    config, test, keys, masterKeys, temporal, operations, namespace,
    async close() {
      for (const worker of workers) worker.shutdown();
      await Promise.all(running);
      await connection.close();
      await progress.close();
      await operations.close();
      await temporal.close();
      await tracing.shutdown();
      await test.drop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

let quiet = false;

/** The native runtime is one for the process; its log would drown the tests'. */
function quietRuntime(): void {
  if (!quiet) Runtime.install({ logger: sdkLogger(pino({ level: 'silent' })), shutdownSignals: [], telemetryOptions: { logging: { filter: { core: 'ERROR' }, forward: {} } } });
  quiet = true;
}
