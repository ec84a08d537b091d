import { pathToFileURL } from 'node:url';
import type { ActivityDependencies, ActivityFactory, RegisteredActivities } from '../../activities/dependencies.ts';
import { DiscoveryError, type Project } from '../../platform/operations/discovery.ts';
import { loadBundle } from '../bundle.ts';
import { runProcess } from '../process.ts';
import { servedQueues } from './queues.ts';
import { serveQueue } from './serve.ts';

/** The worker of HAL9's own queues and of people's operations. HAL9_QUEUES narrows it, to scale a layer alone. */
await runProcess('core', { temporalWorker: true }, async (context) => {
  const { config, database, operations, logger, projects } = context;
  const [bundle, registered] = await Promise.all([loadBundle(projects), createActivities(projects, { config, database, operations, logger })]);
  try {
    const queues = servedQueues(operations.contracts.values(), registered, config.HAL9_QUEUES);
    const connection = await context.connectWorker();
    let waiting = queues.length;
    const onPolling = (): void => {
      waiting -= 1;
      if (waiting === 0) context.ready({ queues: queues.map(({ queue }) => queue), build: bundle.hash });
    };
    await Promise.all(queues.map((served) => serveQueue(context, connection, bundle, served, once(onPolling))));
  } finally {
    for (const { shutdown } of registered) await shutdown?.();
  }
});

async function createActivities(projects: readonly Project[], dependencies: ActivityDependencies): Promise<RegisteredActivities[]> {
  return Promise.all(projects.flatMap((project) => project.activities).map(async (file) => (await loadFactory(file))(dependencies)));
}

async function loadFactory(file: string): Promise<ActivityFactory> {
  const loaded: unknown = await import(pathToFileURL(file).href);
  if (typeof loaded === 'object' && loaded !== null && 'default' in loaded && isFactory(loaded.default)) return loaded.default;
  throw new DiscoveryError(`${file} has no default export that creates activities`);
}

function isFactory(value: unknown): value is ActivityFactory {
  return typeof value === 'function';
}

function once(work: () => void): () => void {
  let done = false;
  return () => {
    if (!done) work();
    done = true;
  };
}
