import { z } from 'zod';
import { RETENTION_STATES, retentionTable } from '../privacy/retention.ts';

export const retentionReport = z
  .object({
    id: z.uuid(),
    runId: z.string(),
    source: z.string(),
    dryRun: z.boolean(),
    state: z.enum(RETENTION_STATES).describe('`counted`: a dry run; `refused`: nothing was deleted, see the reasons; `incomplete`: something that has expired is still there.'),
    reasons: z.array(z.string()),
    startedAt: z.iso.datetime(),
    finishedAt: z.iso.datetime().nullable(),
    tables: z.array(retentionTable),
  })
  .meta({ id: 'RetentionReport' });
export const retentionReportSummary = retentionReport.omit({ tables: true }).meta({ id: 'RetentionReportSummary' });
