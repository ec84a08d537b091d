import { z } from 'zod';

/**
 * Connections: credentials for systems outside, kept sealed and used by name. Fields marked `secret` never leave HAL9 again.
 */
const secret = (description: string) => z.string().min(1).max(4096).describe(description).meta({ writeOnly: true });
const httpUrl = z.url({ protocol: /^https?$/ }).max(2048);
/** Header names per RFC 9110; values without line breaks. Framing and host are HAL9's business. */
const headerName = z.string().regex(/^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}$/, 'is not a header name').refine((name) => !/^(host|content-length|transfer-encoding|connection)$/i.test(name), 'this header cannot be set');
const headers = z.record(headerName, z.string().max(4096).regex(/^[^\r\n\0]*$/, 'has a line break')).describe('Headers sent with every request. Their values are secret.').meta({ writeOnly: true });

export const smtpSettings = z.strictObject({
  kind: z.literal('smtp'),
  host: z.string().min(1).max(253),
  port: z.int().min(1).max(65_535).default(587),
  tls: z.enum(['starttls', 'implicit', 'none']).default('starttls').describe('`starttls` is required, not merely offered; `none` sends in the clear.'),
  username: z.string().min(1).max(320).optional(),
  password: secret('Password of the user.').optional(),
  from: z.string().min(3).max(320).describe('Sender address.'),
  to: z.array(z.email().max(320)).min(1).max(50).describe('Recipients of every message.'),
});

export const slackSettings = z.strictObject({
  kind: z.literal('slack'),
  url: httpUrl.describe('Incoming-webhook URL; Slack, Mattermost, Rocket.Chat. The URL is the secret.').meta({ writeOnly: true }),
});

export const pagerdutySettings = z.strictObject({
  kind: z.literal('pagerduty'),
  routingKey: secret('Integration key of the service (Events API v2).'),
  baseUrl: httpUrl.default('https://events.pagerduty.com'),
});

export const webhookSettings = z.strictObject({
  kind: z.literal('webhook'),
  url: httpUrl.describe('Receives a POST of JSON. Its path and query are kept secret.').meta({ writeOnly: true }),
  headers: headers.default({}),
  secret: z.string().regex(/^whsec_[A-Za-z0-9+/]{32,}={0,2}$/, 'expected `whsec_` and the base64 of at least 24 bytes').max(200).optional()
    .describe('Signs each message as Standard Webhooks say: headers webhook-id, webhook-timestamp, webhook-signature.').meta({ writeOnly: true }),
});

export const llmSettings = z.strictObject({
  kind: z.literal('llm'),
  provider: z.enum(['anthropic', 'openai', 'openai-compatible']),
  apiKey: secret('API key of the provider.'),
  baseUrl: httpUrl.optional().describe('With the version segment, e.g. `https://api.anthropic.com/v1`. Default: the provider\'s own; required for `openai-compatible`.'),
});

export const httpSettings = z.strictObject({
  kind: z.literal('http'),
  baseUrl: httpUrl.describe('Neurons may call this origin with these headers, and no other.'),
  headers: headers.default({}),
});

export const amqpSettings = z.strictObject({
  kind: z.literal('amqp'),
  host: z.string().min(1).max(253),
  port: z.int().min(1).max(65_535).optional().describe('Default 5671 with TLS, 5672 without.'),
  tls: z.boolean().default(true),
  username: z.string().min(1).max(320),
  password: secret('Password of the user.'),
  vhost: z.string().min(1).max(255).default('/').describe('Virtual host.'),
});

export const kafkaSettings = z.strictObject({
  kind: z.literal('kafka'),
  brokers: z.array(z.string().regex(/^(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]{1,253}):\d{1,5}$/, 'use HOST:PORT')).min(1).max(20).describe('Some brokers of the cluster; they name the others.'),
  tls: z.boolean().default(true),
  ca: z.string().max(65_536).regex(/^-----BEGIN CERTIFICATE-----/, 'is no PEM').optional().describe('PEM of the authorities that sign the brokers\' certificates. Default: those everybody trusts.'),
  mechanism: z.enum(['plain', 'scram-sha-256', 'scram-sha-512']).default('scram-sha-512').describe('How SASL proves the password.'),
  username: z.string().min(1).max(320).optional().describe('Without one no SASL is spoken.'),
  password: secret('Password of the user.').optional(),
});

