import { z } from 'zod';
import { flowSchema } from '../browser/flow.ts';
import { APPROVAL_UPDATE, BROWSER_ATTEND_SIGNAL, BROWSER_HAND_BACK_UPDATE, BROWSER_TAKE_OVER_UPDATE } from '../names/messages.ts';
import { TASK_QUEUES } from '../names/task-queues.ts';
import { approvalAnswerSchema, approvalTallySchema } from './approval.ts';
import { defineOperation } from './operation.ts';

/** How long a person has a session that they took over, and what happens when they do not give it back. */
export const takeOverSchema = z
  .strictObject({
    deadlineSeconds: z.int().min(10).max(604_800).default(3600).describe('From the moment on that the page is theirs.'),
    late: z.enum(['fail', 'go-on']).default('fail').describe('When it is not given back by then: the run fails with HandOverRefused, or goes on with the page as it is.'),
  })
  .default({ deadlineSeconds: 3600, late: 'fail' });
export type TakeOver = z.output<typeof takeOverSchema>;

/** Messages by which people take a session over and give it back. */
export const takeOverUpdates = {
  [BROWSER_TAKE_OVER_UPDATE]: { description: 'A person takes the session over: it stops before its next step. POST /v1/runs/{id}/browser-take-over sends it and opens the live page.', payload: takeOverSchema, answer: z.object({}) },
  [BROWSER_HAND_BACK_UPDATE]: { description: 'The person gives the session back; POST /v1/runs/{id}/browser-hand-back sends it.', payload: z.strictObject({}).default({}), answer: z.object({}) },
} as const;

export const browserInputSchema = z.strictObject({
  flow: flowSchema,
  input: z.record(z.string(), z.unknown()).default({}).describe('What expressions see as `input`.'),
  connection: z.string().max(200).optional().describe('Connection that carries the question when a person must take over; default the one named `approvals`.'),
});

export const browserResultSchema = z.object({
  /** What the flow's `result` answers, or all its variables. */
  result: z.unknown(),
  /** Steps that were taken, restarts not counted. */
  steps: z.int(),
});
export type BrowserInput = z.input<typeof browserInputSchema>;
export type BrowserResult = z.infer<typeof browserResultSchema>;

export default defineOperation({
  name: 'browser',
  summary: 'Work through a web site in a real browser, surviving the death of browser and worker',
  description:
    'Takes the steps of a flow in a Chromium of a browser worker. Cookies, storage, tabs and the place in the flow are checkpointed, sealed, at every navigation and side effect: when browser or worker die, another worker goes on, signed in, and a step with a guard is never done twice. What pages may reach is decided by a proxy outside of the page.',
  input: browserInputSchema,
  result: browserResultSchema,
  signals: { [BROWSER_ATTEND_SIGNAL]: { description: 'A person wants to look: a session that waits for one gets a browser again.', payload: z.object({}) } },
  updates: {
    ...takeOverUpdates,
    [APPROVAL_UPDATE]: { description: 'The answer of a person who was asked to take over. Sent by POST /v1/approvals/{id}/approve and /refuse and by approval links, which sign it.', payload: approvalAnswerSchema, answer: approvalTallySchema },
  },
  errors: {
    StepFailed: { owner: 'user', retryable: false, status: 422, title: 'A step of the flow could not be taken', remedy: 'See the picture of the step in the evidence of the run; mend the step or the locator.' },
    PictureDiffers: { owner: 'user', retryable: false, status: 422, title: 'A page does not look like its baseline', remedy: 'Look at the difference in the evidence of the run: mend the page, mask what changes by itself, or accept the new picture as the baseline.' },
    SessionLimit: { owner: 'user', retryable: false, status: 422, title: 'The session took more than it may', remedy: 'Raise the limit that the failure names, or find out what the page does.' },
    EffectUncertain: { owner: 'outside', retryable: false, status: 409, title: 'Nobody knows whether a step had its effect', remedy: 'Look at the site, then start again behind the step; give the step a guard.' },
    PageCrashed: { owner: 'outside', retryable: false, status: 424, title: 'The page crashed', remedy: 'Pages that take more memory than one may are ended; see HAL9_BROWSER_PAGE_MB.' },
    ModelUnavailable: { owner: 'user', retryable: false, status: 424, title: 'No model answers for a step in words', remedy: 'Make a connection of kind `llm` and a neuron of kind `llm` named `browser` (or as the flow\'s `neuron` says), or write the step with a locator.' },
    HandOverRefused: { owner: 'user', retryable: false, status: 409, title: 'Nobody took over', remedy: 'The person who was asked refused, or the deadline passed, or who took over did not give back in time; start again when somebody can.' },
  },
  taskQueue: TASK_QUEUES.core,
  permission: 'runs:write',
  timeouts: { execution: '14 days' },
  meter: 'browser-seconds',
  effect: 'irreversible',
  versioning: 'auto-upgrade',
});
