import { TimeoutType } from '@temporalio/common';
import { ActivityCancellationType, ActivityFailure, ApplicationFailure, CancellationScope, TimeoutFailure, defineQuery, isCancellation, log, proxyActivities, setHandler } from '@temporalio/workflow';
import type { RecoveryActivities } from '../../activities/recovery/activity-contract.ts';
import { RESERVED_QUERIES, type Progress } from '../../schemas/names/messages.ts';
import { TASK_QUEUES } from '../../schemas/names/task-queues.ts';
import type { DrillInput, DrillResult } from '../../schemas/operations/drill.ts';

/** Machines that may die under a drill before it is given up. */
const MOST_ATTEMPTS = 3;
const STEPS = ['choosing a backup', 'verifying its checksums', 'laying it out', 'replaying WAL', 'repeating erasures', 'checking the database'] as const;
const WAITING = 'waiting for a recovery worker';

const { claimRecovery } = proxyActivities<RecoveryActivities>({
  taskQueue: TASK_QUEUES.recovery,
  scheduleToStartTimeout: '10 minutes',
  startToCloseTimeout: '1 minute',
  retry: { maximumInterval: '10 seconds' },
  // A machine that is being claimed when the run is cancelled is released too.
  cancellationType: ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
});

/** Restores on one machine, and begins anew on another one when that is gone. Nothing of it stays. */
export async function drill(input: DrillInput): Promise<DrillResult> {
  const seen: Progress = { step: WAITING, done: 0, total: STEPS.length, message: '' };
  setHandler(defineQuery<Progress>(RESERVED_QUERIES.progress), () => seen);
  for (let attempt = 1; ; attempt += 1) {
    const queue = await claim();
    try {
      return await restoreAndCheck(input, queue, attempt, seen);
    } catch (error) {
      if (!isMachineGone(error) || attempt === MOST_ATTEMPTS) throw error;
      log.warn('the machine of the drill is gone, it begins anew');
      [seen.step, seen.done, seen.message] = [WAITING, 0, `restore ${String(attempt + 1)}`];
    } finally {
      await CancellationScope.nonCancellable(() => release(queue));
    }
  }
}

async function claim(): Promise<string> {
  try {
    return (await claimRecovery()).queue;
  } catch (error) {
    if (error instanceof ActivityFailure && error.cause instanceof TimeoutFailure && error.cause.timeoutType === TimeoutType.SCHEDULE_TO_START) {
      throw ApplicationFailure.nonRetryable('no recovery worker took the drill: npm run worker -- recovery', 'DependencyUnavailable');
    }
    throw error;
  }
}

async function restoreAndCheck(input: DrillInput, queue: string, attempt: number, seen: Progress): Promise<DrillResult> {
  const machine = proxyActivities<RecoveryActivities>({
    taskQueue: queue,
    // A worker that was started again goes on with what lies there.
    scheduleToStartTimeout: '2 minutes',
    startToCloseTimeout: '12 hours',
    heartbeatTimeout: '15 seconds',
    retry: { maximumAttempts: 5, maximumInterval: '10 seconds' },
    cancellationType: ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
  });
  const next = (step: (typeof STEPS)[number]): void => {
    [seen.step, seen.done] = [step, STEPS.indexOf(step)];
  };
  const began = Date.now();
  const { at } = input;
  next('choosing a backup');
  const backup = await machine.chooseBackup(input);
  seen.message = `base backup ${backup.name}`;
  next('verifying its checksums');
  await machine.verifyBackup(backup.name);
  next('laying it out');
  await machine.layOutBackup({ name: backup.name, at });
  next('replaying WAL');
  const { restoredThrough } = await machine.recoverDatabase({ at });
  next('repeating erasures');
  const erased = await machine.repeatErasures();
  next('checking the database');
  const through = Date.parse(restoredThrough ?? backup.takenAt);
  const until = new Date(through - (input.toleranceSeconds ?? 60) * 1000).toISOString();
  const { checks: found, organisations, lastAct } = await machine.checkDatabase({ at, until });
  const checks = [...erased.checks, ...found];
  seen.done = STEPS.length;
  return {
    passed: checks.every(({ passed }) => passed),
    backup,
    restoredThrough,
    rpoSeconds: restoredThrough === null ? null : Math.round(Math.max(0, (at === undefined ? began : Date.parse(at)) - through) / 1000),
    rtoSeconds: Math.round((Date.now() - began) / 1000),
    lastAct,
    organisations,
    erasures: { replayed: erased.replayed, keysDestroyed: erased.keysDestroyed },
    checks,
    attempts: attempt,
  };
}

/** Nobody serves its queue, or what it had restored is not there any more. */
function isMachineGone(error: unknown): boolean {
  if (!(error instanceof ActivityFailure) || isCancellation(error)) return false;
  const { cause } = error;
  return cause instanceof TimeoutFailure || (cause instanceof ApplicationFailure && cause.type === 'ScratchLost');
}

/** A machine that is gone has nothing to remove, or does so when it comes back. */
async function release(queue: string): Promise<void> {
  const { releaseRecovery } = proxyActivities<RecoveryActivities>({ taskQueue: queue, scheduleToStartTimeout: '30 seconds', startToCloseTimeout: '10 minutes', heartbeatTimeout: '15 seconds', retry: { maximumAttempts: 3 } });
  await releaseRecovery().catch(() => log.warn('the machine of the drill does not answer; its worker removes the scratch database by itself'));
}