export const websiteSettings = z.strictObject({
  kind: z.literal('website'),
  origins: z.array(z.url({ protocol: /^https?$/ }).max(2048).transform((url) => new URL(url).origin)).min(1).max(20).describe('Origins whose pages may be given the credential, e.g. `https://shop.example`.'),
  username: secret('What is typed as the name.').optional(),
  password: secret('What is typed as the password.').optional(),
  totpSeed: z.string().regex(/^[A-Z2-7]{16,128}=*$/i, 'is not Base32').optional().describe('Base32 seed of one-time codes (RFC 6238, SHA-1, six digits, 30 s).').meta({ writeOnly: true }),
});

export const kubernetesSettings = z.strictObject({
  kind: z.literal('kubernetes'),
  server: httpUrl.describe('Address of the API server, e.g. `https://10.0.0.1:6443`.'),
  ca: z.string().max(65_536).regex(/^-----BEGIN CERTIFICATE-----/, 'is no PEM').optional().describe('PEM of the authority that signs its certificate. Default: those everybody trusts.'),
  token: secret('Token of a service account.'),
});

export const ipfsSettings = z.strictObject({
  kind: z.literal('ipfs'),
  url: httpUrl.describe('Address of the RPC API of a Kubo node, e.g. `http://10.0.0.1:5001`.'),
  headers: headers.default({}),
});

export const pinningSettings = z.strictObject({
  kind: z.literal('pinning'),
  url: httpUrl.describe('Endpoint of the service (IPFS Pinning Service API).'),
  token: secret('Access token of the service.'),
  gateway: httpUrl.describe('Trustless gateway that has what the service pins.'),
});

export const connectionSettings = z
  .discriminatedUnion('kind', [smtpSettings, slackSettings, pagerdutySettings, webhookSettings, llmSettings, httpSettings, amqpSettings, kafkaSettings, websiteSettings, kubernetesSettings, ipfsSettings, pinningSettings])
  .refine((settings) => settings.kind !== 'llm' || settings.provider !== 'openai-compatible' || settings.baseUrl !== undefined, { path: ['baseUrl'], message: 'is required for openai-compatible' })
  .refine((settings) => (settings.kind !== 'smtp' && settings.kind !== 'kafka') || (settings.username === undefined) === (settings.password === undefined), { path: ['password'], message: 'username and password come together' });

export type SmtpSettings = z.infer<typeof smtpSettings>;
export type SlackSettings = z.infer<typeof slackSettings>;
export type PagerdutySettings = z.infer<typeof pagerdutySettings>;
export type WebhookSettings = z.infer<typeof webhookSettings>;
export type LlmSettings = z.infer<typeof llmSettings>;
export type HttpSettings = z.infer<typeof httpSettings>;
export type AmqpSettings = z.infer<typeof amqpSettings>;
export type KafkaSettings = z.infer<typeof kafkaSettings>;
export type KubernetesSettings = z.infer<typeof kubernetesSettings>;
export type IpfsSettings = z.infer<typeof ipfsSettings>;
export type PinningSettings = z.infer<typeof pinningSettings>;
export type WebsiteSettings = z.infer<typeof websiteSettings>;
export type ConnectionSettings = z.infer<typeof connectionSettings>;

const connectionName = z.string().regex(/^[a-z0-9][a-z0-9._-]{0,127}$/, 'use lower-case letters, digits, dots, dashes');

export const connectionDraft = z.strictObject({
  name: connectionName.describe('What neurons, operations and approvals call it.'),
  settings: connectionSettings,
});

export const connectionChange = z.strictObject({
  settings: connectionSettings.describe('All settings, secrets included; the kind cannot change.'),
  version: z.int().min(1).optional().describe('Refuse unless this is the version being replaced.'),
});

export const connectionRotation = z.strictObject({
  settings: z.record(z.string(), z.unknown()).default({}).describe('The settings that change, usually the secrets; the others stay. `{}` seals the same settings with the current master key.'),
});

export const testQuery = z.object({
  test: z.enum(['true', 'false']).default('true').describe('Whether the settings must pass a test before they are saved.'),
});

export const connectionView = z
  .object({
    id: z.uuid(),
    name: z.string(),
    kind: z.enum(['smtp', 'slack', 'pagerduty', 'webhook', 'llm', 'http', 'amqp', 'kafka', 'website', 'kubernetes', 'ipfs', 'pinning']),
    version: z.int(),
    settings: z.record(z.string(), z.unknown()).nullable().describe('What is no secret; null when no master key in the ring opens it.'),
    secrets: z.array(z.string()).describe('Names of the secret settings that are set.'),
    state: z.enum(['untested', 'ok', 'failed']),
    lastTestedAt: z.iso.datetime().nullable(),
    lastFailure: z.string().nullable(),
    createdAt: z.iso.datetime(),
    updatedAt: z.iso.datetime(),
    updatedBy: z.string(),
  })
  .meta({ id: 'Connection' });
