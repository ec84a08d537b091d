import { ActivityCancellationType, ActivityFailure, ApplicationFailure, CancellationScope, TimeoutFailure, allHandlersFinished, condition, isCancellation, log, proxyActivities, setHandler, defineQuery } from '@temporalio/workflow';
import type { BrowserActivities, BrowserClosing, BrowserRecordActivities, BrowserSegmentOutcome } from '../../activities/browser/activity-contract.ts';
import { RESERVED_QUERIES, type Progress } from '../../schemas/names/messages.ts';
import { TASK_QUEUES } from '../../schemas/names/task-queues.ts';
import type { BrowserInput, BrowserResult } from '../../schemas/operations/browser.ts';
import { awaitApproval } from '../approval/await-approval.ts';

/** Whoever may answer approvals may take over, one person is enough. */
const TAKE_OVER = { permission: 'approvals:write', required: 1, allowRequester: true };
/** Take-ups by another worker or browser before the session is given up. */
const MAX_TAKE_UPS = 50;

const { claimBrowser } = proxyActivities<BrowserActivities>({ taskQueue: TASK_QUEUES.browser, startToCloseTimeout: '1 minute', heartbeatTimeout: '12 seconds', retry: { maximumInterval: '10 seconds' } });
const { closeBrowserSession } = proxyActivities<BrowserRecordActivities>({ taskQueue: TASK_QUEUES.core, startToCloseTimeout: '1 minute' });

/** Stretch after stretch on the worker that holds the session; on another one when that dies. */
export async function browser(input: BrowserInput): Promise<BrowserResult> {
  const seen = { step: 'waiting for a browser', steps: 0, takeUps: 0 };
  setHandler(defineQuery<Progress>(RESERVED_QUERIES.progress), () => ({ step: seen.step, done: seen.steps, total: null, message: seen.takeUps === 0 ? `${String(seen.steps)} steps` : `${String(seen.steps)} steps, taken up ${String(seen.takeUps)} times` }));
  let worker: string | undefined;
  let state: BrowserClosing['state'] = 'failed';
  try {
    for (;;) {
      worker ??= await claim(seen);
      seen.step = 'working';
      const outcome: BrowserSegmentOutcome | undefined = await segment(worker, input);
      if (outcome === undefined) {
        // Its worker or browser is gone: the journal knows where to go on.
        worker = undefined;
        seen.takeUps += 1;
        if (seen.takeUps > MAX_TAKE_UPS) throw ApplicationFailure.nonRetryable(`the browser died ${String(seen.takeUps)} times`, 'PageCrashed');
        continue;
      }
      seen.steps = outcome.steps;
      if (outcome.kind === 'done') {
        state = 'done';
        return { result: outcome.result, steps: outcome.steps };
      }
      if (outcome.kind === 'hand-over') {
        seen.step = 'waiting for a person';
        await release(worker);
        worker = undefined;
        await handOver(input, outcome);
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

async function claim(seen: { step: string }): Promise<string> {
  for (;;) {
    const { workerQueue } = await claimBrowser();
    if (workerQueue !== null) return workerQueue;
    seen.step = 'waiting for a browser';
  }
}

/** Undefined when the worker or its browser is gone. */
async function segment(workerQueue: string, input: BrowserInput): Promise<BrowserSegmentOutcome | undefined> {
  const { runBrowserSegment } = proxyActivities<BrowserActivities>({
    taskQueue: workerQueue,
    scheduleToStartTimeout: '10 seconds',
    startToCloseTimeout: '1 hour',
    heartbeatTimeout: '12 seconds',
    // A take-up claims a slot first, so it is not the activity that is tried again.
    retry: { maximumAttempts: 1 },
    cancellationType: ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
  });
  try {
    return await runBrowserSegment({ input, workerQueue });
  } catch (error) {
    if (!(error instanceof ActivityFailure) || isCancellation(error)) throw error;
    const { cause } = error;
    const gone = cause instanceof TimeoutFailure || (cause instanceof ApplicationFailure && (cause.type === 'BrowserGone' || cause.nonRetryable !== true));
    if (!gone) throw cause ?? error;
    log.warn('the session is taken up by another browser', { reason: cause instanceof ApplicationFailure ? (cause.type ?? 'unknown') : 'worker does not answer' });
    return undefined;
  }
}

async function handOver({ connection }: BrowserInput, { reason, deadlineSeconds }: { reason: string; deadlineSeconds: number }): Promise<void> {
  const outcome = await awaitApproval({ summary: 'A browser session needs a person', reason, approval: { ...TAKE_OVER, deadlineSeconds }, connection });
  if (outcome.state !== 'approved') throw ApplicationFailure.nonRetryable(outcome.reason, 'HandOverRefused');
}

/** A worker that is gone has let go already. */
async function release(workerQueue: string): Promise<void> {
  const { releaseBrowser } = proxyActivities<BrowserActivities>({ taskQueue: workerQueue, scheduleToStartTimeout: '5 seconds', startToCloseTimeout: '15 seconds', retry: { maximumAttempts: 1 } });
  await releaseBrowser().catch((error: unknown) => {
    if (isCancellation(error)) throw error;
    log.info('the worker of the session is gone');
  });
}
