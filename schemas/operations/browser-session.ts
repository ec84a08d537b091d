import { z } from 'zod';
import { sessionSettingsSchema } from '../browser/flow.ts';
import { turnFailureSchema, turnSchema } from '../browser/turn.ts';
import { APPROVAL_UPDATE, BROWSER_ATTEND_SIGNAL, BROWSER_END_UPDATE, BROWSER_STEP_UPDATE } from '../names/messages.ts';
import { TASK_QUEUES } from '../names/task-queues.ts';
import { approvalAnswerSchema, approvalTallySchema } from './approval.ts';
import browser, { takeOverUpdates } from './browser.ts';
import { defineOperation } from './operation.ts';

/** Turns of one session: what it is asked for lives in one history. */
export const MOST_TURNS = 500;

export const browserSessionInputSchema = z.strictObject({
  settings: sessionSettingsSchema.prefault({}),
  idleMinutes: z.number().positive().max(1440).default(30).describe('Without a step for so long the session ends.'),
  connection: z.string().max(200).optional().describe('Connection that carries the question when a person must take over; default the one named `approvals`.'),
});

export const browserSessionResultSchema = z.object({
  /** Steps that were asked for. */
  steps: z.int(),
  /** Why it ended. */
  end: z.enum(['asked', 'idle']),
});

/** What the run answers to one turn; what the page showed is behind the reference. */
export const browserTurnOutcomeSchema = z.object({
  failure: turnFailureSchema.nullable(),
  /** Blob of the answer, sealed; gone once the session has ended. */
  answer: z.string(),
});
export type BrowserSessionInput = z.input<typeof browserSessionInputSchema>;
export type BrowserSessionResult = z.infer<typeof browserSessionResultSchema>;
export type BrowserTurnOutcome = z.infer<typeof browserTurnOutcomeSchema>;

export default defineOperation({
  name: 'browser-session',
  summary: 'A browser that takes one step after the other as it is told, surviving the death of browser and worker',
  description:
    'An interactive session: steps come one by one, over `POST /v1/runs/{id}/browser-turns` or the tools of the MCP server. Each goes through the same journal, guards, proxy and limits as those of a flow; a step that fails is answered, and the session goes on.',
  input: browserSessionInputSchema,
  result: browserSessionResultSchema,
  signals: { [BROWSER_ATTEND_SIGNAL]: { description: 'A person wants to look: a session that waits for one gets a browser again.', payload: z.object({}) } },
  updates: {
    [BROWSER_STEP_UPDATE]: { description: 'Takes a step, looks at the page, or both; POST /v1/runs/{id}/browser-turns sends it and answers what was seen.', payload: turnSchema, answer: browserTurnOutcomeSchema },
    [BROWSER_END_UPDATE]: { description: 'Ends the session once what was asked before is done.', payload: z.strictObject({}).default({}), answer: z.object({ steps: z.int() }) },
    ...takeOverUpdates,
    [APPROVAL_UPDATE]: { description: 'The answer of a person who was asked to take over. Sent by POST /v1/approvals/{id}/approve and /refuse and by approval links, which sign it.', payload: approvalAnswerSchema, answer: approvalTallySchema },
  },
  errors: browser.errors,
  taskQueue: TASK_QUEUES.core,
  permission: 'runs:write',
  timeouts: { execution: '2 days' },
  meter: 'browser-seconds',
  effect: 'irreversible',
  versioning: 'auto-upgrade',
});
