import { setTimeout as delay } from 'node:timers/promises';
import { Worker, type NativeConnection, type WorkerOptions } from '@temporalio/worker';
import { createDataConverter } from '../../platform/codec/data-converter.ts';
import { SubjectKeys } from '../../platform/keys/subject-keys.ts';
import { activityInterceptors } from '../interceptors/activity.ts';
import { progressSink } from '../interceptors/progress-sink.ts';
import { traceSink } from '../interceptors/trace-sink.ts';
import { DRAIN_MS, type BackgroundProcess } from '../process.ts';
import type { WorkflowBundle } from '../bundle.ts';
import type { ProgressReporter } from '../../platform/operations/progress-reporter.ts';
import type { ServedQueue } from './queues.ts';
import { tuningOf } from './queue-tuning.ts';

const RESTART_MS = 1_000;

interface WorkerContext extends BackgroundProcess {
  /** Of processes that serve workflows. */
  readonly progress?: ProgressReporter;
}

/**
 * Serves one queue until the process is asked to end. A worker that fails, for instance because Temporal was replaced by an
 * empty server, is made anew.
 * @param onPolling called when the worker first polls.
 */
export async function serveQueue(context: WorkerContext, connection: NativeConnection, bundle: WorkflowBundle, served: ServedQueue, onPolling: () => void): Promise<void> {
  const { shutdown, logger } = context;
  while (!shutdown.aborted) {
    try {
      const worker = await Worker.create(optionsOf(context, connection, bundle, served));
      const end = (): void => {
        if (worker.getState() === 'RUNNING') worker.shutdown();
      };
      const running = worker.run();
      shutdown.addEventListener('abort', end, { once: true });
      onPolling();
      await running.finally(() => shutdown.removeEventListener('abort', end));
    } catch (error) {
      if (shutdown.aborted) return;
      logger.warn({ queue: served.queue, reason: error instanceof Error ? error.message : String(error) }, 'worker ended, starting it again');
      await delay(RESTART_MS, undefined, { signal: shutdown }).catch(() => undefined);
    }
  }
}

function optionsOf({ config, database, keys, name, tracing, progress }: WorkerContext, connection: NativeConnection, bundle: WorkflowBundle, served: ServedQueue): WorkerOptions {
  return {
    connection,
    namespace: config.TEMPORAL_NAMESPACE,
    taskQueue: served.queue,
    identity: `${name}@${process.pid}`,
    dataConverter: createDataConverter(keys, new SubjectKeys({ database, keys })),
    ...(served.workflows ? { workflowBundle: { code: bundle.code } } : {}),
    activities: served.activities,
    interceptors: { activity: activityInterceptors },
    sinks: { ...traceSink(tracing), ...(progress === undefined ? {} : progressSink(progress)) },
    ...tuningOf(served.queue),
    shutdownGraceTime: DRAIN_MS,
    shutdownForceTime: DRAIN_MS + 1000,
  };
}

/** The work, done the first time it is asked for. */
export function once(work: () => void): () => void {
  let done = false;
  return () => {
    if (!done) work();
    done = true;
  };
}
