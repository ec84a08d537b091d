import { z } from 'zod';
import { RETENTION_STATES } from '../privacy/retention.ts';
import { defineOperation } from './operation.ts';

export const retentionInputSchema = z.object({
  source: z.string().regex(/^[a-z][a-z0-9-]{0,62}$/).describe('Name of a PostgreSQL source.'),
  dryRun: z.boolean().optional().describe('Counts, and deletes nothing. Default false.'),
  tables: z.array(z.string().min(1).max(200)).min(1).max(1000).optional().describe('Default: all with a policy.'),
  /** Of a connection's time. */
  share: z.number().min(0.01).max(1).optional().describe('Part of the time that statements may run; in between it pauses. Default 0.1.'),
});
export type RetentionInput = z.infer<typeof retentionInputSchema>;

export const retentionResultSchema = z.object({ reportId: z.uuid(), state: z.enum(RETENTION_STATES), due: z.int(), deleted: z.int(), reasons: z.array(z.string()) });
export type RetentionResult = z.infer<typeof retentionResultSchema>;

export default defineOperation({
  name: 'retention',
  summary: 'Delete what has had its time',
  description:
    'Deletes the rows of a source whose time is over by the policies of its annotations (`retention: {keep, since}` of a table), in small batches with pauses; partitions that have expired as a whole are dropped. Rows of people under a legal hold stay, and rows that others point at. With `dryRun` it counts, by the same rules. The report is at GET /v1/privacy/retention-reports/{id}.',
  input: retentionInputSchema,
  result: retentionResultSchema,
  permission: 'privacy:erase',
  concurrency: { key: ({ source }) => source, limit: 1, onConflict: 'queue' },
  timeouts: { execution: '7 days' },
  effect: 'idempotent',
  versioning: 'auto-upgrade',
});
