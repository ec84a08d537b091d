import { join } from 'node:path';
import pino from 'pino';
import { NativeConnection, Runtime, Worker } from '@temporalio/worker';
import { inject } from 'vitest';
import { createDataConverter } from '../../platform/codec/data-converter.ts';
import { loadConfig } from '../../platform/config/config.ts';
import { loadKeyRing } from '../../platform/keys/load.ts';
import { discoverProjects } from '../../platform/operations/discovery.ts';
import { loadBundle } from '../../workers/bundle.ts';
import { activityInterceptors } from '../../workers/interceptors/activity.ts';
import { sdkLogger } from '../../platform/temporal/sdk-logger.ts';
import { startTestApi, type TestApi } from '../api/running-api.ts';
import { createTestNamespace } from '../environment/temporal.ts';
import createGreetingActivities from '../fixtures/operations-project/activities/greetings/index.ts';

const PROJECT = join(import.meta.dirname, '../fixtures/operations-project');
const MASTER_KEYS = `test:${Buffer.alloc(32, 7).toString('base64')}`;

export interface ServedApi {
  readonly url: string;
  /** Of a key that may do everything in one organisation. */
  readonly credential: string;
  readonly api: TestApi;
  stop(): Promise<void>;
}

/** The whole API, and a worker for the fixture's operation `greet`. */
export async function serveApi(settings: Readonly<Record<string, string>> = {}): Promise<ServedApi> {
  const namespace = await createTestNamespace();
  const api = await startTestApi({ TEMPORAL_NAMESPACE: namespace, HAL9_OPERATIONS: PROJECT, HAL9_MASTER_KEYS: MASTER_KEYS, ...settings });
  const credential = (await api.key(await api.database.organisation())).text;
  const config = loadConfig({ DATABASE_URL: api.database.url, TEMPORAL_ADDRESS: inject('temporalAddress'), HAL9_MASTER_KEYS: MASTER_KEYS });
  const dataConverter = createDataConverter(await loadKeyRing(config));
  const logger = pino({ level: 'silent' });
  quiet ??= quietRuntime();
  const bundle = await loadBundle(await discoverProjects([PROJECT]));
  const connection = await NativeConnection.connect({ address: inject('temporalAddress') });
  const { queues } = createGreetingActivities({ logger });
  const workers = await Promise.all(Object.entries(queues).map(([taskQueue, activities]) => Worker.create({ connection, namespace, taskQueue, activities, dataConverter, workflowBundle: { code: bundle.code }, interceptors: { activity: activityInterceptors } })));
  const running = workers.map((worker) => worker.run());
  return {
    url: api.url, credential, api,
    async stop() {
      for (const worker of workers) worker.shutdown();
      await Promise.all(running);
      await connection.close();
      await api.stop();
    },
  };
}

let quiet: true | undefined;

/** The native runtime is one for the process; its log would drown the tests'. */
function quietRuntime(): true {
  Runtime.install({ logger: sdkLogger(pino({ level: 'silent' })), shutdownSignals: [], telemetryOptions: { logging: { filter: { core: 'ERROR' }, forward: {} } } });
  return true;
}
