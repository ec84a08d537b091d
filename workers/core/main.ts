import { pathToFileURL } from 'node:url';
import { Gauge } from 'prom-client';
import type { ActivityDependencies, ActivityFactory, RegisteredActivities } from '../../activities/dependencies.ts';
import { UsageStore } from '../../database/usage.ts';
import { createDataConverter } from '../../platform/codec/data-converter.ts';
import { SubjectKeys } from '../../platform/keys/subject-keys.ts';
import { ConfigError } from '../../platform/config/config.ts';
import { DiscoveryError, HAL9_ROOT, type Project } from '../../platform/operations/discovery.ts';
import { ProgressReporter } from '../../platform/operations/progress-reporter.ts';
import { loadBundle } from '../bundle.ts';
import type { WorkflowBundle } from '../bundle.ts';
import { runProcess, type BackgroundProcess } from '../process.ts';
import { ActivityMeter } from './metered-activities.ts';
import { checkOpenRuns } from './open-runs.ts';
import { servedQueues } from './queues.ts';
import { once, serveQueue } from './serve.ts';

/** The worker of HAL9's own queues and of people's operations. HAL9_QUEUES narrows it, to scale a layer alone. */
await runProcess('core', { temporalWorker: true }, async (context) => {
  const { config, database, operations, logger, projects } = context;
  const meter = new ActivityMeter({ usage: new UsageStore(database), logger });
  const [bundle, registered] = await Promise.all([loadBundle(projects), createActivities(projects, { config, database, operations, logger }, meter)]);
  // Nobody watches for the end of a run that HAL9 starts for itself, and cascades end all the time: each look lists the latest runs in Temporal.
  const progress = new ProgressReporter(database, logger, (operation) => operations.contracts.get(operation)?.exposure !== 'internal');
  try {
    const queues = servedQueues(operations.contracts.values(), registered, config.HAL9_QUEUES);
    const connection = await context.connectWorker();
    await judgeOpenRuns(context, bundle, queues.map(({ queue }) => queue));
    let waiting = queues.length;
    const onPolling = (): void => {
      waiting -= 1;
      if (waiting === 0) context.ready({ queues: queues.map(({ queue }) => queue), build: bundle.hash });
    };
    await Promise.all(queues.map((served) => serveQueue({ ...context, progress }, connection, bundle, served, once(onPolling))));
  } finally {
    await progress.close();
    for (const activities of registered) await activities.shutdown?.();
    await meter.close();
  }
});

/** A new build is tried on the open runs before it serves them: their failures would otherwise only show one by one. */
async function judgeOpenRuns({ client, config, database, keys, logger, registry }: BackgroundProcess, bundle: WorkflowBundle, queues: readonly string[]): Promise<void> {
  const gauge = new Gauge({ name: 'hal9_incompatible_runs', help: 'Open runs that could not go on with this build when it started.', registers: [registry] });
  const incompatible = await checkOpenRuns({ client, dataConverter: createDataConverter(keys, new SubjectKeys({ database, keys })), bundle, queues, dataFolder: config.HAL9_DATA }).catch((error: unknown) => {
    logger.warn({ err: error }, 'open runs not checked against this build');
    return [];
  });
  gauge.set(incompatible.length);
  for (const { workflowId } of incompatible) logger.error({ workflowId }, 'this run cannot go on with this build: its workflow changed without patched()');
  if (incompatible.length > 0 && config.HAL9_INCOMPATIBLE_RUNS === 'refuse') throw new ConfigError('open runs cannot go on with this build, see above; start the previous one, or set HAL9_INCOMPATIBLE_RUNS=warn');
}

/** HAL9's own work is not counted: its operations have meters of their own. */
async function createActivities(projects: readonly Project[], dependencies: ActivityDependencies, meter: ActivityMeter): Promise<RegisteredActivities[]> {
  const load = async (project: Project, file: string): Promise<RegisteredActivities> => {
    const registered = await (await loadFactory(file))(dependencies);
    return project.root === HAL9_ROOT ? registered : meter.metered(registered);
  };
  return Promise.all(projects.flatMap((project) => project.activities.map((file) => load(project, file))));
}

async function loadFactory(file: string): Promise<ActivityFactory> {
  const loaded: unknown = await import(pathToFileURL(file).href);
  if (typeof loaded === 'object' && loaded !== null && 'default' in loaded && isFactory(loaded.default)) return loaded.default;
  throw new DiscoveryError(`${file} has no default export that creates activities`);
}

function isFactory(value: unknown): value is ActivityFactory {
  return typeof value === 'function';
}
