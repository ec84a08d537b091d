import { ApplicationFailure, CancellationScope, continueAsNew, isCancellation, proxyActivities, sleep, workflowInfo } from '@temporalio/workflow';
import type { ScheduleActivities } from '../../activities/schedules/index.ts';
import { TASK_QUEUES } from '../../schemas/names/task-queues.ts';
import type { ScheduledRunInput, ScheduledRunResult } from '../../schemas/operations/scheduled-run.ts';

const { fireSchedule, awaitScheduledRun, cancelScheduledRun, settleScheduledRun } = proxyActivities<ScheduleActivities>({
  taskQueue: TASK_QUEUES.core,
  startToCloseTimeout: '1 minute',
  retry: { initialInterval: '1 second', maximumInterval: '1 minute' },
});

/** How often a run that takes long is asked after, ms: from the first to the last. */
const ASK_AFTER_MS = [1_000, 2_000, 5_000, 15_000, 60_000] as const;

/** Fires, then stays until the run has ended: skipping, buffering and cancelling are about the run, not about its start. */
export async function scheduledRun(input: ScheduledRunInput): Promise<ScheduledRunResult> {
  const { scheduleId, kept } = input;
  const firing = workflowInfo().firstExecutionRunId;
  const started = input.open ?? (await fireSchedule({ scheduleId, firing, dueAt: dueAt(), firedAt: workflowInfo().startTime.toISOString() }));
  if (!('runId' in started)) {
    if (started.failed) throw ApplicationFailure.nonRetryable(started.reason ?? 'it failed', 'ScheduledRunFailed');
    return { outcome: started.skipped ? 'skipped' : 'done', runId: null, reason: started.reason };
  }
  const { runId } = started;
  let state: string;
  try {
    state = await ended(runId, () => continueAsNew<typeof scheduledRun>({ scheduleId, kept, open: { runId } }));
  } catch (error) {
    if (!isCancellation(error)) throw error;
    await CancellationScope.nonCancellable(async () => {
      await cancelScheduledRun({ runId });
      await settleScheduledRun({ scheduleId, firing, state: await ended(runId) });
    });
    throw error;
  }
  const { failed } = await settleScheduledRun({ scheduleId, firing, state });
  if (failed) throw ApplicationFailure.nonRetryable(`the run ended as ${state}`, 'ScheduledRunFailed');
  return { outcome: 'done', runId, reason: null };
}

async function ended(runId: string, anew?: () => Promise<never>): Promise<string> {
  for (let round = 0; ; round++) {
    const { status } = await awaitScheduledRun({ runId, waitMs: round === 0 ? 20_000 : 0 });
    if (status !== 'running') return status;
    if (anew !== undefined && workflowInfo().continueAsNewSuggested) await anew();
    await sleep(ASK_AFTER_MS[Math.min(round, ASK_AFTER_MS.length - 1)] ?? 60_000);
  }
}

/** When Temporal's schedule meant it to start. */
function dueAt(): string {
  const [at] = workflowInfo().searchAttributes['TemporalScheduledStartTime'] ?? [];
  return (at instanceof Date ? at : workflowInfo().startTime).toISOString();
}
