import { z } from 'zod';
import { WEBHOOK_WAKE_SIGNAL } from '../names/messages.ts';
import { defineOperation } from './operation.ts';

export const webhookDeliveryInputSchema = z.object({
  endpointId: z.uuid(),
  /** Carried from one history to the next. */
  sent: z.int().min(0).optional(),
  failed: z.int().min(0).optional(),
});
export type WebhookDeliveryInput = z.infer<typeof webhookDeliveryInputSchema>;

export const webhookDeliveryResultSchema = z.object({ sent: z.int(), failed: z.int() });
export type WebhookDeliveryResult = z.infer<typeof webhookDeliveryResultSchema>;

/** Delivers what waits for one endpoint, over days where it must. */
export default defineOperation({
  name: 'webhook-delivery',
  summary: 'Delivers messages to an outgoing webhook',
  description: 'One run an endpoint works off its messages by the retry schedule of Standard Webhooks and ends when none waits. Started by HAL9.',
  input: webhookDeliveryInputSchema,
  result: webhookDeliveryResultSchema,
  signals: { [WEBHOOK_WAKE_SIGNAL]: { description: 'There is something new.', payload: z.object({}) } },
  id: ({ endpointId }) => endpointId,
  reusePolicy: 'allow-duplicate',
  conflictPolicy: 'use-existing',
  timeouts: { execution: '365 days' },
  effect: 'idempotent',
  versioning: 'auto-upgrade',
  exposure: 'internal',
});
