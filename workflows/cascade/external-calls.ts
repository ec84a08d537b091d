import { ActivityFailure, isCancellation, log, proxyActivities } from '@temporalio/workflow';
import { TASK_QUEUES } from '../../schemas/names/task-queues.ts';
import type { BatchLayer } from '../../activities/neurons/activity-contract.ts';

/** Served by the queue of external calls. */
export interface ExternalCallActivities {
  /**
   * Makes calls of this layer that have no answer yet, at most `limit` of them, and stores what each came to. A call that was
   * made before is not made again.
   * @returns how many of the layer's calls still wait.
   */
  callNeurons(input: BatchLayer & { readonly limit: number }): Promise<{ readonly waiting: number }>;
}

/** Calls of one activity: a retry after a crash repeats at most those under way. */
const CALLS_PER_ACTIVITY = 20;
/** Bounds the history; what still waits then goes to the fallback rules. */
const MAX_ROUNDS = 500;

const { callNeurons } = proxyActivities<ExternalCallActivities>({
  taskQueue: TASK_QUEUES.neuronsExternal,
  startToCloseTimeout: '30 minutes',
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
