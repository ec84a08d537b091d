import type { Request } from 'express';
import { z } from 'zod';
import type { RateLimits } from '../../platform/usage/rate-limits.ts';
import { handshake, flatHeaders } from '../../platform/webhooks/presets.ts';
import type { WebhookIntake } from '../../platform/webhooks/intake.ts';
import type { Webhook, Webhooks, WebhookWithSecret } from '../../platform/webhooks/webhooks.ts';
import { HalError } from '../../schemas/errors.ts';
import { pageOf, pageQuery } from '../../schemas/rest/page.ts';
import { hookParams, hookReceipt, webhookChange, webhookDraft, webhookParams, webhookRotation, webhookView, webhookWithSecret } from '../../schemas/rest/webhooks.ts';
import { BY_NAME, READABLE, pageOfReadable } from '../page.ts';
import { readBytes } from '../json-body.ts';
import { defineRoute, type AnyRoute, type RouteAnswer } from '../route.ts';

const tag = 'Webhooks';
/** Largest delivery, bytes. GitHub's own limit is 25 MB, but it cuts what is larger than it should be; most are a few KB. */
const BODY_LIMIT = 5 * 1024 * 1024;
/** Time a delivery has to arrive, ms: senders give up after about ten seconds. */
const ARRIVAL_MS = 10_000;

export interface WebhookRouteOptions {
  readonly webhooks: Webhooks;
  readonly intake: WebhookIntake;
  readonly limits: Pick<RateLimits, 'takeDelivery' | 'takeRefusedDelivery'>;
}

