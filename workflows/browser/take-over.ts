import { ApplicationFailure, condition, defineUpdate, isCancellation, log, proxyActivities, setHandler } from '@temporalio/workflow';
import type { BrowserActivities } from '../../activities/browser/activity-contract.ts';
import { BROWSER_HAND_BACK_UPDATE, BROWSER_TAKE_OVER_UPDATE } from '../../schemas/names/messages.ts';
import type { TakeOver } from '../../schemas/operations/browser.ts';
import { attendedBy, type Attended, type SessionProgress } from './held-browser.ts';

/** People who take a session over of their own accord. */
export interface TakeOvers {
  /** Whether somebody wants the session, and does not have it yet. */
  wanted(): boolean;
  /** Lets them have it until they give it back. @returns the worker that still holds it, if one does. @throws {ApplicationFailure} HandOverRefused when they do not in time. */
  serve(attended: Attended, workerQueue: string): Promise<string | undefined>;
}

/**
 * Answers the messages by which people take a session over and give it back; to be called before the first await.
 * @param holder the queue of the worker that works on the session now, if one does.
 */
export function answerTakeOvers(seen: SessionProgress, holder: () => string | undefined): TakeOvers {
  const now: { taken: TakeOver | undefined; returned: boolean } = { taken: undefined, returned: false };
  setHandler(defineUpdate<object, [TakeOver]>(BROWSER_TAKE_OVER_UPDATE), async (asked) => {
    now.taken = asked;
    now.returned = false;
    const workerQueue = holder();
    if (workerQueue !== undefined) await interrupt(workerQueue);
    return {};
  }, {
    validator(_asked: TakeOver) {
      if (now.taken !== undefined) throw new Error('the session is taken over already: open its live page');
      if (seen.step === 'waiting for a person') throw new Error('the session waits for a person: open its live page');
      if (seen.step === 'ending') throw new Error('the session is ending');
    },
  });
  setHandler(defineUpdate<object, [unknown]>(BROWSER_HAND_BACK_UPDATE), async () => {
    now.returned = true;
    await condition(() => now.taken === undefined || seen.step === 'ending');
    return {};
  }, {
    validator(_nothing: unknown) {
      if (now.taken === undefined) throw new Error('nobody has taken the session over');
    },
  });
  return {
    wanted: () => now.taken !== undefined,
    async serve(attended, workerQueue) {
      const { taken } = now;
      if (taken === undefined) return workerQueue;
      seen.step = 'taken over by a person';
      try {
        return await attendedBy(attended, workerQueue, seen, async () => {
          const returned = await condition(() => now.returned, taken.deadlineSeconds * 1000);
          if (!returned && taken.late === 'fail') throw ApplicationFailure.nonRetryable(`the session was taken over and not given back within ${String(taken.deadlineSeconds)} seconds`, 'HandOverRefused');
        });
      } finally {
        now.taken = undefined;
      }
    },
  };
}

/** Has the worker stop before the next step rather than at the end of its stretch. One that is gone has stopped. */
async function interrupt(workerQueue: string): Promise<void> {
  const { interruptBrowser } = proxyActivities<BrowserActivities>({ taskQueue: workerQueue, scheduleToStartTimeout: '10 seconds', startToCloseTimeout: '10 seconds', retry: { maximumAttempts: 1 } });
  await interruptBrowser().catch((error: unknown) => {
    if (isCancellation(error)) throw error;
    log.info('the worker of the session is gone');
  });
}
