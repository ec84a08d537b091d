import { z } from 'zod';
import { defineOperation } from './operation.ts';

const count = z.int().min(0);

export const cascadeInputSchema = z.object({
  /** The batch; also the uuid of the run's workflow id, so that one batch is one run. */
  batchId: z.uuid(),
  /** Whether a caller waits for the decision of the batch's one signal. */
  interactive: z.boolean().optional(),
});

export const cascadeResultSchema = z.object({
  batchId: z.uuid(),
  state: z.enum(['decided', 'failed']),
  signals: count,
  emissions: count,
  decisions: count,
  deadLetters: count,
  /** Calls to models and services outside. */
  externalCalls: count,
  /** Why the batch was given up, when it was. */
  failure: z.string().optional(),
});

export type CascadeInput = z.infer<typeof cascadeInputSchema>;
export type CascadeResult = z.infer<typeof cascadeResultSchema>;

export default defineOperation({
  name: 'cascade',
  summary: 'Decides one batch of signals',
  description:
    'Passes a batch of signals through the layers of neurons: L2 evaluates every signal it subscribes to, L3 correlates what L2 emitted, L4 decides; a layer without work is skipped. '
    + 'Each layer stores its emissions, decisions and states in one transaction, once. HAL9 starts it for every batch; the run carries references and counts only.',
  input: cascadeInputSchema,
  result: cascadeResultSchema,
  updates: {
    decide: {
      description: 'Waits until the batch is decided. Sent together with the start for a caller of `POST /v1/signals?wait=true`.',
      payload: z.object({}),
      answer: z.object({ state: z.enum(['decided', 'failed']) }),
    },
  },
  // A batch that was terminated or failed may be taken up again under the same id; a decided one never.
  reusePolicy: 'allow-duplicate-failed-only',
  conflictPolicy: 'use-existing',
  timeouts: { execution: '12 hours' },
  effect: 'idempotent',
  exposure: 'internal',
});