/** Inbound webhooks: managed by people, reached by providers. */
export function createWebhookRoutes({ webhooks, intake, limits }: WebhookRouteOptions): AnyRoute[] {
  return [
    defineRoute({
      method: 'post',
      path: '/v1/hooks/:hookId',
      id: 'receiveWebhook',
      tag,
      summary: 'Takes a delivery of a provider in',
      description: 'Open to anybody who can prove to be the sender: by the signature its preset asks for, over the bytes of the body. 202 means its signals are committed; the same delivery counts once.',
      permission: 'public',
      audit: { none: 'every delivery is in the delivery log' },
      params: hookParams,
      timeoutMs: 30_000,
      rawBody: { '*/*': z.unknown() },
      responses: { 202: { description: 'Its signals are committed.', schema: hookReceipt }, 200: { description: 'The answer to a question of the provider.', contentType: 'text/plain; charset=utf-8' } },
      handler: async ({ caller, params, request }) => {
        limits.takeDelivery(params.hookId);
        const incoming = { headers: flatHeaders(request.headers), body: await readBytes(request, { limitBytes: BODY_LIMIT, arrivalMs: ARRIVAL_MS }) };
        try {
          const answer = await intake.receive(params.hookId, incoming, caller.traceparent);
          if (answer.kind === 'challenge') return { status: 200, body: answer.answer, headers: { 'Content-Type': 'text/plain; charset=utf-8' } };
          return { status: 202, body: { accepted: answer.accepted, duplicates: answer.duplicates, ids: answer.ids } };
        } catch (error) {
          if (error instanceof HalError && error.type === 'WebhookRefused') limits.takeRefusedDelivery(addressOf(request));
          throw error;
        }
      },
    }),
    defineRoute({
      method: 'get',
      path: '/v1/hooks/:hookId',
      id: 'answerWebhookHandshake',
      tag,
      summary: 'Answers the GET by which some providers check an address',
      permission: 'public',
      params: hookParams,
      query: z.record(z.string(), z.unknown()),
      responses: { 200: { description: 'The challenge, as it came.', contentType: 'text/plain; charset=utf-8' } },
      handler: async ({ params, query, request }) => {
        limits.takeDelivery(params.hookId);
        const webhook = await webhooks.open(params.hookId);
        const answer = webhook?.enabled === true ? handshake(webhook.settings, query) : undefined;
        if (answer === undefined) {
          limits.takeRefusedDelivery(addressOf(request));
          throw new HalError('NotFound', 'there is nothing at this path');
        }
        return { status: 200, body: answer, headers: { 'Content-Type': 'text/plain; charset=utf-8' } };
      },
    }),
    defineRoute({
      method: 'get',
      path: '/v1/webhooks',
      id: 'listWebhooks',
      tag,
      summary: 'Lists inbound webhooks by name',
      permission: 'webhooks:read',
      access: READABLE,
      query: pageQuery,
      responses: { 200: { description: 'A page of webhooks, without their secrets.', schema: pageOf(webhookView) } },
      handler: async ({ caller, query }) => {
        const { items, nextCursor } = await pageOfReadable(caller, 'webhooks:read', query, BY_NAME, (limit, after) => webhooks.list(caller, limit, after));
        return { status: 200, body: { items: items.map(view), nextCursor } };
      },
    }),
    defineRoute({
      method: 'post',
      path: '/v1/webhooks',
      id: 'createWebhook',
      tag,
      summary: 'Creates an inbound webhook',
      description: 'Answers its address and its secret; the secret is in this answer and nowhere else.',
      permission: 'webhooks:write',
      audit: 'webhook.create',
      body: webhookDraft,
      responses: { 201: { description: 'The webhook with its secret.', schema: webhookWithSecret } },
      handler: async ({ caller, body }) => withSecret(await webhooks.create(caller, body)),
    }),
    defineRoute({
      method: 'get',
      path: '/v1/webhooks/:id',
      id: 'getWebhook',
      tag,
      summary: 'Reads an inbound webhook',
      permission: 'webhooks:read',
      params: webhookParams,
      responses: { 200: { description: 'The webhook without its secrets.', schema: webhookView } },
      handler: async ({ caller, params }) => ({ status: 200, body: view(await webhooks.get(caller, params.id)) }),
    }),
    defineRoute({
      method: 'put',
      path: '/v1/webhooks/:id',
      id: 'changeWebhook',
      tag,
      summary: 'Changes an inbound webhook',
      permission: 'webhooks:write',
      audit: 'webhook.update',
      params: webhookParams,
      body: webhookChange,
      responses: { 200: { description: 'The webhook.', schema: webhookView } },
      handler: async ({ caller, params, body }) => ({ status: 200, body: view(await webhooks.change(caller, params.id, body)) }),
    }),
    defineRoute({
      method: 'post',
      path: '/v1/webhooks/:id/rotate',
      id: 'rotateWebhookSecret',
      tag,
      summary: 'Gives an inbound webhook a new secret',
      description: 'The old one is accepted beside it for `overlapSeconds`.',
      permission: 'webhooks:write',
      audit: 'webhook.rotate',
      params: webhookParams,
      body: webhookRotation.prefault({}),
      responses: { 201: { description: 'The webhook with its new secret.', schema: webhookWithSecret } },
      handler: async ({ caller, params, body }) => withSecret(await webhooks.rotate(caller, params.id, body)),
    }),
    defineRoute({
      method: 'delete',
      path: '/v1/webhooks/:id',
      id: 'deleteWebhook',
      tag,
      summary: 'Removes an inbound webhook',
      permission: 'webhooks:write',
      audit: 'webhook.delete',
      params: webhookParams,
      responses: { 204: { description: 'It is gone, within a second in every process.' } },
      handler: async ({ caller, params }) => {
        await webhooks.remove(caller, params.id);
        return { status: 204 };
      },
    }),
  ];
}

function addressOf(request: Request): string {
  return request.ip ?? 'unknown';
}

function withSecret({ webhook, secret }: WebhookWithSecret): RouteAnswer {
  return { status: 201, body: { ...view(webhook), secret }, headers: { Location: `/v1/webhooks/${webhook.id}` } };
}

function view({ id, name, settings, enabled, version, secrets, createdAt, updatedAt }: Webhook) {
  const { verifyToken: _verifyToken, ...told } = { verifyToken: undefined, ...settings };
  return { id, name, url: `/v1/hooks/${id}`, settings: told, enabled, version, secrets, createdAt, updatedAt };
}
