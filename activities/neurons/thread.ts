import { parentPort, workerData } from 'node:worker_threads';
import { Database } from '../../database/database.ts';
import { HalError } from '../../schemas/errors.ts';
import { BatchJobs } from './batch-jobs.ts';
import { NeuronCache } from './compiled-neurons.ts';
import { EvaluationLog } from './evaluation-spans.ts';
import type { ThreadAnswer, ThreadRequest, ThreadSettings } from './thread-messages.ts';

/** One evaluation thread: its own connections as hal9_app, its own compiled neurons. The main thread stays free for heartbeats. */
const settings: ThreadSettings = workerData;
const port = parentPort;
if (port === null) throw new Error('runs as a worker thread only');

const jobs = new BatchJobs(new Database(settings.database), new NeuronCache());

port.on('message', (request: ThreadRequest) => {
  const log = request.traced ? new EvaluationLog() : undefined;
  jobs.run(request.job, log).then(
    (answer) => port.postMessage({ id: request.id, answer, spans: log?.spans ?? [] } satisfies ThreadAnswer),
    (error: unknown) => port.postMessage({ id: request.id, failure: describe(error) } satisfies ThreadAnswer),
  );
});

function describe(error: unknown): { message: string; type: HalError['type'] | undefined; code: string | undefined } {
  const message = error instanceof Error ? error.message : String(error);
  const code = error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;
  return { message, type: error instanceof HalError ? error.type : undefined, code };
}
