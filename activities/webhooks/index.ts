import { activityInfo, ApplicationFailure, cancellationSignal, heartbeat } from '@temporalio/activity';
import { Egress } from '../../platform/connections/egress.ts';
import { loadKeyRing } from '../../platform/keys/load.ts';
import { WebhookSender, type DeliveryRound } from '../../platform/webhooks/sender.ts';
import { TASK_QUEUES } from '../../schemas/names/task-queues.ts';
import { workflowOrganisation } from '../../schemas/names/workflow-id.ts';
import type { ActivityDependencies, RegisteredActivities } from '../dependencies.ts';

const HEARTBEAT_MS = 2_000;

export interface WebhookActivities {
  /** Attempts what is due for the endpoint, a bounded part of it, and says when there is more to do. Attempts are noted one by one. */
  deliverDue(input: { readonly endpointId: string }): Promise<DeliveryRound>;
}

export function createWebhookActivities(sender: Pick<WebhookSender, 'deliverDue'>): WebhookActivities {
  return {
    async deliverDue({ endpointId }) {
      const orgId = workflowOrganisation(activityInfo().workflowExecution?.workflowId ?? '');
      if (orgId === undefined) throw ApplicationFailure.nonRetryable('the workflow id names no organisation', 'InvalidInput');
      const beat = setInterval(() => heartbeat(), HEARTBEAT_MS);
      try {
        return await sender.deliverDue(orgId, endpointId, cancellationSignal());
      } finally {
        clearInterval(beat);
      }
    },
  };
}

/** Discovered: deliveries of outgoing webhooks. */
export default async function register({ config, database }: ActivityDependencies): Promise<RegisteredActivities> {
  const egress = new Egress({ allowPrivate: config.HAL9_ALLOW_PRIVATE_ADDRESSES });
  const sender = new WebhookSender({ database, egress, keys: await loadKeyRing(config) });
  return { queues: { [TASK_QUEUES.core]: { ...createWebhookActivities(sender) } }, shutdown: () => egress.close() };
}
