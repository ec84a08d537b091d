import { z } from 'zod';
import { APPROVAL_UPDATE, ERASURE_RECHECK_SIGNAL } from '../names/messages.ts';
import { TASK_QUEUES } from '../names/task-queues.ts';
import { approvalAnswerSchema, approvalTallySchema } from './approval.ts';
import { defineOperation } from './operation.ts';

export const erasureInputSchema = z.object({
  /** Row of the ledger; who it is about stays there, sealed. */
  erasureId: z.uuid(),
});
export type ErasureInput = z.infer<typeof erasureInputSchema>;

export const erasureResultSchema = z.object({ erasureId: z.uuid(), state: z.enum(['complete', 'denied']), rows: z.int(), reason: z.string() });
export type ErasureResult = z.infer<typeof erasureResultSchema>;

export default defineOperation({
  name: 'erasure',
  summary: 'Forget a person',
  description:
    'Finds a person in every declared source, rehearses the erasure in a transaction that is taken back, asks people where the policy says so, masks and deletes step by step, looks again, and hands out a signed receipt. It does not end while anything remains that nothing allows: its reasons say what stands in the way. Started by POST /v1/privacy/erasures.',
  input: erasureInputSchema,
  result: erasureResultSchema,
  signals: { [ERASURE_RECHECK_SIGNAL]: { description: 'What stood in the way may be gone: try again now.', payload: z.object({}), permission: 'privacy:erase' } },
  updates: {
    [APPROVAL_UPDATE]: { description: 'An answer to the question whether the person may be forgotten. Sent by POST /v1/approvals/{id}/approve and /refuse and by approval links, which sign it.', payload: approvalAnswerSchema, answer: approvalTallySchema },
  },
  taskQueue: TASK_QUEUES.core,
  permission: 'privacy:erase',
  timeouts: { execution: '400 days' },
  effect: 'irreversible',
  versioning: 'auto-upgrade',
  exposure: 'internal',
});
