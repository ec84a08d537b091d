import { activityInfo } from '@temporalio/activity';
import { TASK_QUEUES } from '../../schemas/names/task-queues.ts';
import type { ActivityDependencies, RegisteredActivities } from '../dependencies.ts';

export interface Escalation {
  readonly incidentId: string;
  readonly hostId: string;
  readonly cause: string;
  readonly reason: string;
  /** Connection to tell; undefined: the log and the run's result say it. */
  readonly connection: string | undefined;
}

export interface RemediationActivities {
  /** Tells people that a remedy did not help. Idempotent: the run is the message's id. */
  escalate(escalation: Escalation): Promise<void>;
}

/** Discovered: what a remediation does away from the machine. */
export default function register({ logger }: ActivityDependencies): RegisteredActivities {
  const activities: RemediationActivities = {
    async escalate(escalation) {
      const { incidentId, hostId, cause, reason } = escalation;
      logger.error({ incidentId, hostId, cause, reason, workflowId: activityInfo().workflowExecution?.workflowId }, 'remediation escalated to people');
    },
  };
  return { queues: { [TASK_QUEUES.core]: { ...activities } } };
}
