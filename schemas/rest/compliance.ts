import { z } from 'zod';

const numbers = z.record(z.string(), z.number());
const day = z.iso.date();
const span = z.object({ from: day, to: day });

export const complianceQuery = z.object({
  from: day.optional().describe('First day (UTC). Default: 90 days ago.'),
  to: day.optional().describe('Last day (UTC). Default: today.'),
});

export const evidenceView = z
  .object({
    at: z.iso.datetime(),
    result: z.enum(['passed', 'failed', 'error']).describe('`error`: the question could not be answered.'),
    numbers: numbers.describe('What was counted.'),
    hash: z.string().describe('SHA-256 over control, time, result, numbers and the hash before.'),
    previousHash: z.string().nullable(),
  })
  .meta({ id: 'Evidence' });

export const controlView = z
  .object({
    id: z.string(),
    title: z.string(),
    clauses: z.record(z.string(), z.array(z.string())).describe('By framework: SOC 2, ISO 27001, GDPR.'),
    tests: z.array(z.string()).describe('Tests of every build that show it.'),
    queries: z.array(z.string()).describe('Questions to the database that show it, asked daily.'),
    state: z.enum(['passing', 'failing', 'not-collected', 'shown-by-tests']),
    last: evidenceView.nullable(),
    coverage: z
      .object({
        covered: z.int(),
        days: z.int(),
        gaps: z.array(span).describe('Without evidence; both days inclusive.'),
        failures: z.array(span).describe('With evidence that did not pass.'),
      })
      .nullable()
      .describe('Days of the period with evidence; null for controls that tests alone show.'),
  })
  .meta({ id: 'Control' });

export const complianceView = z.object({
  from: day,
  to: day,
  controls: z.array(controlView),
  leftToYou: z.record(z.string(), z.array(z.string())).describe('Clauses that no software meets.'),
});

export const controlParams = z.object({ id: z.string().regex(/^[a-z][a-z0-9-]{0,63}$/) });
export const evidenceQuery = z.object({ limit: z.coerce.number().int().min(1).max(500).default(50), before: z.iso.datetime().optional().describe('Only evidence before this time.') });
export const evidenceList = z.object({ items: z.array(evidenceView) });
