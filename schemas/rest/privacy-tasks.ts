import { z } from 'zod';
import { subjectChange } from '../privacy/change.ts';

export const privacyTask = z
  .object({
    id: z.uuid(),
    erasureId: z.uuid().nullable().describe('The erasure that it is a part of.'),
    changeId: z.uuid().nullable().describe('Or the change.'),
    source: z.string(),
    name: z.string(),
    instructions: z.string(),
    state: z.enum(['open', 'taken', 'done', 'refused']),
    dueAt: z.iso.datetime(),
    takenBy: z.string().nullable().describe('`<kind>:<id>`.'),
    note: z.string().nullable(),
    createdAt: z.iso.datetime(),
    endedAt: z.iso.datetime().nullable(),
  })
  .meta({ id: 'PrivacyTask' });
export const privacyTaskTaken = privacyTask.extend({ identities: z.record(z.string(), z.array(z.string())).describe('Who it is about, by kind.'), change: subjectChange.nullable().describe('What becomes of their data; null when they are erased.') }).meta({ id: 'PrivacyTaskTaken' });
export const privacyTaskEnd = z.strictObject({ outcome: z.enum(['done', 'refused']), note: z.string().trim().min(1).max(500).describe('What was done, or why not. Without personal data: it stays.') });
