import { z } from 'zod';
import { pageQuery } from './page.ts';

/** What happens in HAL9 that endpoints can hear of. */
export const EVENT_TYPES = [
  'run.started', 'run.completed', 'run.failed', 'run.cancelled', 'run.terminated', 'run.timed-out',
  'decision.made', 'decision.done', 'decision.refused', 'decision.failed',
  'approval.requested', 'approval.approved', 'approval.refused', 'approval.expired', 'approval.cancelled',
] as const;

const eventFilter = z.union([z.literal('*'), z.enum(['run.*', 'decision.*', 'approval.*']), z.enum(EVENT_TYPES)]);
const secret = z.string().regex(/^whsec_[A-Za-z0-9+/]{32,88}={0,2}$/, 'whsec_ and base64 of 24 to 64 bytes').meta({ writeOnly: true });
const url = z.url({ protocol: /^https?$/ }).max(2000).refine((text) => URL.canParse(text) && new URL(text).username === '' && new URL(text).password === '', 'no credentials in the address');

export const endpointDraft = z.strictObject({
  name: z.string().trim().min(1).max(200),
  url: url.describe('Where messages are sent. Private addresses are refused when connecting, redirects are not followed.'),
  events: z.array(eventFilter).min(1).max(50).describe('Exact types, `run.*`, `decision.*`, `approval.*`, or `*`.'),
  enabled: z.boolean().default(true),
  secret: secret.optional().describe('Left out: HAL9 makes one.'),
});

export const endpointChange = endpointDraft.omit({ secret: true, enabled: true }).extend({ enabled: z.boolean() });
export const endpointRotation = z.strictObject({ secret: secret.optional(), overlapSeconds: z.int().min(0).max(30 * 86_400).default(86_400).describe('How long messages are signed with the old secret beside the new one.') });
export const endpointParams = z.object({ id: z.uuid() });

export const endpointView = z
  .object({
    id: z.uuid(),
    name: z.string(),
    url: z.string(),
    events: z.array(z.string()),
    enabled: z.boolean(),
    disabledReason: z.string().nullable().describe('Why HAL9 switched it off, e.g. because it answered 410 Gone.'),
    circuit: z.object({ state: z.enum(['closed', 'open']), failures: z.int(), openUntil: z.iso.datetime().nullable() }).describe('While it is open nothing is sent; afterwards one message tries.'),
    secrets: z.array(z.object({ id: z.string(), createdAt: z.iso.datetime(), expiresAt: z.iso.datetime().nullable() })),
    version: z.int(),
    createdAt: z.iso.datetime(),
    updatedAt: z.iso.datetime(),
  })
  .meta({ id: 'WebhookEndpoint' });

export const endpointWithSecret = endpointView.extend({ secret: z.string().describe('Shown this once.') }).meta({ id: 'WebhookEndpointWithSecret' });

export const messageQuery = pageQuery.extend({ endpoint: z.uuid().optional(), state: z.enum(['pending', 'delivered', 'failed', 'abandoned']).optional() });

export const messageView = z
  .object({
    id: z.uuid(),
    webhookId: z.string().describe('The header `webhook-id`: the same in every attempt.'),
    endpoint: z.uuid(),
    type: z.string(),
    data: z.record(z.string(), z.unknown()),
    state: z.enum(['pending', 'delivered', 'failed', 'abandoned']).describe('`failed`: the schedule is used up. `abandoned`: the endpoint was switched off.'),
    attempts: z.int(),
    nextAt: z.iso.datetime().nullable(),
    lastFailure: z.string().nullable(),
    createdAt: z.iso.datetime(),
    doneAt: z.iso.datetime().nullable(),
  })
  .meta({ id: 'EndpointDelivery' });

export const messageDetail = messageView
  .extend({ log: z.array(z.object({ at: z.iso.datetime(), httpStatus: z.int().nullable(), failure: z.string().nullable(), durationMs: z.int() })).describe('Every attempt, oldest first.') })
  .meta({ id: 'EndpointDeliveryDetail' });
