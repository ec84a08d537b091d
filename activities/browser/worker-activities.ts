import { activityInfo, ApplicationFailure, cancellationSignal, CancelledFailure, heartbeat } from '@temporalio/activity';
import { v5 } from 'uuid';
import { z } from 'zod';
import { flowSchema, stepSchema } from '../../schemas/browser/flow.ts';
import { turnSchema } from '../../schemas/browser/turn.ts';
import { HalError } from '../../schemas/errors.ts';
import { browserTaskQueue } from '../../schemas/names/task-queues.ts';
import { browserInputSchema } from '../../schemas/operations/browser.ts';
import { browserSessionInputSchema, MOST_TURNS } from '../../schemas/operations/browser-session.ts';
import { activityRun } from '../activity-run.ts';
import { beating } from '../beating.ts';
import type { BrowserActivities } from './activity-contract.ts';
import { BrowserError } from './browser-error.ts';
import { BrowserGone } from './chromium-pool.ts';
import { checkFlow } from './flow-check.ts';
import { SessionLost } from './session-journal.ts';
import type { SessionName, SessionWorker } from './session-worker.ts';

/** How long one claim waits here before it is offered to any worker again, ms. */
const CLAIM_MS = 20_000;
/** Settings of a session have no steps, a flow has one at least: it is replaced. */
const WAIT_FOR_STEPS = { do: 'pause', seconds: 1 };
const answeredSchema = z.array(stepSchema).max(MOST_TURNS);
/** Namespace of session ids, which are made of execution ids. */
const SESSIONS = '7d9f5b0e-6f0c-4b7b-9f36-0f4d1e1f5a55';

/** What a browser worker does, on its own queue and on the one where slots are given out. */
export function createBrowserActivities(worker: SessionWorker, workerId: string): BrowserActivities {
  return {
    async claimBrowser() {
      const name = sessionName();
      return beating(async () => ({ workerQueue: (await worker.claim(name, CLAIM_MS)) ? browserTaskQueue(workerId) : null }));
    },
    async runBrowserSegment({ input: given }) {
      const name = sessionName();
      const { flow, input } = parsed(browserInputSchema, given);
      return beating(async () => {
        try {
          checkFlow(flow);
          return await worker.work(name, flow, input, cancellationSignal(), (taken) => heartbeat(taken));
        } catch (error) {
          throw failureOf(error);
        }
      });
    },
    async takeBrowserTurn({ input: given, from, steps, since, turn: asked }) {
      const name = sessionName();
      const input = parsed(browserSessionInputSchema, given);
      const turn = parsed(turnSchema, asked);
      const flow = { ...parsed(flowSchema, { ...input.settings, steps: [WAIT_FOR_STEPS] }), steps: parsed(answeredSchema, steps) };
      return beating(async () => {
        try {
          checkFlow(flow);
          return await worker.turn(name, flow, { from, since }, turn, cancellationSignal(), (taken) => heartbeat(taken));
        } catch (error) {
          throw failureOf(error);
        }
      });
    },
    async attendBrowser({ input, answered }) {
      const name = sessionName();
      const interactive = browserSessionInputSchema.safeParse(input);
      const flow = interactive.success ? { ...parsed(flowSchema, { ...interactive.data.settings, steps: [WAIT_FOR_STEPS] }), ...(answered === undefined ? {} : { steps: parsed(answeredSchema, answered.steps) }) } : parsed(browserInputSchema, input).flow;
      await beating(async () => {
        try {
          await worker.attend(name, flow, cancellationSignal(), answered === undefined ? undefined : { from: answered.from, since: answered.from + answered.steps.length });
        } catch (error) {
          throw failureOf(error);
        }
      });
    },
    async interruptBrowser() {
      worker.interrupt(sessionName().id);
    },
    async releaseBrowser() {
      await worker.release(sessionName().id);
    },
  };
}

/** @throws {ApplicationFailure} InvalidInput. */
function parsed<Schema extends z.ZodType>(schema: Schema, given: unknown): z.output<Schema> {
  const outcome = schema.safeParse(given);
  if (!outcome.success) throw ApplicationFailure.nonRetryable(outcome.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`).join('; '), 'InvalidInput');
  return outcome.data;
}

/** The session of the run that asks: one for each execution. */
export function sessionName(): SessionName {
  const execution = activityInfo().workflowExecution;
  const { orgId, runId } = activityRun();
  return { orgId, id: v5(`${execution?.workflowId ?? ''}\n${execution?.runId ?? ''}`, SESSIONS), runId };
}

function failureOf(error: unknown): unknown {
  if (error instanceof CancelledFailure) return error;
  if (error instanceof BrowserGone || error instanceof SessionLost) return ApplicationFailure.retryable(error.message, 'BrowserGone');
  if (error instanceof BrowserError) return ApplicationFailure.nonRetryable(error.message, error.type);
  if (error instanceof HalError && error.type !== 'Internal' && error.type !== 'DependencyUnavailable') return ApplicationFailure.nonRetryable(error.message, error.type);
  return error;
}
