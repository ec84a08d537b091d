import { z } from 'zod';
import { bulkActionName } from '../operations/bulk.ts';
import { pageQuery } from './page.ts';
import { runStatus } from './runs.ts';

const time = z.iso.datetime({ offset: true }).transform((text) => new Date(text));

export const bulkBody = z
  .strictObject({
    action: bulkActionName,
    runIds: z.array(z.string().max(200)).min(1).max(1000).optional().describe('These runs.'),
    query: z
      .strictObject({
        type: z.string().max(100).optional(),
        status: runStatus.optional(),
        tag: z.string().max(100).optional(),
        failure: z.string().max(100).optional().describe('Type of the failure, in full.'),
        from: time.optional().describe('Started at or after.'),
        to: time.optional().describe('Started before.'),
      })
      .refine((query) => Object.values(query).some((value) => value !== undefined), 'name at least one condition')
      .optional()
      .describe('The runs, at most 10,000, that match now.'),
    signal: z.strictObject({ name: z.string().min(1).max(100), payload: z.unknown().optional() }).optional().describe('Of `signal`.'),
    reason: z.string().min(1).max(500).default('bulk action'),
    perSecond: z.int().min(1).max(100).default(10).describe('Runs acted on in a second, at the most.'),
  })
  .refine(({ runIds, query }) => (runIds === undefined) !== (query === undefined), 'give either `runIds` or `query`')
  .refine(({ action, signal }) => (action === 'signal') === (signal !== undefined), 'give `signal` with the action `signal`, and only then');

export const bulkParams = z.object({ id: z.uuid() });
export const bulkStarted = z.object({ id: z.uuid(), runId: z.string(), items: z.int() }).meta({ id: 'BulkStarted' });
const itemState = z.enum(['waiting', 'doing', 'done', 'failed', 'aborted']);
const count = z.int();
export const bulkReport = z
  .object({
    id: z.uuid(),
    runId: z.string().describe('The run that works it off: stream it for progress, pause it to wait, cancel it to leave out the rest.'),
    action: bulkActionName,
    createdAt: z.iso.datetime(),
    counts: z.object({ waiting: count, doing: count, done: count, failed: count, aborted: count }),
  })
  .meta({ id: 'BulkReport' });
export const bulkItemQuery = pageQuery.extend({ state: itemState.optional() });
export const bulkItem = z
  .object({ n: z.int(), runId: z.string(), state: itemState, failure: z.string().nullable(), newRunId: z.string().nullable().describe('The run that a retry started.'), at: z.iso.datetime().nullable() })
  .meta({ id: 'BulkItem' });
