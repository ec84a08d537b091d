import { z } from 'zod';
import type { AttemptRecord, MessageRecord } from '../../database/deliveries.ts';
import type { Endpoint, Endpoints, EndpointWithSecret } from '../../platform/webhooks/endpoints.ts';
import { webhookId } from '../../platform/webhooks/sender.ts';
import { pageOf, pageQuery } from '../../schemas/rest/page.ts';
import { endpointChange, endpointDraft, endpointParams, endpointRotation, endpointView, endpointWithSecret, messageDetail, messageQuery, messageView } from '../../schemas/rest/webhook-endpoints.ts';
import { decodeCursor, encodeCursor } from '../cursor.ts';
import { BY_NAME, READABLE, pageOfReadable } from '../page.ts';
import { defineRoute, type AnyRoute, type RouteAnswer } from '../route.ts';

const tag = 'Webhook endpoints';
const bySeq = z.object({ seq: z.int() });

/** Outgoing webhooks: endpoints, and what was sent to them. */
export function createWebhookEndpointRoutes({ endpoints }: { endpoints: Endpoints }): AnyRoute[] {
  return [
    defineRoute({
      method: 'get',
      path: '/v1/webhook-endpoints',
      id: 'listWebhookEndpoints',
      tag,
      summary: 'Lists outgoing webhooks by name',
      permission: 'webhook-endpoints:read',
      access: READABLE,
      query: pageQuery,
      responses: { 200: { description: 'A page of endpoints, without their secrets.', schema: pageOf(endpointView) } },
      handler: async ({ caller, query }) => {
        const { items, nextCursor } = await pageOfReadable(caller, 'webhook-endpoints:read', query, BY_NAME, (limit, after) => endpoints.list(caller, limit, after));
        return { status: 200, body: { items: items.map(view), nextCursor } };
      },
    }),
    defineRoute({
      method: 'post',
      path: '/v1/webhook-endpoints',
      id: 'createWebhookEndpoint',
      tag,
      summary: 'Creates an outgoing webhook',
      description: 'Messages are signed as Standard Webhooks say. The secret is in this answer and nowhere else.',
      permission: 'webhook-endpoints:write',
      audit: 'webhook-endpoint.create',
      body: endpointDraft,
      responses: { 201: { description: 'The endpoint with its secret.', schema: endpointWithSecret } },
      handler: async ({ caller, body }) => withSecret(await endpoints.create(caller, body)),
    }),
    defineRoute({
      method: 'get',
      path: '/v1/webhook-endpoints/:id',
      id: 'getWebhookEndpoint',
      tag,
      summary: 'Reads an outgoing webhook',
      permission: 'webhook-endpoints:read',
      params: endpointParams,
      responses: { 200: { description: 'The endpoint, and how its circuit stands.', schema: endpointView } },
      handler: async ({ caller, params }) => ({ status: 200, body: view(await endpoints.get(caller, params.id)) }),
    }),
    defineRoute({
      method: 'put',
      path: '/v1/webhook-endpoints/:id',
      id: 'changeWebhookEndpoint',
      tag,
      summary: 'Changes an outgoing webhook, and closes its circuit',
      permission: 'webhook-endpoints:write',
      audit: 'webhook-endpoint.update',
      params: endpointParams,
      body: endpointChange,
      responses: { 200: { description: 'The endpoint.', schema: endpointView } },
      handler: async ({ caller, params, body }) => ({ status: 200, body: view(await endpoints.change(caller, params.id, body)) }),
    }),
    defineRoute({
      method: 'post',
      path: '/v1/webhook-endpoints/:id/rotate',
      id: 'rotateWebhookEndpointSecret',
      tag,
      summary: 'Gives an outgoing webhook a new secret',
      description: 'Messages are signed with both for `overlapSeconds`, so that the receiver can change over at any time within it.',
      permission: 'webhook-endpoints:write',
      audit: 'webhook-endpoint.rotate',
      params: endpointParams,
      body: endpointRotation.prefault({}),
      responses: { 201: { description: 'The endpoint with its new secret.', schema: endpointWithSecret } },
      handler: async ({ caller, params, body }) => withSecret(await endpoints.rotate(caller, params.id, body)),
    }),
    defineRoute({
      method: 'delete',
      path: '/v1/webhook-endpoints/:id',
      id: 'deleteWebhookEndpoint',
      tag,
      summary: 'Removes an outgoing webhook with its messages',
      permission: 'webhook-endpoints:write',
      audit: 'webhook-endpoint.delete',
      params: endpointParams,
      responses: { 204: { description: 'It is gone.' } },
      handler: async ({ caller, params }) => {
        await endpoints.remove(caller, params.id);
        return { status: 204 };
      },
    }),
    defineRoute({
      method: 'post',
      path: '/v1/webhook-endpoints/:id/ping',
      id: 'pingWebhookEndpoint',
      tag,
      summary: 'Sends a test message',
      description: 'A message of type `hal9.ping` goes the ordinary way, signature and retries included.',
      permission: 'webhook-endpoints:write',
      audit: { none: 'the message is in the delivery log' },
      params: endpointParams,
      responses: { 202: { description: 'The delivery to look at.', schema: z.object({ delivery: z.uuid() }) } },
      handler: async ({ caller, params }) => {
        const delivery = await endpoints.ping(caller, params.id);
        return { status: 202, body: { delivery }, headers: { Location: `/v1/endpoint-deliveries/${delivery}` } };
      },
    }),
    defineRoute({
      method: 'get',
      path: '/v1/endpoint-deliveries',
      id: 'listEndpointDeliveries',
      tag,
      summary: 'Lists messages to outgoing webhooks, newest first',
      description: 'Kept for 30 days.',
      permission: 'webhook-endpoints:read',
      query: messageQuery,
      responses: { 200: { description: 'A page of deliveries.', schema: pageOf(messageView) } },
      handler: async ({ caller, query }) => {
        const before = query.cursor === undefined ? undefined : decodeCursor(query.cursor, bySeq).seq;
        const filter = { ...(query.endpoint === undefined ? {} : { endpointId: query.endpoint }), ...(query.state === undefined ? {} : { state: query.state }) };
        const page = await endpoints.messages(caller, filter, query.limit + 1, before);
        const items = page.slice(0, query.limit);
        const last = page.length > query.limit ? items.at(-1) : undefined;
        return { status: 200, body: { items: items.map(message), nextCursor: last === undefined ? null : encodeCursor({ seq: last.seq }) } };
      },
    }),
    defineRoute({
      method: 'get',
      path: '/v1/endpoint-deliveries/:id',
      id: 'getEndpointDelivery',
      tag,
      summary: 'Reads a message with every attempt to deliver it',
      permission: 'webhook-endpoints:read',
      params: endpointParams,
      responses: { 200: { description: 'The delivery.', schema: messageDetail } },
      handler: async ({ caller, params }) => {
        const found = await endpoints.message(caller, params.id);
        return { status: 200, body: { ...message(found.message), log: found.attempts.map(attempt) } };
      },
    }),
    defineRoute({
      method: 'post',
      path: '/v1/endpoint-deliveries/:id/redeliver',
      id: 'redeliverToEndpoint',
      tag,
      summary: 'Delivers a message once more',
      description: 'From the beginning of the schedule, under the same `webhook-id`.',
      permission: 'webhook-endpoints:write',
      audit: 'endpoint-delivery.redeliver',
      params: endpointParams,
      responses: { 202: { description: 'The delivery, waiting again.', schema: messageView } },
      handler: async ({ caller, params }) => ({ status: 202, body: message(await endpoints.redeliver(caller, params.id)) }),
    }),
  ];
}

function withSecret({ endpoint, secret }: EndpointWithSecret): RouteAnswer {
  return { status: 201, body: { ...view(endpoint), secret }, headers: { Location: `/v1/webhook-endpoints/${endpoint.id}` } };
}

function view({ id, name, url, events, enabled, disabledReason, version, failures, openUntil, secrets, createdAt, updatedAt }: Endpoint) {
  const open = openUntil !== null && openUntil.getTime() > Date.now();
  return { id, name, url, events, enabled, disabledReason, circuit: { state: open ? 'open' : 'closed', failures, openUntil: open ? openUntil : null }, secrets, version, createdAt, updatedAt };
}

function message({ id, endpointId, type, data, state, attempts, nextAt, lastFailure, createdAt, doneAt }: MessageRecord) {
  return { id, webhookId: webhookId(id), endpoint: endpointId, type, data, state, attempts, nextAt: state === 'pending' ? nextAt : null, lastFailure, createdAt, doneAt };
}

function attempt({ at, httpStatus, failure, durationMs }: AttemptRecord) {
  return { at, httpStatus, failure, durationMs };
}
