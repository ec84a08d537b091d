import { z } from 'zod';
import type { ReceiptRecord, ReceiptStore } from '../../database/webhook-receipts.ts';
import type { WebhookIntake } from '../../platform/webhooks/intake.ts';
import { HalError } from '../../schemas/errors.ts';
import { deliveryParams, receiptQuery, receiptView } from '../../schemas/rest/deliveries.ts';
import { pageOf } from '../../schemas/rest/page.ts';
import { decodeCursor, encodeCursor } from '../cursor.ts';
import { defineRoute, type AnyRoute } from '../route.ts';

const tag = 'Webhooks';
const position = z.object({ at: z.coerce.date(), id: z.uuid() });

/** The delivery log of inbound webhooks. */
export function createDeliveryRoutes({ receipts, intake }: { receipts: ReceiptStore; intake: WebhookIntake }): AnyRoute[] {
  return [
    defineRoute({
      method: 'get',
      path: '/v1/webhook-deliveries',
      id: 'listWebhookDeliveries',
      tag,
      summary: 'Lists what inbound webhooks were sent, newest first',
      description: 'Kept for 7 days.',
      permission: 'webhooks:read',
      query: receiptQuery,
      responses: { 200: { description: 'A page of deliveries.', schema: pageOf(receiptView) } },
      handler: async ({ caller, query }) => {
        const before = query.cursor === undefined ? undefined : decodeCursor(query.cursor, position);
        const filter = { ...(query.webhook === undefined ? {} : { webhookId: query.webhook }), ...(query.status === undefined ? {} : { status: query.status }) };
        const page = await receipts.list(caller.orgId, filter, query.limit + 1, before);
        const items = page.slice(0, query.limit);
        const last = page.length > query.limit ? items.at(-1) : undefined;
        return { status: 200, body: { items: items.map(view), nextCursor: last === undefined ? null : encodeCursor({ at: last.receivedAt.toISOString(), id: last.id }) } };
      },
    }),
    defineRoute({
      method: 'get',
      path: '/v1/webhook-deliveries/:id',
      id: 'getWebhookDelivery',
      tag,
      summary: 'Reads a delivery to an inbound webhook',
      permission: 'webhooks:read',
      params: deliveryParams,
      responses: { 200: { description: 'The delivery, without its body.', schema: receiptView } },
      handler: async ({ caller, params }) => {
        const receipt = await receipts.find(caller.orgId, params.id);
        if (receipt === undefined) throw new HalError('NotFound', 'there is no such delivery');
        return { status: 200, body: view(receipt) };
      },
    }),
    defineRoute({
      method: 'post',
      path: '/v1/webhook-deliveries/:id/replay',
      id: 'replayWebhookDelivery',
      tag,
      summary: 'Takes a delivery in once more',
      description: 'One that was refused or failed is proved again, with the secrets of today as of the time it came. One that was accepted goes in under new ids, so that what it sets off happens again.',
      permission: 'webhooks:write',
      audit: 'webhook-delivery.replay',
      params: deliveryParams,
      responses: { 200: { description: 'The delivery as it stands now.', schema: receiptView } },
      handler: async ({ caller, params }) => ({ status: 200, body: view(await intake.replay(caller, params.id)) }),
    }),
  ];
}

function view({ id, webhookId, receivedAt, status, reason, deliveryId, bodyBytes, headers, signalKeys, sealed, blobRef, replays, replayedAt }: ReceiptRecord) {
  return { id, webhook: webhookId, receivedAt, status, reason, deliveryId, bodyBytes, headers, signals: signalKeys, replayable: sealed !== null || blobRef !== null, replays, replayedAt };
}
