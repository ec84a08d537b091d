import { ApplicationFailure, CancellationScope, allHandlersFinished, condition, defineQuery, defineUpdate, isCancellation, proxyActivities, setHandler } from '@temporalio/workflow';
import type { BrowserClosing, BrowserRecordActivities } from '../../activities/browser/activity-contract.ts';
import { BROWSER_END_UPDATE, BROWSER_STEP_UPDATE, RESERVED_QUERIES, type Progress } from '../../schemas/names/messages.ts';
import { TASK_QUEUES } from '../../schemas/names/task-queues.ts';
import type { BrowserSessionInput, BrowserSessionResult, BrowserTurnOutcome } from '../../schemas/operations/browser-session.ts';
import { claim, handOver, onWorker, release, type SessionProgress } from '../browser/held-browser.ts';
import { answerTakeOvers } from '../browser/take-over.ts';

/** A turn as it is asked for: the schema of the contract has checked it. */
interface Turn {
  readonly id: string;
  readonly step?: unknown;
  readonly look?: unknown;
}

/** A browser that nobody uses for so long serves somebody else, ms; the session goes on in another. */
const HELD_MS = 120_000;
/** Turns of one session; the contract says the same. */
const MOST_TURNS = 500;
const IDLE_MINUTES = 30;

const { closeBrowserSession } = proxyActivities<BrowserRecordActivities>({ taskQueue: TASK_QUEUES.core, startToCloseTimeout: '1 minute' });

/** Takes the turns that it is given, in their order, until it is ended or nobody asks for anything. */
export async function browserSession(input: BrowserSessionInput): Promise<BrowserSessionResult> {
  const seen: SessionProgress = { step: 'waiting for a step', steps: 0, takeUps: 0 };
  const waiting: Turn[] = [];
  const outcomes = new Map<string, BrowserTurnOutcome | undefined>();
  const ending = { asked: false, over: false, reason: 'it was ended' };

  setHandler(defineQuery<Progress>(RESERVED_QUERIES.progress), () => ({ step: seen.step, done: seen.steps, total: null, message: seen.takeUps === 0 ? `${String(seen.steps)} steps` : `${String(seen.steps)} steps, taken up ${String(seen.takeUps)} times` }));
  setHandler(defineUpdate<BrowserTurnOutcome, [Turn]>(BROWSER_STEP_UPDATE), async (turn) => {
    if (!outcomes.has(turn.id)) {
      outcomes.set(turn.id, undefined);
      waiting.push(turn);
    }
    await condition(() => outcomes.get(turn.id) !== undefined || ending.over);
    const outcome = outcomes.get(turn.id);
    if (outcome === undefined) throw ApplicationFailure.nonRetryable(`the session ended before the step was taken: ${ending.reason}`, 'RunClosed');
    return outcome;
  }, {
    validator: ({ id }) => {
      if (outcomes.has(id)) return;
      if (ending.asked) throw new Error('the session is ending');
      if (outcomes.size >= MOST_TURNS) throw new Error(`a session takes ${String(MOST_TURNS)} turns at the most: begin another`);
    },
  });
  setHandler(defineUpdate<{ steps: number }, [unknown]>(BROWSER_END_UPDATE), async () => {
    ending.asked = true;
    await condition(() => ending.over);
    return { steps: seen.steps };
  });

  let worker: string | undefined;
  const people = answerTakeOvers(seen, () => worker);
  let state: BrowserClosing['state'] = 'failed';
  try {
    /** Steps that a restart needs again, and the number of the first. */
    let from = 0;
    let steps: unknown[] = [];
    for (;;) {
      seen.step = 'waiting for a step';
      const isAsked = (): boolean => waiting.length > 0 || ending.asked || people.wanted();
      const idleMs = (input.idleMinutes ?? IDLE_MINUTES) * 60_000;
      const heldMs = Math.min(HELD_MS, idleMs);
      if (worker !== undefined && !(await condition(isAsked, heldMs))) {
        await release(worker);
        worker = undefined;
      }
      const isInTime = isAsked() || (await condition(isAsked, Math.max(1, idleMs - heldMs)));
      if (people.wanted()) {
        worker = await people.serve({ input, answered: { from, steps } }, (worker ??= await claim(seen)));
        continue;
      }
      const turn = waiting.shift();
      if (turn === undefined) {
        state = 'done';
        return { steps: seen.steps, end: isInTime ? 'asked' : 'idle' };
      }
      const since = from + steps.length;
      if (turn.step !== undefined) steps.push(turn.step);
      const { outcome, needed } = await take(turn, since);
      outcomes.set(turn.id, outcome);
      steps = steps.slice(Math.max(0, needed - from));
      from = Math.max(from, needed);
    }

    async function take(turn: Turn, since: number): Promise<{ outcome: BrowserTurnOutcome; needed: number }> {
      for (;;) {
        worker ??= await claim(seen);
        if (people.wanted()) {
          worker = await people.serve({ input, answered: { from, steps: steps.slice(0, since - from) } }, worker);
          continue;
        }
        seen.step = 'working';
        const workerQueue = worker;
        const result = await onWorker(workerQueue, seen, ({ takeBrowserTurn }) => takeBrowserTurn({ input, workerQueue, from, steps, since, turn }));
        if (result === undefined) {
          worker = undefined;
          continue;
        }
        seen.steps = Math.max(seen.steps, result.steps);
        if (result.kind === 'answered') return result;
        if (result.kind === 'hand-over') {
          worker = await handOver({ input, workerQueue, seen, reason: result.reason, deadlineSeconds: result.deadlineSeconds });
        }
      }
    }
  } catch (error) {
    if (isCancellation(error)) state = 'cancelled';
    else if (error instanceof ApplicationFailure) ending.reason = error.message;
    throw error;
  } finally {
    seen.step = 'ending';
    ending.asked = true;
    await CancellationScope.nonCancellable(async () => {
      if (worker !== undefined) await release(worker);
      ending.over = true;
      await condition(allHandlersFinished);
      await closeBrowserSession({ state });
    });
  }
}
