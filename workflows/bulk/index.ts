import { CancellationScope, continueAsNew, defineQuery, isCancellation, proxyActivities, setHandler, sleep, workflowInfo } from '@temporalio/workflow';
import type { BulkActivities, BulkTally } from '../../activities/runs/activity-contract.ts';
import { RESERVED_QUERIES, type Progress } from '../../schemas/names/messages.ts';
import type { BulkInput, BulkResult } from '../../schemas/operations/bulk.ts';

const { actOnRuns, abortBulk } = proxyActivities<BulkActivities>({ startToCloseTimeout: '10 minutes', heartbeatTimeout: '1 minute', retry: { maximumInterval: '1 minute' } });

/** A second's worth of runs a second, until none waits. */
export async function bulk(input: BulkInput): Promise<BulkResult> {
  let tally: BulkTally | undefined;
  setHandler(defineQuery<Progress>(RESERVED_QUERIES.progress), () => progressOf(tally));
  try {
    for (;;) {
      const began = Date.now();
      tally = await actOnRuns(input);
      if (tally.waiting === 0) return { done: tally.done, failed: tally.failed, aborted: tally.aborted };
      if (workflowInfo().continueAsNewSuggested) await continueAsNew<typeof bulk>(input);
      await sleep(Math.max(1, began + 1000 - Date.now()));
    }
  } catch (error) {
    if (isCancellation(error)) await CancellationScope.nonCancellable(() => abortBulk(input.bulkId));
    throw error;
  }
}

function progressOf(tally: BulkTally | undefined): Progress {
  if (tally === undefined) return { step: 'beginning', done: 0, total: null, message: 'no run was acted on yet' };
  const done = tally.done + tally.failed + tally.aborted;
  return { step: tally.action, done, total: done + tally.waiting, message: `${String(tally.failed)} failed` };
}
