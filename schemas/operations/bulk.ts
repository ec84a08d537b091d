import { z } from 'zod';
import { TASK_QUEUES } from '../names/task-queues.ts';
import { defineOperation } from './operation.ts';

export const bulkActionName = z.enum(['signal', 'cancel', 'terminate', 'pause', 'resume', 'retry', 'replay']);
export type BulkActionName = z.infer<typeof bulkActionName>;

export const bulkInputSchema = z.object({
  bulkId: z.uuid(),
  /** Runs acted on in a second, at the most. */
  perSecond: z.int().min(1).max(100),
  /** Of `signal`. */
  signal: z.object({ name: z.string().max(100), payload: z.unknown() }).optional(),
  /** Of `terminate` and `replay`; shown with each run. */
  reason: z.string().max(500),
});
export type BulkInput = z.infer<typeof bulkInputSchema>;

export const bulkResultSchema = z.object({ done: z.int(), failed: z.int(), aborted: z.int() });
export type BulkResult = z.infer<typeof bulkResultSchema>;

export default defineOperation({
  name: 'bulk',
  summary: 'Act on many runs',
  description: 'Works off the runs of `POST /v1/runs/bulk` one by one, so many a second, and keeps what became of each. Cancel it to leave out the rest; pause it to wait.',
  input: bulkInputSchema,
  result: bulkResultSchema,
  taskQueue: TASK_QUEUES.core,
  timeouts: { execution: '7 days' },
  effect: 'irreversible',
  versioning: 'auto-upgrade',
  exposure: 'internal',
});
