import { z } from 'zod';

const scope = z.string().max(200).describe('`<resource>:<verb>`, either may be `*`, narrowed by `:key=value`; `*` alone is everything.');

export const apiKeyDraft = z.strictObject({
  name: z.string().trim().min(1).max(200).describe('What the key is for.'),
  scopes: z.array(scope).min(1).max(100),
  expiresAt: z.iso.datetime({ offset: true }).transform((text) => new Date(text)).optional().describe('When it stops working; never, if left out.'),
});

export const apiKeyRotation = z.strictObject({
  overlapSeconds: z.int().min(0).max(30 * 86_400).default(3600).describe('How long the old key works on.'),
});

export const apiKeyView = z
  .object({
    id: z.uuid(),
    name: z.string(),
    prefix: z.string().describe('Public part of the key, as in `hal9_<prefix>_...`.'),
    scopes: z.array(z.string()),
    createdAt: z.iso.datetime(),
    expiresAt: z.iso.datetime().nullable(),
    revokedAt: z.iso.datetime().nullable(),
    lastUsedAt: z.iso.datetime().nullable().describe('Written every ten seconds.'),
    createdByUser: z.uuid().nullable().describe('The person it stops with; null for one that a key made.'),
  })
  .meta({ id: 'ApiKey' });

export const createdApiKey = apiKeyView.extend({ secret: z.string().describe('The whole key. Shown this once; HAL9 keeps its hash only.') }).meta({ id: 'CreatedApiKey' });
