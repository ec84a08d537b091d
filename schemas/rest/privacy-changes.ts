import { z } from 'zod';
import { CHANGE_KINDS, CHANGE_STATES, changedTable, rectificationChange, restrictionChange } from '../privacy/change.ts';
import { identities } from './identities.ts';

export const privacyChangeDraft = z.strictObject({
  identities,
  verification: z.string().trim().min(1).max(500).describe("How you made sure that the request is the person's own, and that the values are right. Without personal data."),
  change: z.discriminatedUnion('kind', [rectificationChange, restrictionChange]).describe('Consents change by POST /v1/consents.'),
});
export const privacyChangeView = z
  .object({
    id: z.uuid(),
    runId: z.string(),
    kind: z.enum(CHANGE_KINDS),
    topics: z.array(z.string()).describe('Categories of data, the purpose of a consent, or `processing`. Never a value.'),
    wanted: z.string().describe('`corrected`, `given`, `withdrawn`, `on` or `off`.'),
    state: z.enum(CHANGE_STATES),
    verification: z.string(),
    requestedAt: z.iso.datetime(),
    requestedBy: z.string(),
    dueAt: z.iso.datetime(),
    reasons: z.array(z.string()).describe('What stands in the way, and who must act.'),
    tables: z.array(changedTable).describe('What was found to hold something else, then how much of it was changed.'),
    finishedAt: z.iso.datetime().nullable(),
  })
  .meta({ id: 'PrivacyChange' });
export const privacyChangeSummary = privacyChangeView.omit({ tables: true }).meta({ id: 'PrivacyChangeSummary' });
