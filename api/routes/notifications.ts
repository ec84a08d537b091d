import { z } from 'zod';
import type { DeliveryRecord, NotificationStore } from '../../database/notifications.ts';
import { deliveryQuery, deliveryView } from '../../schemas/rest/notifications.ts';
import { pageOf, pageQuery } from '../../schemas/rest/page.ts';
import { decodeCursor, encodeCursor } from '../cursor.ts';
import { defineRoute, type AnyRoute, type RouteAnswer } from '../route.ts';

const tag = 'Notifications';
const position = z.object({ at: z.coerce.date(), id: z.uuid() });

/** What was sent to people and systems, and whether it arrived. */
export function createNotificationRoutes({ notifications }: { notifications: NotificationStore }): AnyRoute[] {
  const page = async (orgId: string, query: { limit: number; cursor?: string | undefined; state?: DeliveryRecord['state'] | undefined; connectionId?: string | undefined }): Promise<RouteAnswer> => {
    const at = query.cursor === undefined ? undefined : decodeCursor(query.cursor, position);
    const found = await notifications.list(orgId, { state: query.state, connectionId: query.connectionId }, query.limit + 1, at === undefined ? undefined : { createdAt: at.at, id: at.id });
    const items = found.slice(0, query.limit);
    const last = items.at(-1);
    const more = found.length > query.limit && last !== undefined;
    return { status: 200, body: { items, nextCursor: more ? encodeCursor({ at: last.createdAt.toISOString(), id: last.id }) : null } };
  };
  return [
    defineRoute({
      method: 'get',
      path: '/v1/notifications',
      id: 'listNotifications',
      tag,
      summary: 'Lists deliveries, newest first',
      permission: 'notifications:read',
      query: deliveryQuery,
      responses: { 200: { description: 'A page of deliveries, without the text of the messages.', schema: pageOf(deliveryView) } },
      handler: ({ caller, query }) => page(caller.orgId, query),
    }),
    defineRoute({
      method: 'get',
      path: '/v1/connections/:id/deliveries',
      id: 'listConnectionDeliveries',
      tag,
      summary: 'Lists deliveries through one connection, newest first',
      permission: 'notifications:read',
      params: z.object({ id: z.uuid() }),
      query: pageQuery,
      responses: { 200: { description: 'A page of deliveries; empty for a connection that carried none.', schema: pageOf(deliveryView) } },
      handler: ({ caller, params, query }) => page(caller.orgId, { ...query, connectionId: params.id }),
    }),
  ];
}
