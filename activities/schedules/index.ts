import { systemCaller } from '../../platform/identity/caller.ts';
import type { Operations } from '../../platform/operations/contract.ts';
import { ScheduleFirer, type FiringStart } from '../../platform/schedules/firing.ts';
import { LaneChooser } from '../../platform/signals/lane.ts';
import { HalError } from '../../schemas/errors.ts';
import { TASK_QUEUES } from '../../schemas/names/task-queues.ts';
import { activityOrganisation } from '../activity-run.ts';
import type { ActivityDependencies, RegisteredActivities } from '../dependencies.ts';

export interface ScheduleActivities {
  /** Starts what is due, once for a firing. @throws {HalError} what may pass by itself (retried). */
  fireSchedule(input: { readonly scheduleId: string; readonly firing: string; /** RFC 3339. */ readonly dueAt: string; /** RFC 3339; missing from firings of builds before it was there. */ readonly firedAt?: string }): Promise<FiringStart>;
  /** How the run stands, after waiting up to `waitMs` for its end. */
  awaitScheduledRun(input: { readonly runId: string; readonly waitMs: number }): Promise<{ readonly status: string }>;
  /** Asks the run to end; one that has ended already is fine. */
  cancelScheduledRun(input: { readonly runId: string }): Promise<void>;
  /** Notes how the run ended. */
  settleScheduledRun(input: { readonly scheduleId: string; readonly firing: string; readonly state: string }): Promise<{ readonly failed: boolean }>;
}

export function createScheduleActivities(firer: ScheduleFirer, operations: Pick<Operations, 'result' | 'cancel'>): ScheduleActivities {
  return {
    fireSchedule: ({ scheduleId, firing, dueAt, firedAt }) => firer.fire(activityOrganisation(), { scheduleId, id: firing, dueAt: new Date(dueAt), firedAt: firedAt === undefined ? new Date() : new Date(firedAt) }),
    async awaitScheduledRun({ runId, waitMs }) {
      const { status } = await operations.result(systemCaller(activityOrganisation(), 'scheduler'), runId, waitMs);
      return { status };
    },
    async cancelScheduledRun({ runId }) {
      try {
        await operations.cancel(systemCaller(activityOrganisation(), 'scheduler'), runId);
      } catch (error) {
        if (!(error instanceof HalError) || error.type !== 'RunClosed') throw error;
      }
    },
    settleScheduledRun: ({ scheduleId, firing, state }) => firer.ended(activityOrganisation(), { scheduleId, id: firing }, state),
  };
}

/** Discovered: what schedules are due to do. */
export default function register({ config, database, operations, logger }: ActivityDependencies): RegisteredActivities {
  const firer = new ScheduleFirer({ database, operations, lanes: new LaneChooser(config.HAL9_LANES), logger });
  return { queues: { [TASK_QUEUES.core]: { ...createScheduleActivities(firer, operations) } } };
}
