import type { IncomingMessage } from 'node:http';
import { z } from 'zod';
import type { Billing } from '../../platform/billing/billing.ts';
import type { Caller } from '../../platform/identity/caller.ts';
import { HalError } from '../../schemas/errors.ts';
import { billingView, subscriptionDraft, webhookReceipt } from '../../schemas/rest/billing.ts';
import { defineRoute, type AnyRoute } from '../route.ts';

const tag = 'Billing';
/** Largest event the provider sends, bytes. */
const EVENT_BYTES = 1024 * 1024;

/** The subscription of the caller's organisation, and the payment provider's events. */
export function createBillingRoutes({ billing }: { billing: Billing }): AnyRoute[] {
  const show = async (caller: Pick<Caller, 'orgId'>): Promise<z.input<typeof billingView>> => {
    const { account, invoices } = await billing.view(caller);
    return {
      plans: [...billing.plans],
      subscription: account?.subscriptionId == null ? null : { plan: account.plan, status: account.status ?? 'incomplete', cancelsAt: account.cancelsAt?.toISOString() ?? null },
      invoices: invoices.map(({ invoiceId, periodStart, periodEnd, ...invoice }) => ({ id: invoiceId, ...invoice, periodStart: periodStart.toISOString(), periodEnd: periodEnd.toISOString() })),
    };
  };
  return [
    defineRoute({
      method: 'get',
      path: '/v1/billing',
      id: 'getBilling',
      tag,
      summary: 'The subscription and its invoices',
      permission: 'billing:read',
      responses: { 200: { description: 'As the payment provider last told.', schema: billingView } },
      handler: async ({ caller }) => ({ status: 200, body: await show(caller) }),
    }),
    defineRoute({
      method: 'put',
      path: '/v1/billing/subscription',
      id: 'subscribe',
      tag,
      summary: 'Subscribes to a plan, or changes to it',
      description: 'What the organisation may use follows once the payment provider counts the subscription as good.',
      permission: 'billing:write',
      audit: 'billing.subscribe',
      timeoutMs: 75_000,
      body: subscriptionDraft,
      responses: { 200: { description: 'The subscription now.', schema: billingView } },
      handler: async ({ caller, body }) => {
        await billing.subscribe(caller, body.plan);
        return { status: 200, body: await show(caller) };
      },
    }),
    defineRoute({
      method: 'delete',
      path: '/v1/billing/subscription',
      id: 'cancelSubscription',
      tag,
      summary: 'Ends the subscription with what is paid',
      permission: 'billing:write',
      audit: 'billing.cancel',
      timeoutMs: 75_000,
      responses: { 200: { description: 'The subscription with its end.', schema: billingView } },
      handler: async ({ caller }) => {
        await billing.cancel(caller);
        return { status: 200, body: await show(caller) };
      },
    }),
    defineRoute({
      method: 'post',
      path: '/v1/billing/events',
      id: 'receiveBillingEvent',
      tag,
      summary: 'Events of the payment provider',
      description: 'For the payment provider: signed, and applied once however often it is sent.',
      permission: 'public',
      audit: { none: 'the plan it changes is an act of its own' },
      timeoutMs: 30_000,
      rawBody: { 'application/json': z.object({}).loose() },
      responses: { 200: { description: 'Received.', schema: webhookReceipt } },
      handler: async ({ request }) => {
        const signature = request.headers['stripe-signature'];
        if (typeof signature !== 'string') throw new HalError('Unauthenticated', 'the event is not signed');
        return { status: 200, body: { applied: await billing.receive(await bytesOf(request), signature) } };
      },
    }),
  ];
}

/** @throws {HalError} BodyTooLarge. */
async function bytesOf(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request.iterator({ destroyOnReturn: false })) {
    if (!Buffer.isBuffer(chunk)) throw new TypeError('the body is read as bytes');
    size += chunk.length;
    if (size > EVENT_BYTES) throw new HalError('BodyTooLarge', `the limit is ${EVENT_BYTES} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks, size);
}
