import { z } from 'zod';

const headerName = z.string().regex(/^[A-Za-z0-9-]{1,100}$/, 'a header name').transform((name) => name.toLowerCase());
const eventType = z.string().min(1).max(200);

const plain = z.strictObject({});

/** How a sender proves itself and what becomes of its messages, by preset. */
export const webhookPresets = {
  /** Standard Webhooks 1.0. */
  standard: plain,
  github: plain,
  stripe: plain,
  slack: plain,
  /** Meta (Facebook, Instagram, WhatsApp): app secret signs, and a GET asks for the verify token. */
  meta: z.strictObject({ verifyToken: z.string().min(8).max(200).describe('Told to Meta; its GET handshake must repeat it.') }),
  dropbox: plain,
  hmac: z.strictObject({
    header: headerName.describe('Header that holds the signature.'),
    algorithm: z.enum(['sha256', 'sha1', 'sha512']).default('sha256'),
    encoding: z.enum(['hex', 'base64']).default('hex'),
    prefix: z.string().max(32).default('').describe('What stands before the signature in its header, e.g. `sha256=`.'),
    timestampHeader: headerName.optional().describe('Unix seconds; signed text is then `<timestamp>.<body>`, and must be at most five minutes old.'),
    idHeader: headerName.optional().describe('The sender\'s id of the delivery. Without one the same body counts once within the dedup window.'),
    type: eventType.default('webhook.received').describe('Type of the signals.'),
    typeHeader: headerName.optional().describe('Header that names the type instead.'),
  }),
  /** Prometheus Alertmanager: a signal for each alert; its bearer token, or its basic auth with any user. */
  alertmanager: plain,
} as const;

export type PresetName = keyof typeof webhookPresets;

/** Settings by preset, told apart by `preset`. */
export const webhookSettings = z.discriminatedUnion('preset', [
  z.strictObject({ preset: z.literal('standard') }),
  z.strictObject({ preset: z.literal('github') }),
  z.strictObject({ preset: z.literal('stripe') }),
  z.strictObject({ preset: z.literal('slack') }),
  webhookPresets.meta.extend({ preset: z.literal('meta') }),
  z.strictObject({ preset: z.literal('dropbox') }),
  webhookPresets.hmac.extend({ preset: z.literal('hmac') }),
  z.strictObject({ preset: z.literal('alertmanager') }),
]);

export type WebhookSettings = z.output<typeof webhookSettings>;

const secret = z.string().min(8).max(500).describe('The secret the provider shows, or one to tell it. Left out: HAL9 makes one.').meta({ writeOnly: true });

export const webhookDraft = z.strictObject({
  name: z.string().trim().min(1).max(200),
  settings: webhookSettings,
  enabled: z.boolean().default(true),
  secret: secret.optional(),
});

export const webhookChange = z.strictObject({ name: z.string().trim().min(1).max(200), settings: webhookSettings, enabled: z.boolean() });

export const webhookRotation = z.strictObject({
  secret: secret.optional(),
  overlapSeconds: z.int().min(0).max(30 * 86_400).default(86_400).describe('How long the old secret is accepted beside the new one.'),
});

export const webhookParams = z.object({ id: z.uuid() });
export const hookParams = z.object({ hookId: z.uuid() });

export const webhookView = z
  .object({
    id: z.uuid(),
    name: z.string(),
    url: z.string().describe('Where the provider sends to, relative to this server.'),
    settings: z.record(z.string(), z.unknown()).describe('Without the verify token.'),
    enabled: z.boolean(),
    version: z.int(),
    secrets: z.array(z.object({ id: z.string(), createdAt: z.iso.datetime(), expiresAt: z.iso.datetime().nullable() })).describe('Live secrets, newest first, without their values.'),
    createdAt: z.iso.datetime(),
    updatedAt: z.iso.datetime(),
  })
  .meta({ id: 'Webhook' });

export const webhookWithSecret = webhookView.extend({ secret: z.string().describe('Shown this once.') }).meta({ id: 'WebhookWithSecret' });

export const hookReceipt = z.object({ accepted: z.int(), duplicates: z.int(), ids: z.array(z.string()).describe('HAL9\'s ids of the signals.') }).meta({ id: 'HookReceipt' });
