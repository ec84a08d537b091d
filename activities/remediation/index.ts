import { activityInfo, cancellationSignal } from '@temporalio/activity';
import { Connections } from '../../platform/connections/connections.ts';
import { Egress } from '../../platform/connections/egress.ts';
import { loadKeyRing } from '../../platform/keys/load.ts';
import { createNotify } from '../../platform/notify/notify.ts';
import { TASK_QUEUES } from '../../schemas/names/task-queues.ts';
import { activityOrganisation } from '../activity-run.ts';
import type { ActivityDependencies, RegisteredActivities } from '../dependencies.ts';
import { effectKey } from '../effect-key.ts';

export interface Escalation {
  readonly incidentId: string;
  readonly hostId: string;
  readonly cause: string;
  readonly reason: string;
  /** Connection to tell; undefined: the log and the run's result say it. */
  readonly connection: string | undefined;
}

export interface RemediationActivities {
  /**
   * Tells people that a remedy did not help. The effect key is the message's: a retry tells nobody twice, an operator's replay tells again.
   * @throws {HalError} ExternalCallFailed (retried), NotFound for an unknown connection, Conflict when the message failed for good.
   */
  escalate(escalation: Escalation): Promise<void>;
}

/** Discovered: what a remediation does away from the machine. */
export default async function register({ config, database, logger }: ActivityDependencies): Promise<RegisteredActivities> {
  const egress = new Egress({ allowPrivate: config.HAL9_ALLOW_PRIVATE_ADDRESSES });
  const notify = createNotify({ database, egress, connections: new Connections({ database, keys: await loadKeyRing(config), egress }) });
  const activities: RemediationActivities = {
    async escalate({ incidentId, hostId, cause, reason, connection }) {
      const workflowId = activityInfo().workflowExecution?.workflowId ?? '';
      logger.warn({ incidentId, hostId, cause, reason, workflowId }, 'remediation escalated to people');
      if (connection === undefined) return;
      const orgId = activityOrganisation();
      await notify.deliver(
        { orgId },
        { connection, title: `HAL9 could not mend ${cause} on ${hostId}`, message: `Incident ${incidentId}: ${reason}`, severity: 'critical', dedupKey: `escalation/${effectKey()}` },
        cancellationSignal(),
      );
    },
  };
  return {
    queues: { [TASK_QUEUES.core]: { ...activities } },
    async shutdown() {
      await egress.close();
    },
  };
}
