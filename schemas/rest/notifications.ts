import { z } from 'zod';
import { SEVERITIES } from '../neurons/definition.ts';
import { pageQuery } from './page.ts';

const state = z.enum(['queued', 'sending', 'delivered', 'failed']);

export const deliveryQuery = pageQuery.extend({
  state: state.optional(),
  connectionId: z.uuid().optional().describe('Only messages through this connection.'),
});

export const deliveryView = z
  .object({
    id: z.uuid().describe('The same in every attempt: the webhook-id, and part of the Message-ID of a mail.'),
    connectionId: z.uuid(),
    connectionName: z.string(),
    kind: z.string(),
    dedupKey: z.string(),
    action: z.enum(['trigger', 'resolve']),
    severity: z.enum(SEVERITIES),
    title: z.string(),
    state: state.describe('`queued`: the next attempt is to come; `failed`: for good.'),
    attempts: z.int(),
    lastFailure: z.string().nullable(),
    createdAt: z.iso.datetime(),
    deliveredAt: z.iso.datetime().nullable(),
  })
  .meta({ id: 'Delivery' });
