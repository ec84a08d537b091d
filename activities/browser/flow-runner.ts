import type { Page } from 'playwright-core';
import type { Flow, FlowStep, Leaf, LeafOf } from '../../schemas/browser/flow.ts';
import type { TurnFailure } from '../../schemas/browser/turn.ts';
import { HalError } from '../../schemas/errors.ts';
import { BrowserError, stepFailed } from './browser-error.ts';
import { captchaOn, type Captcha } from './captcha.ts';
import { holds, waitFor } from './conditions.ts';
import { fill } from './expressions.ts';
import { ComparisonFailed, type Compared } from './compared.ts';
import { explain } from './explanation.ts';
import { FlowMachine, type DueStep, type FlowState, type Proposal, type WordedDue } from './flow-machine.ts';
import { takeStep, webAddress, type StepFile, type StepOutcome, type StepPorts, type Tabs } from './steps.ts';

/** A step as it is put on record. */
export interface StepRecord {
  readonly key: string;
  readonly path: string;
  readonly verb: Leaf['do'];
  readonly name: string | null;
  readonly outcome: 'done' | 'skipped' | 'seen' | 'failed';
  readonly target: string | null;
  readonly way: number | null;
  readonly failure: string | null;
  /** Address of the page afterwards. */
  readonly url: string;
  readonly startedAt: Date;
  readonly endedAt: Date;
  readonly files?: readonly StepFile[] | undefined;
  /** What it compared. */
  readonly compared?: Compared | undefined;
}

/** Where a flow leaves its traces, so that another worker can go on. */
export interface Journal {
  /** Executions of steps with a side effect that were begun and of which no end is known. */
  readonly begun: ReadonlySet<string>;
  /** Durable when it returns: before a step with a guard is taken. */
  begin(step: DueStep): Promise<void>;
  /** Puts a step on record; may return before it is durable. */
  record(record: StepRecord, page: Page): Promise<void>;
  /** From here another worker goes on: taken when it returns, durable before the next one is taken or a step with a guard begins. All that was recorded before is durable with it. */
  checkpoint(state: FlowState): Promise<void>;
}

/** What the flow acts on, besides its tabs. */
export interface FlowSession extends Tabs {
  /** A tab beside the ones of the flow, for a look; close it, or make it the one that steps act on. */
  extraTab(): Promise<Page>;
  /** Makes this tab the one that steps act on and closes the one that was. */
  adopt(page: Page): Promise<void>;
  /** Requests that may have changed something (not GET) since it was last asked. */
  takeEffects(): number;
  /** Rejects when the session ends by itself: a limit, a crash. */
  readonly ended: Promise<never>;
}

/** Why a flow stopped where it is. */
export type FlowOutcome =
  | { readonly kind: 'done'; readonly result: unknown }
  /** A person is needed; the flow goes on after the step. */
  | { readonly kind: 'hand-over'; readonly reason: string; readonly deadlineSeconds: number }
  /** It was asked to stop between two steps. */
  | { readonly kind: 'yielded' }
  /** All steps that were asked for so far are taken, or the last of them failed; more may come. */
  | { readonly kind: 'answered'; readonly failure: TurnFailure | null; readonly value: unknown };

/** What came of showing a CAPTCHA to a model. */
export type CaptchaAttempt =
  | { readonly kind: 'solved' }
  /** It is still there. */
  | { readonly kind: 'wrong'; readonly reason: string }
  /** Asking again makes no sense: there is no such neuron, no budget, or nothing that it could solve. */
  | { readonly kind: 'none'; readonly reason: string };

/** Of a flow whose steps come one by one. */
export interface OpenFlow {
  /** Number of the first of `flow.steps`. */
  readonly from: number;
  /** Number of the first that is new: those before were taken, and answered, already. */
  readonly since: number;
}

