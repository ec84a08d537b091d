import { ActivityFailure, isCancellation, log, proxyActivities } from '@temporalio/workflow';
import { TASK_QUEUES } from '../../schemas/names/task-queues.ts';
import type { ExternalActivities } from '../../activities/external/index.ts';
import type { BatchLayer } from '../../activities/neurons/activity-contract.ts';

/** Calls of one activity: a retry after a crash repeats at most those under way. */
const CALLS_PER_ACTIVITY = 20;
/** Bounds the history; what still waits then goes to the fallback rules. */
const MAX_ROUNDS = 500;

const { callNeurons } = proxyActivities<ExternalActivities>({
  taskQueue: TASK_QUEUES.neuronsExternal,
  startToCloseTimeout: '45 minutes',
  heartbeatTimeout: '30 seconds',
  retry: { initialInterval: '1 second', maximumInterval: '30 seconds', maximumAttempts: 10 },
});

/** Gets an answer, or the reason for none, for every call of a layer. */
export async function answerCalls(layer: BatchLayer): Promise<void> {
  try {
    for (let round = 0; round < MAX_ROUNDS; round++) {
      const { waiting } = await callNeurons({ ...layer, limit: CALLS_PER_ACTIVITY });
      if (waiting === 0) return;
    }
  } catch (error) {
    if (isCancellation(error) || !(error instanceof ActivityFailure)) throw error;
    // The fallback rules of the neurons take over for the calls without an answer.
    log.warn('external calls failed', { layer: layer.layer });
  }
}
