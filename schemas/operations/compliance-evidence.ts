import { z } from 'zod';
import { TASK_QUEUES } from '../names/task-queues.ts';
import { defineOperation } from './operation.ts';

export const complianceEvidenceInputSchema = z.object({
  /** Ids of controls; default all that a query shows. */
  controls: z.array(z.string().max(100)).max(200).optional(),
});

export const complianceEvidenceResultSchema = z.object({
  /** When it was collected. */
  at: z.iso.datetime(),
  passed: z.int(),
  failed: z.int(),
  /** Controls that did not pass, with what was counted. */
  findings: z.array(z.object({ control: z.string(), result: z.enum(['failed', 'error']), numbers: z.record(z.string(), z.number()) })),
});
export type ComplianceEvidenceInput = z.infer<typeof complianceEvidenceInputSchema>;
export type ComplianceEvidenceResult = z.infer<typeof complianceEvidenceResultSchema>;

export default defineOperation({
  name: 'compliance-evidence',
  summary: 'Collect evidence of the controls',
  description: 'Asks the database what it can show of each control (SOC 2, ISO 27001, GDPR) and keeps the answers, chained by hash. HAL9 starts it every day for every organisation; start it by hand after mending something.',
  input: complianceEvidenceInputSchema,
  result: complianceEvidenceResultSchema,
  taskQueue: TASK_QUEUES.core,
  permission: 'compliance:write',
  timeouts: { execution: '1 hour' },
  effect: 'idempotent',
  versioning: 'pinned',
});