export interface FlowRunOptions {
  readonly flow: Flow;
  readonly input: unknown;
  readonly session: FlowSession;
  readonly journal: Journal;
  readonly ports: Omit<StepPorts, 'tabs'>;
  /** Asks a model what a step in words comes to; words are its own, filled in. Default: there is none. */
  readonly propose?: (due: WordedDue, words: string) => Promise<Proposal>;
  /** Shows a CAPTCHA to the model that the flow names, once, and does what it says. Default: there is none. */
  readonly solve?: (captcha: Captcha, tries: number) => Promise<CaptchaAttempt>;
  /** Where to go on; default the beginning. */
  readonly state?: FlowState;
  /** For a flow whose steps come one by one: a step that fails is answered instead of thrown, and the next may follow. */
  readonly open?: OpenFlow;
  /** Whether to stop before the next step. */
  readonly yields?: () => boolean;
  /** Told before each step. */
  readonly onStep?: (due: DueStep, taken: number) => void;
  /** Given where the flow is, when it stops by itself. */
  readonly onState?: (state: FlowState) => void;
  /** Told of each checkpoint: the number of the first step of the flow that a restart needs again. */
  readonly onCheckpoint?: (needed: number) => void;
}

/** Failures of one step: the page is there, and another step may be taken. */
const OF_A_STEP: ReadonlySet<string> = new Set(['StepFailed', 'PictureDiffers', 'EffectUncertain', 'InvalidInput', 'ModelUnavailable', 'BudgetExceeded']);
/** A page that does not let itself be stored after a step failed is given up after this time, ms. */
const STORE_MS = 15_000;

/** Verbs that change neither page nor server: no picture is worth taking of them. */
const QUIET: ReadonlySet<Leaf['do']> = new Set(['set', 'extract', 'pause']);

/** Verbs that only look: requests that leave meanwhile are the page's own doing. */
const LOOKING: ReadonlySet<Leaf['do']> = new Set([...QUIET, 'wait', 'assert', 'screenshot', 'compare', 'pdf', 'scroll', 'hover', 'focus', 'tab']);

/** Whether a step shows in a picture. */
export function isSeen(verb: Leaf['do']): boolean {
  return !QUIET.has(verb);
}

/**
 * Runs a flow step by step until it is done, needs a person or is asked to stop.
 * @throws {BrowserError} when a step fails or the session may not go on.
 */
