import { z } from 'zod';
import { PRIVACY_CHANGE_RECHECK_SIGNAL } from '../names/messages.ts';
import { TASK_QUEUES } from '../names/task-queues.ts';
import { defineOperation } from './operation.ts';

export const privacyChangeInputSchema = z.object({
  /** Row of the ledger; who it is about, and what becomes of their data, stay there, sealed. */
  changeId: z.uuid(),
});
export type PrivacyChangeInput = z.infer<typeof privacyChangeInputSchema>;

export const privacyChangeResultSchema = z.object({ changeId: z.uuid(), state: z.enum(['complete', 'superseded']), rows: z.int() });
export type PrivacyChangeResult = z.infer<typeof privacyChangeResultSchema>;

export default defineOperation({
  name: 'privacy-change',
  summary: 'Correct, restrict or re-permit a person\'s data in every system',
  description:
    'Carries a rectification, a restriction or a decision about a consent into every declared source: finds the person as an erasure would, writes, and reads again. It does not end while anything holds something else: its reasons say what, and who must act. Started by POST /v1/privacy/changes, and by POST /v1/consents with identities.',
  input: privacyChangeInputSchema,
  result: privacyChangeResultSchema,
  signals: { [PRIVACY_CHANGE_RECHECK_SIGNAL]: { description: 'What stood in the way may be gone: try again now.', payload: z.object({}), permission: 'privacy:change' } },
  taskQueue: TASK_QUEUES.core,
  permission: 'privacy:change',
  timeouts: { execution: '400 days' },
  effect: 'idempotent',
  versioning: 'auto-upgrade',
  exposure: 'internal',
});
