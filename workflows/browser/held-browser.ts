import { ActivityCancellationType, ActivityFailure, ApplicationFailure, TimeoutFailure, CancellationScope, condition, defineSignal, isCancellation, log, patched, proxyActivities, setHandler } from '@temporalio/workflow';
import type { BrowserActivities, BrowserAttendance } from '../../activities/browser/activity-contract.ts';
import { BROWSER_ATTEND_SIGNAL } from '../../schemas/names/messages.ts';
import { TASK_QUEUES } from '../../schemas/names/task-queues.ts';
import { awaitApproval } from '../approval/await-approval.ts';

/** Whoever may answer approvals may take over, one person is enough. */
const TAKE_OVER = { permission: 'approvals:write', required: 1, allowRequester: true };
/** Take-ups by another worker or browser before a session is given up. */
const MAX_TAKE_UPS = 50;

/** What the query `progress` tells of a session. */
export interface SessionProgress {
  step: string;
  steps: number;
  takeUps: number;
}

const { claimBrowser } = proxyActivities<BrowserActivities>({ taskQueue: TASK_QUEUES.browser, startToCloseTimeout: '1 minute', heartbeatTimeout: '12 seconds', retry: { maximumInterval: '10 seconds' } });

/** Waits for a slot of any worker. @returns the queue of that worker. */
export async function claim(seen: SessionProgress): Promise<string> {
  for (;;) {
    const { workerQueue } = await claimBrowser();
    if (workerQueue !== null) return workerQueue;
    seen.step = 'waiting for a browser';
  }
}

/**
 * Work on the worker that holds the session. Undefined when the worker or its browser is gone: the journal knows where another goes on.
 * @throws {ApplicationFailure} PageCrashed when that happened too often; what the work itself failed with.
 */
export async function onWorker<Outcome>(workerQueue: string, seen: SessionProgress, work: (activities: BrowserActivities) => Promise<Outcome>): Promise<Outcome | undefined> {
  const activities = proxyActivities<BrowserActivities>({
    taskQueue: workerQueue,
    scheduleToStartTimeout: '10 seconds',
    startToCloseTimeout: '1 hour',
    heartbeatTimeout: '12 seconds',
    // A take-up claims a slot first, so it is not the activity that is tried again.
    retry: { maximumAttempts: 1 },
    cancellationType: ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
  });
  try {
    return await work(activities);
  } catch (error) {
    if (!(error instanceof ActivityFailure) || isCancellation(error)) throw error;
    const { cause } = error;
    const gone = cause instanceof TimeoutFailure || (cause instanceof ApplicationFailure && (cause.type === 'BrowserGone' || cause.nonRetryable !== true));
    if (!gone) throw cause ?? error;
    log.warn('the session is taken up by another browser', { reason: cause instanceof ApplicationFailure ? (cause.type ?? 'unknown') : 'worker does not answer' });
    seen.takeUps += 1;
    if (seen.takeUps > MAX_TAKE_UPS) throw ApplicationFailure.nonRetryable(`the browser died ${String(seen.takeUps)} times`, 'PageCrashed');
    return undefined;
  }
}

/** A session that a person is asked for. */
export interface Handover {
  /** The operation's. */
  readonly input: { readonly connection?: string | undefined };
  readonly workerQueue: string;
  readonly seen: SessionProgress;
  readonly reason: string;
  readonly deadlineSeconds: number;
}

/**
 * Waits for a person, and keeps the browser for them meanwhile.
 * @returns the worker that still holds the session, if one does. @throws {ApplicationFailure} HandOverRefused.
 */
export async function handOver({ input, workerQueue, seen, reason, deadlineSeconds }: Handover): Promise<string | undefined> {
  seen.step = 'waiting for a person';
  return attendedBy({ input }, workerQueue, seen, async () => {
    const outcome = await awaitApproval({ summary: 'A browser session needs a person', reason, approval: { ...TAKE_OVER, deadlineSeconds }, connection: input.connection });
    if (outcome.state !== 'approved') throw ApplicationFailure.nonRetryable(outcome.reason, 'HandOverRefused');
  });
}

/** What a person looks at. */
export type Attended = Omit<BrowserAttendance, 'workerQueue'>;

/** Keeps the browser for a person as long as the work takes. @returns the worker that still holds the session, if one does. */
export async function attendedBy(attended: Attended, workerQueue: string, seen: SessionProgress, work: () => Promise<void>): Promise<string | undefined> {
  const held: { worker: string | undefined } = { worker: workerQueue };
  const attending = new CancellationScope();
  const attendance = attending.run(() => attend(attended, held, seen)).catch((error: unknown) => {
    if (!isCancellation(error)) throw error;
  });
  try {
    await work();
  } finally {
    attending.cancel();
    await attendance;
  }
  return held.worker;
}

/** Keeps a browser for the person as long as somebody looks, and takes one again when somebody wants to. */
async function attend(attended: Attended, held: { worker: string | undefined }, seen: SessionProgress): Promise<never> {
  const asked = { again: false };
  setHandler(defineSignal(BROWSER_ATTEND_SIGNAL), () => {
    asked.again = true;
  });
  for (;;) {
    const workerQueue = held.worker;
    if (workerQueue !== undefined) {
      asked.again = false;
      try {
        const gone = (await onWorker(workerQueue, seen, ({ attendBrowser }) => attendBrowser({ ...attended, workerQueue }).then(() => true))) === undefined;
        held.worker = undefined;
        if (!gone) await release(workerQueue);
        // Who was there when the worker died goes on looking: they need not ask again.
        else if (patched('browser-attended-elsewhere')) asked.again = true;
      } catch (error) {
        if (isCancellation(error)) throw error;
        // The page ended under the person; what comes after the hand-over says whether that matters.
        held.worker = undefined;
        log.warn('the page of a session that waits for a person ended', { reason: error instanceof ApplicationFailure ? (error.type ?? 'unknown') : 'unknown' });
      }
    }
    await condition(() => asked.again);
    held.worker = await claim({ ...seen });
  }
}

/** Lets the browser go. A worker that is gone has let go already. */
export async function release(workerQueue: string): Promise<void> {
  const { releaseBrowser } = proxyActivities<BrowserActivities>({ taskQueue: workerQueue, scheduleToStartTimeout: '5 seconds', startToCloseTimeout: '15 seconds', retry: { maximumAttempts: 1 } });
  await releaseBrowser().catch((error: unknown) => {
    if (isCancellation(error)) throw error;
    log.info('the worker of the session is gone');
  });
}