export async function runFlow({ flow, input, session, journal, ports, propose, solve, state, open, yields, onStep, onState, onCheckpoint }: FlowRunOptions): Promise<FlowOutcome> {
  const machine = new FlowMachine(flow, input, (condition, scope) => holds(session.page(), condition, scope), state, open?.from, proposed);
  const stepPorts: StepPorts = { ...ports, tabs: session };
  let address = session.page().url();
  for (;;) {
    ports.signal.throwIfAborted();
    if (yields?.() === true) {
      onState?.(machine.state);
      return { kind: 'yielded' };
    }
    try {
      const outcome = await advance();
      if (outcome !== undefined) return outcome;
    } catch (error) {
      const failure = open === undefined ? undefined : failureOfStep(error);
      if (open === undefined || failure === undefined) throw error;
      const answered = machine.root < open.since;
      machine.abandon();
      // It failed, and was told so, before the browser died.
      if (answered) continue;
      await within(store(), STORE_MS);
      onState?.(machine.state);
      return { kind: 'answered', failure, value: undefined };
    }
  }

  /** Takes the next step. Answers why the flow stops here, undefined when it goes on. */
  async function advance(): Promise<FlowOutcome | undefined> {
    const due = await machine.next();
    if (due === undefined) {
      if (open === undefined) return { kind: 'done', result: machine.result() };
      onState?.(machine.state);
      return { kind: 'answered', failure: null, value: valueOf(flow.steps.at(-1), machine.state) };
    }
    onStep?.(due, machine.state.taken);
    if (due.step.do === 'hand-over') {
      await store();
      onState?.(machine.state);
      return { kind: 'hand-over', reason: fill(due.step.reason, machine.scope), deadlineSeconds: due.step.deadlineSeconds };
    }
    const obstacle = await guarded(due).then(() => undefined, (error: unknown) => obstacleOf(due, error));
    if (obstacle !== undefined) {
      machine.again();
      if (solve !== undefined && triesLeft(due) > 0) {
        await attempt(solve, due, obstacle);
        return undefined;
      }
      machine.state.asked = due.key;
      await store();
      onState?.(machine.state);
      return { kind: 'hand-over', reason: `${due.path}: a CAPTCHA is in the way (${obstacle.name})`, deadlineSeconds: flow.captcha.deadlineSeconds };
    }
    const moved = session.page().url() !== address;
    if (moved || session.takeEffects() > 0 || due.step.guard !== undefined) await store();
    return undefined;
  }

  /** The CAPTCHA because of which a step could not be taken; a person is asked once for each. @throws what the step failed with, when it is something else. */
  async function obstacleOf(due: DueStep, error: unknown): Promise<Captcha> {
    if (!(error instanceof BrowserError) || error.type !== 'StepFailed') throw error;
    const captcha = await captchaOn(session.page()).catch(() => undefined); // a page that cannot be looked at shows none
    if (captcha === undefined) throw error;
    if (triesLeft(due) === 0 && (flow.captcha.do === 'fail' || machine.state.asked === due.key)) throw new BrowserError('StepFailed', `${error.message}; a CAPTCHA stands on the page (${captcha.name})`, { cause: error });
    return captcha;
  }

  /** How often a model may still be asked to solve a CAPTCHA for a step: never again once a person was. */
  function triesLeft(due: DueStep): number {
    if (solve === undefined || flow.captcha.neuron === undefined || machine.state.asked === due.key) return 0;
    return flow.captcha.tries - (machine.state.solving?.key === due.key ? machine.state.solving.tries : 0);
  }

  /** Has a model look at a CAPTCHA, try by try, each on record and counted before it is made. Whether it is solved shows when the step is taken again. */
  async function attempt(show: NonNullable<FlowRunOptions['solve']>, due: DueStep, first: Captcha): Promise<void> {
    for (let captcha: Captcha | undefined = first; captcha !== undefined && triesLeft(due) > 0; captcha = await captchaOn(session.page()).catch(() => undefined)) { // as above
      const tries = flow.captcha.tries - triesLeft(due) + 1;
      machine.state.solving = { key: due.key, tries };
      await store();
      const startedAt = new Date();
      const tried = await Promise.race([show(captcha, tries), session.ended]);
      await journal.record({ ...described(due), key: `${due.key}#captcha${String(tries)}`, verb: 'act', name: `CAPTCHA: ${captcha.name}`, outcome: tried.kind === 'solved' ? 'done' : 'failed', target: null, way: null, failure: tried.kind === 'solved' ? null : tried.reason, url: session.page().url(), startedAt, endedAt: new Date() }, session.page());
      if (tried.kind === 'none') machine.state.solving = { key: due.key, tries: flow.captcha.tries };
      if (tried.kind === 'solved') break;
    }
    session.takeEffects();
    await store();
  }

  /** Puts the asking on record like any other step. */
  async function proposed(due: WordedDue): Promise<Proposal> {
    const startedAt = new Date();
    const note = (failure: string | null): Promise<void> =>
      journal.record({ ...described(due), outcome: failure === null ? 'done' : 'failed', target: null, way: null, failure, url: session.page().url(), startedAt, endedAt: new Date() }, session.page());
    try {
      if (propose === undefined) throw new BrowserError('ModelUnavailable', 'no model is configured for steps in words');
      const proposal = await Promise.race([propose(due, fill(due.step.words, machine.scope)), session.ended]);
      await note(null);
      return proposal;
    } catch (error) {
      if (ports.signal.aborted) throw error;
      const failure = explain(error);
      await note(failure.message);
      throw new BrowserError(failure.type, `${due.path} (${due.step.name ?? due.step.do}): ${failure.message}`, { cause: error });
    }
  }

  async function store(): Promise<void> {
    await journal.checkpoint(machine.state);
    onCheckpoint?.(machine.state.frames.length > 1 ? machine.root : machine.root + 1);
    address = session.page().url();
  }

  async function guarded(due: DueStep): Promise<void> {
    const { step } = due;
    if (journal.begun.has(due.key) && !LOOKING.has(step.do) && step.repeatable !== true) {
      if (step.guard === undefined) throw new BrowserError('EffectUncertain', `${due.path}: the worker died while this step was changing something, and the step has no guard that tells whether it happened`);
      if (await happened(step.guard)) {
        await journal.record({ ...described(due), outcome: 'seen', target: null, way: null, failure: null, url: session.page().url(), startedAt: new Date(), endedAt: new Date() }, session.page());
        return;
      }
    }
    if (step.guard !== undefined) await journal.begin(due);
    await take(due);
  }

  async function take(due: DueStep): Promise<void> {
    const startedAt = new Date();
    const timeoutMs = (due.step.timeoutSeconds ?? flow.stepSeconds) * 1000;
    let outcome: StepOutcome;
    try {
      outcome = await Promise.race([takeStep(due.step, machine.scope, stepPorts, timeoutMs), session.ended]);
    } catch (error) {
      const failure = explain(error);
      await journal.record({ ...described(due), outcome: 'failed', target: null, way: null, failure: failure.message, url: session.page().url(), startedAt, endedAt: new Date(), ...(error instanceof ComparisonFailed ? { compared: error.compared } : {}) }, session.page());
      throw new BrowserError(failure.type, `${due.path} (${due.step.name ?? due.step.do}): ${failure.message}`, { cause: error });
    }
    if (outcome.set !== undefined) machine.state.vars[outcome.set.as] = outcome.set.value;
    await journal.record({ ...described(due), outcome: outcome.skipped === true ? 'skipped' : 'done', target: outcome.target, way: outcome.way, failure: null, url: session.page().url(), startedAt, endedAt: new Date(), compared: outcome.compared, files: outcome.files }, session.page());
  }

  /** Looks whether the effect of a cut-off step is there; the flow then goes on from the page that shows it. */
  async function happened(guard: NonNullable<LeafOf<'click'>['guard']>): Promise<boolean> {
    const { scope } = machine;
    const withinMs = guard.withinSeconds * 1000;
    if (guard.at === undefined) return waitFor(() => session.page(), guard.seen, scope, withinMs, ports.signal);
    const tab = await session.extraTab();
    const answer = await tab.goto(webAddress(fill(guard.at, scope)), { timeout: flow.stepSeconds * 1000 });
    if (answer !== null && answer.status() >= 500) throw stepFailed(`the guard's page answered ${String(answer.status())}`);
    const seen = await waitFor(() => tab, guard.seen, scope, withinMs, ports.signal);
    if (seen) await session.adopt(tab);
    else await tab.close();
    return seen;
  }
}

function described({ key, path, step }: DueStep | WordedDue): Pick<StepRecord, 'key' | 'path' | 'verb' | 'name'> {
  return { key, path, verb: step.do, name: step.name ?? null };
}

/** As it may be told; undefined for what ends the session. */
function failureOfStep(error: unknown): TurnFailure | undefined {
  if (!(error instanceof BrowserError || error instanceof HalError) || !OF_A_STEP.has(error.type)) return undefined;
  return { type: error.type, message: error.message };
}

function valueOf(step: FlowStep | undefined, { vars }: FlowState): unknown {
  return step !== undefined && 'as' in step ? vars[step.as] : undefined;
}

async function within(work: Promise<void>, ms: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  try {
    await Promise.race([work, new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new BrowserError('PageCrashed', 'the page does not answer any more')), ms);
    })]);
  } finally {
    clearTimeout(timer);
  }
}
