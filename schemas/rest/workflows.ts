import { z } from 'zod';

const jsonSchema = z.record(z.string(), z.unknown()).describe('JSON Schema 2020-12.');
const message = z.object({ description: z.string(), payload: jsonSchema, answer: jsonSchema.optional(), permission: z.string().optional() });

/** An operation as the catalogue shows it. */
export const workflowView = z
  .object({
    type: z.string(),
    version: z.int(),
    summary: z.string(),
    description: z.string(),
    input: jsonSchema,
    result: jsonSchema,
    signals: z.record(z.string(), message),
    queries: z.record(z.string(), message),
    updates: z.record(z.string(), message),
    errors: z.record(z.string(), z.object({ title: z.string(), remedy: z.string(), retryable: z.boolean(), status: z.int() })),
    permission: z.string(),
    effect: z.enum(['pure', 'idempotent', 'irreversible']),
    exposure: z.enum(['public', 'internal']).describe('`internal` operations are started by HAL9 alone.'),
    executionTimeout: z.string(),
    rate: z.object({ starts: z.int(), perSeconds: z.number() }).optional().describe('So many starts in so many seconds; missing: no limit.'),
  })
  .meta({ id: 'Workflow' });

export const workflowParams = z.object({ type: z.string().max(100).describe('Name of the operation.') });
