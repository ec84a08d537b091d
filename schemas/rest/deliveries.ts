import { z } from 'zod';
import { pageQuery } from './page.ts';

export const deliveryParams = z.object({ id: z.uuid() });

export const receiptQuery = pageQuery.extend({
  webhook: z.uuid().optional().describe('Of this inbound webhook alone.'),
  status: z.enum(['accepted', 'duplicate', 'refused', 'failed']).optional(),
});

export const receiptView = z
  .object({
    id: z.uuid(),
    webhook: z.uuid(),
    receivedAt: z.iso.datetime(),
    status: z.enum(['accepted', 'duplicate', 'refused', 'failed']).describe('`duplicate`: its signals were there already. `refused`: it proved nothing. `failed`: proved, but not taken in.'),
    reason: z.string().nullable(),
    deliveryId: z.string().nullable().describe('The provider\'s id.'),
    bodyBytes: z.int(),
    headers: z.record(z.string(), z.string()).describe('Without what proves the sender.'),
    signals: z.array(z.string()).describe('HAL9\'s ids of its signals.'),
    replayable: z.boolean().describe('Whether its body is kept.'),
    replays: z.int(),
    replayedAt: z.iso.datetime().nullable(),
  })
  .meta({ id: 'WebhookDelivery' });
