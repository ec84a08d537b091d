import { z } from 'zod';

/** `refused`: nothing was deleted, see the reasons; `incomplete`: something that has expired is still there. */
export const RETENTION_STATES = ['running', 'counted', 'done', 'incomplete', 'refused'] as const;
export type RetentionState = (typeof RETENTION_STATES)[number];

/** What becomes of the rows of one table. */
export const retentionTable = z.object({
  table: z.string(),
  keep: z.string().describe('ISO 8601 duration of the policy.'),
  since: z.string().describe('The column it counts from.'),
  cutoff: z.iso.datetime().describe('Rows whose time is before it have expired.'),
  due: z.int().describe('Rows to be deleted, counted before.'),
  deleted: z.int(),
  partitions: z.array(z.string()).describe('Partitions dropped as a whole; their rows are among the deleted.'),
  held: z.int().describe('Expired rows that a legal hold on somebody keeps.'),
  referenced: z.int().describe('Expired rows that rows which stay point at.'),
  left: z.int().nullable().describe('Rows that were to be deleted and are still there; null until it was looked again.'),
  why: z.string().nullable().describe('Why nothing is deleted from this table.'),
});
export type RetentionTable = z.infer<typeof retentionTable>;
