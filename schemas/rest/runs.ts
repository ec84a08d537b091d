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
  timeoutSeconds: z.number().min(1).optional().describe('Time the run may take; default and most: what its operation allows.'),
  priority: z.int().min(1).max(5).optional().describe('1 is served first, 5 last; default 3. Organisations of one priority take turns.'),
  memo: z.record(z.string().min(1).max(100), z.string().max(1000)).refine((memo) => Object.keys(memo).length <= 20, 'at most 20 remarks').optional().describe('Remarks for people, kept encrypted and shown with the run.'),
  concurrency: z
    .strictObject({ key: z.string().min(1).max(500).describe('Only its HMAC is kept.'), limit: z.int().min(1).max(1000).describe('Runs at once.'), onConflict: z.enum(['queue', 'reject', 'cancel-running', 'cancel-newest']).default('queue') })
    .optional()
    .describe("So many runs of the operation at once for the key, instead of the operation's own rule."),
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
    queued: z.boolean().optional().describe('True when it waits for its turn: as many runs as its concurrency key allows are open.'),
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
    pausedAt: z.iso.datetime().nullable().describe('Since when it is held before its next step.'),
    retryOf: z.string().nullable().describe('The run whose input it was started with again.'),
    retriedBy: z.string().nullable().describe('The run that was started with its input.'),
    epoch: z.int().describe('How often it was replayed from a step.'),
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
    lease: z.object({ state: z.enum(['queued', 'held']), token: z.int().nullable() }).nullable().describe('Of its concurrency key, with the fencing token; with `include=pending`.'),
    memo: z.record(z.string(), z.string()).describe('Remarks of who started it; with `include=pending`.'),
    links,
  })
  .meta({ id: 'RunDetail' });

export const runQuery = pageQuery.extend({
  limit: z.coerce.number().int().min(1).max(200).default(50).describe('Most runs of the page.'),
  type: z.string().max(100).optional().describe('Name of the operation.'),
  status: runStatus.optional(),
  tag: z.string().max(100).optional(),
  failure: z.string().max(100).optional().describe('Part of the type of the failure.'),
  startedBy: z.string().max(300).optional().describe('`<kind>:<id>`, as runs say it.'),
  origin: z.string().max(100).optional().describe('What started it, one or several with commas between: `api`, `decision`, `automation`, `schedule`, `dispatcher`.'),
  from: z.iso.datetime({ offset: true }).transform((text) => new Date(text)).optional().describe('Started at or after.'),
  to: z.iso.datetime({ offset: true }).transform((text) => new Date(text)).optional().describe('Started before.'),
});

export const resultQuery = z.object({ waitSeconds: z.coerce.number().min(0).max(60).default(0).describe('How long to wait for an open run to end.') });

export const messageBody = z.strictObject({ payload: z.unknown().optional().describe('What the message takes; its schema is in the catalogue.') });
export const messageAnswer = z.object({ answer: z.unknown() });
export const terminateBody = z.strictObject({ reason: z.string().trim().min(1).max(500).describe('Kept in the run\'s history.') });

export const readQuery = z.object({ include: z.literal('pending').optional().describe('Asks Temporal now, for what an open run waits for, its progress to the moment and its memo; otherwise the answer is that of the read model, usually some hundred milliseconds behind.') });
export const historyQuery = z.object({ payloads: z.stringbool().default(false).describe('With inputs and results; needs the permission `codec:decode`.') });

const stepKind = z.enum(['run', 'activity', 'local-activity', 'child', 'timer', 'signal', 'update', 'cancellation']);
const stepState = z.enum(['open', 'running', 'completed', 'failed', 'timed-out', 'cancelled', 'terminated']);
const repeatedSteps = z.array(z.object({ eventId: z.int(), kind: stepKind, name: z.string(), state: stepState, attempts: z.int() }));

export const runHistory = z
  .object({
    steps: z.array(
      z.object({
        eventId: z.int(),
        replayable: z.boolean().describe('Whether `POST /v1/runs/{id}/replay` may begin here.'),
        kind: stepKind,
        name: z.string(),
        startedAt: z.iso.datetime(),
        endedAt: z.iso.datetime().nullable(),
        attempts: z.int(),
        state: stepState,
        failure: z.object({ type: z.string(), message: z.string() }).nullable(),
        input: z.unknown().optional(),
        result: z.unknown().optional(),
      }),
    ),
    events: z.int().describe('Events of Temporal it was folded from.'),
  })
  .meta({ id: 'RunHistory' });

export const runRecording = z.object({ workflowId: z.string(), history: z.looseObject({}).describe('Events as Temporal keeps them (`temporal.api.history.v1.History`); bytes are base64.') }).meta({ id: 'RunRecording' });

export const failuresQuery = z.object({
  type: z.string().max(100).optional().describe('Name of the operation.'),
  from: z.iso.datetime({ offset: true }).transform((text) => new Date(text)).optional().describe('Ended at or after; default seven days ago.'),
  to: z.iso.datetime({ offset: true }).transform((text) => new Date(text)).optional().describe('Ended before; default now.'),
  limit: z.coerce.number().int().min(1).max(200).default(50),
});
export const failureGroup = z
  .object({ operation: z.string(), failure: z.string(), count: z.int(), firstAt: z.iso.datetime(), lastAt: z.iso.datetime(), samples: z.array(z.string()).describe('Ids of the latest of them.') })
  .meta({ id: 'FailureGroup' });

export const changedAnswer = z.object({ changed: z.boolean().describe('False when it was so already.') });
export const replayBody = z.strictObject({
  fromEvent: z.int().min(1).optional().describe('`eventId` of the step to begin at, from the history; default the first that failed.'),
  dryRun: z.boolean().default(false).describe('Only show what would be repeated.'),
  reason: z.string().min(1).max(500).default('replayed by an operator'),
});
export const replayAnswer = z
  .object({
    dryRun: z.boolean(),
    runId: z.string(),
    epoch: z.int().describe('Counts the replays of the run, this one included.'),
    effect: z.enum(['pure', 'idempotent', 'irreversible']).optional().describe('What a second execution of the operation does to the world; with `dryRun`.'),
    repeated: repeatedSteps.describe('Steps that happened and happen again.'),
  })
  .meta({ id: 'Replay' });

export const runEvent = z
  .object({ seq: z.int(), type: z.enum(['started', 'progress', 'paused', 'resumed', 'retried', 'replayed', 'closed']), at: z.iso.datetime(), data: z.record(z.string(), z.unknown()) })
  .meta({ id: 'RunEvent' });
