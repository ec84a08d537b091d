import { allHandlersFinished, condition, continueAsNew, defineQuery, defineSignal, proxyActivities, setHandler, workflowInfo } from '@temporalio/workflow';
import type { WebhookActivities } from '../../activities/webhooks/index.ts';
import { RESERVED_QUERIES, WEBHOOK_WAKE_SIGNAL, type Progress } from '../../schemas/names/messages.ts';
import { TASK_QUEUES } from '../../schemas/names/task-queues.ts';
import type { WebhookDeliveryInput, WebhookDeliveryResult } from '../../schemas/operations/webhook-delivery.ts';

const { deliverDue } = proxyActivities<WebhookActivities>({
  taskQueue: TASK_QUEUES.core,
  startToCloseTimeout: '5 minutes',
  heartbeatTimeout: '30 seconds',
  retry: { initialInterval: '1 second', maximumInterval: '5 minutes' },
});

/** Delivers what waits for an endpoint until nothing does. */
export async function webhookDelivery({ endpointId, sent = 0, failed = 0 }: WebhookDeliveryInput): Promise<WebhookDeliveryResult> {
  const tally = { sent, failed, waiting: 0 };
  let woken = false;
  setHandler(defineSignal(WEBHOOK_WAKE_SIGNAL), () => {
    woken = true;
  });
  setHandler(defineQuery<Progress>(RESERVED_QUERIES.progress), () => ({ step: 'delivering', done: tally.sent + tally.failed, total: tally.sent + tally.failed + tally.waiting, message: `${String(tally.sent)} delivered, ${String(tally.waiting)} waiting` }));
  for (;;) {
    woken = false;
    const round = await deliverDue({ endpointId });
    tally.sent += round.delivered;
    tally.failed += round.failed;
    tally.waiting = round.waiting;
    if (workflowInfo().continueAsNewSuggested) await continueAsNew<typeof webhookDelivery>({ endpointId, sent: tally.sent, failed: tally.failed });
    if (round.nextInMs === 0) continue;
    if (round.nextInMs !== null) await condition(() => woken, round.nextInMs);
    else if (!woken) break;
  }
  await condition(allHandlersFinished);
  return { sent: tally.sent, failed: tally.failed };
}
