import { Egress } from '../../platform/connections/egress.ts';
import { loadKeyRing } from '../../platform/keys/load.ts';
import { WebhookSender, type DeliveryRound } from '../../platform/webhooks/sender.ts';
import { TASK_QUEUES } from '../../schemas/names/task-queues.ts';
import { activityOrganisation } from '../activity-run.ts';
import { beating } from '../beating.ts';
import type { ActivityDependencies, RegisteredActivities } from '../dependencies.ts';


export interface WebhookActivities {
  /** Attempts what is due for the endpoint, a bounded part of it, and says when there is more to do. Attempts are noted one by one. */
  deliverDue(input: { readonly endpointId: string }): Promise<DeliveryRound>;
}

export function createWebhookActivities(sender: Pick<WebhookSender, 'deliverDue'>): WebhookActivities {
  return {
    async deliverDue({ endpointId }) {
      const orgId = activityOrganisation();
      return beating((signal) => sender.deliverDue(orgId, endpointId, signal));
    },
  };
}

/** Discovered: deliveries of outgoing webhooks. */
export default async function register({ config, database }: ActivityDependencies): Promise<RegisteredActivities> {
  const egress = new Egress({ allowPrivate: config.HAL9_ALLOW_PRIVATE_ADDRESSES });
  const sender = new WebhookSender({ database, egress, keys: await loadKeyRing(config) });
  return { queues: { [TASK_QUEUES.core]: { ...createWebhookActivities(sender) } }, shutdown: () => egress.close() };
}
