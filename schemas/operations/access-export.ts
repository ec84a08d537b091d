import { z } from 'zod';
import { ACCESS_EXPORT_RECHECK_SIGNAL } from '../names/messages.ts';
import { TASK_QUEUES } from '../names/task-queues.ts';
import { defineOperation } from './operation.ts';

export const accessExportInputSchema = z.object({
  /** Row of the request; who it is about stays there, sealed. */
  exportId: z.uuid(),
});
export type AccessExportInput = z.infer<typeof accessExportInputSchema>;

export const accessExportResultSchema = z.object({ exportId: z.uuid(), records: z.int() });
export type AccessExportResult = z.infer<typeof accessExportResultSchema>;

export default defineOperation({
  name: 'access-export',
  summary: 'Hand a person all that is held of them',
  description:
    'Finds a person in every source an erasure would look into, puts all of it into one archive (JSON, CSV and an index to read), encrypts it to the person and keeps it until it expires. It waits, and tries again, while a source does not answer: half an answer is none. Started by POST /v1/privacy/exports.',
  input: accessExportInputSchema,
  result: accessExportResultSchema,
  signals: { [ACCESS_EXPORT_RECHECK_SIGNAL]: { description: 'What stood in the way may be gone: try again now.', payload: z.object({}), permission: 'privacy:export' } },
  taskQueue: TASK_QUEUES.core,
  permission: 'privacy:export',
  timeouts: { execution: '400 days' },
  effect: 'idempotent',
  versioning: 'auto-upgrade',
  exposure: 'internal',
});
