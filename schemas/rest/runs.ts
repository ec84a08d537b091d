import { z } from 'zod';
import { pageQuery } from './page.ts';

export const runStatus = z.enum(['running', 'completed', 'failed', 'cancelled', 'terminated', 'timed-out']);
export const runIdParams = z.object({ id: z.string().max(200).describe('`runId` as the start answered it.') });
export const messageParams = runIdParams.extend({ name: z.string().max(100).describe('Name of the message, from the catalogue.') });

const tag = z.string().min(1).max(100).regex(/^[\x20-\x7e]+$/, 'printable ASCII only');

/** What a start takes besides the input; the input's own schema is the operation's. */
export const startOptions = z.strictObject({
  input: z.unknown().optional().describe('What the operation takes; its schema is in the catalogue.'),
  tags: z.array(tag).max(20).optional().describe('Labels to find the run by. No personal data.'),
  delaySeconds: z.number().min(0).max(365 * 86_400).optional().describe('Time before the run begins.'),
});

const links = z.object({
  self: z.string(),
  result: z.string(),
  temporal: z.string().optional().describe('The run in the Temporal UI, where one is configured.'),
});

export const runOutcome = z
  .object({
    status: runStatus,
    result: z.unknown().optional().describe('The result, once completed.'),
    failure: z.object({ type: z.string(), message: z.string() }).optional().describe('Why it did not complete.'),
  })
  .meta({ id: 'RunOutcome' });

export const startedRun = z
  .object({
    runId: z.string(),
    operation: z.string(),
    status: runStatus,
    created: z.boolean().describe('False when the run was there already: same Idempotency-Key, or same id by the operation\'s rule.'),
    traceId: z.string(),
    links,
    outcome: runOutcome.optional().describe('With `Prefer: wait=<seconds>` and an end within that time.'),
  })
  .meta({ id: 'StartedRun' });

export const runSummary = z
  .object({
    runId: z.string(),
    operation: z.string(),
    status: runStatus,
    origin: z.string().describe('What started it: `api`, `decision`, `schedule` or `dispatcher`.'),
    tags: z.array(z.string()),
    startedBy: z.string().nullable(),
    startedAt: z.iso.datetime(),
    closedAt: z.iso.datetime().nullable(),
    failure: z.string().nullable().describe('Type of the failure that ended it.'),
  })
  .meta({ id: 'Run' });

export const runDetail = runSummary
  .extend({
    source: z.enum(['temporal', 'read-model']),
    progress: z.object({ step: z.string(), done: z.number(), total: z.number().nullable(), message: z.string() }).nullable(),
    pendingActivities: z.array(
      z.object({
        name: z.string(),
        state: z.enum(['scheduled', 'running', 'retrying', 'cancelling', 'paused']),
        attempt: z.int(),
        nextAttemptAt: z.iso.datetime().nullable(),
        lastFailure: z.object({ type: z.string(), message: z.string() }).nullable(),
        explanation: z.string(),
      }),
    ),
    historyLength: z.int().nullable(),
    temporalRunId: z.string().nullable(),
    links,
  })
  .meta({ id: 'RunDetail' });

export const runQuery = pageQuery.extend({
  limit: z.coerce.number().int().min(1).max(200).default(50).describe('Most runs of the page.'),
  type: z.string().max(100).optional().describe('Name of the operation.'),
  status: runStatus.optional(),
  tag: z.string().max(100).optional(),
  from: z.iso.datetime({ offset: true }).transform((text) => new Date(text)).optional().describe('Started at or after.'),
  to: z.iso.datetime({ offset: true }).transform((text) => new Date(text)).optional().describe('Started before.'),
});

export const resultQuery = z.object({ waitSeconds: z.coerce.number().min(0).max(60).default(0).describe('How long to wait for an open run to end.') });

export const messageBody = z.strictObject({ payload: z.unknown().optional().describe('What the message takes; its schema is in the catalogue.') });
export const messageAnswer = z.object({ answer: z.unknown() });
export const terminateBody = z.strictObject({ reason: z.string().trim().min(1).max(500).describe('Kept in the run\'s history.') });
