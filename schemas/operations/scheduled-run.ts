import { z } from 'zod';
import { TASK_QUEUES } from '../names/task-queues.ts';
import { defineOperation } from './operation.ts';

export const scheduledRunInputSchema = z.object({
  scheduleId: z.uuid(),
  /** The schedule as it was applied, so that its row can be brought back if the database lost it. */
  kept: z.unknown(),
  /** Set when a long firing is continued as new. */
  open: z.object({ runId: z.string() }).optional(),
});

export const scheduledRunResultSchema = z.object({
  outcome: z.enum(['done', 'skipped']),
  runId: z.string().nullable(),
  reason: z.string().nullable(),
});
export type ScheduledRunInput = z.infer<typeof scheduledRunInputSchema>;
export type ScheduledRunResult = z.infer<typeof scheduledRunResultSchema>;

/** What Temporal's schedule starts: it asks whether the owner may, starts the operation, and lives as long as its run, so that overlap policies count the run. */
export default defineOperation({
  name: 'scheduled-run',
  summary: 'One firing of a schedule',
  input: scheduledRunInputSchema,
  result: scheduledRunResultSchema,
  taskQueue: TASK_QUEUES.core,
  permission: 'schedules:write',
  timeouts: { execution: '52 weeks' },
  effect: 'idempotent',
  versioning: 'auto-upgrade',
  exposure: 'internal',
});
