import { CancellationScope, allHandlersFinished, condition, defineQuery, isCancellation, proxyActivities, setHandler } from '@temporalio/workflow';
import type { BrowserClosing, BrowserRecordActivities, BrowserSegmentOutcome } from '../../activities/browser/activity-contract.ts';
import { RESERVED_QUERIES, type Progress } from '../../schemas/names/messages.ts';
import { TASK_QUEUES } from '../../schemas/names/task-queues.ts';
import type { BrowserInput, BrowserResult } from '../../schemas/operations/browser.ts';
import { claim, handOver, onWorker, release, type SessionProgress } from './held-browser.ts';
import { answerTakeOvers } from './take-over.ts';

const { closeBrowserSession } = proxyActivities<BrowserRecordActivities>({ taskQueue: TASK_QUEUES.core, startToCloseTimeout: '1 minute' });

/** Stretch after stretch on the worker that holds the session; on another one when that dies. */
export async function browser(input: BrowserInput): Promise<BrowserResult> {
  const seen: SessionProgress = { step: 'waiting for a browser', steps: 0, takeUps: 0 };
  setHandler(defineQuery<Progress>(RESERVED_QUERIES.progress), () => ({ step: seen.step, done: seen.steps, total: null, message: seen.takeUps === 0 ? `${String(seen.steps)} steps` : `${String(seen.steps)} steps, taken up ${String(seen.takeUps)} times` }));
  let worker: string | undefined;
  const people = answerTakeOvers(seen, () => worker);
  let state: BrowserClosing['state'] = 'failed';
  try {
    for (;;) {
      worker ??= await claim(seen);
      if (people.wanted()) {
        worker = await people.serve({ input }, worker);
        continue;
      }
      seen.step = 'working';
      const workerQueue = worker;
      const outcome: BrowserSegmentOutcome | undefined = await onWorker(workerQueue, seen, ({ runBrowserSegment }) => runBrowserSegment({ input, workerQueue }));
      if (outcome === undefined) {
        worker = undefined;
        continue;
      }
      seen.steps = outcome.steps;
      if (outcome.kind === 'done') {
        state = 'done';
        return { result: outcome.result, steps: outcome.steps };
      }
      if (outcome.kind === 'hand-over') {
        worker = await handOver({ input, workerQueue, seen, reason: outcome.reason, deadlineSeconds: outcome.deadlineSeconds });
      }
    }
  } catch (error) {
    if (isCancellation(error)) state = 'cancelled';
    throw error;
  } finally {
    seen.step = 'ending';
    await CancellationScope.nonCancellable(async () => {
      if (worker !== undefined) await release(worker);
      await closeBrowserSession({ state });
      await condition(allHandlersFinished);
    });
  }
}
