import { ActivityCancellationType, ActivityFailure, allHandlersFinished, ApplicationFailure, condition, defineQuery, isCancellation, log, proxyActivities, setHandler } from '@temporalio/workflow';
import { hostTaskQueue } from '../../schemas/names/task-queues.ts';
import { CAUSES, REMEDY_QUERY } from '../../schemas/names/remedies.ts';
import { RESERVED_QUERIES, type Progress } from '../../schemas/names/messages.ts';
import type { RemediateInput, RemediateResult, RemedyAttempt } from '../../schemas/operations/remediate.ts';
import type { ActionTarget } from '../../activities/host/action.ts';
import type { HostActivities } from '../../activities/host/index.ts';
import type { RemediationActivities } from '../../activities/remediation/index.ts';
import type { Evidence } from '../../activities/host/evidence.ts';
import { confirmedRemedy, isKnownCause, type Remedy, type RemedyStep } from './remedy.ts';
import { awaitApproval } from '../approval/await-approval.ts';

/** One person who may answer approvals, within a day. */
const APPROVAL = { permission: 'approvals:write', required: 1, deadlineSeconds: 86_400 };

/** What a query sees of a running remedy. */
interface RemedyState {
  step: 'evidence' | 'approval' | 'action' | 'check' | 'escalation' | 'done';
  cause: string;
  attempts: RemedyAttempt[];
  planned: number;
}

const { escalate } = proxyActivities<RemediationActivities>({ startToCloseTimeout: '30 seconds', retry: { maximumInterval: '30 seconds' } });

/** Evidence, the mildest action, a check, the next action; people when nothing helps. */
export async function remediate(given: RemediateInput): Promise<RemediateResult> {
  const state: RemedyState = { step: 'evidence', cause: given.cause, attempts: [], planned: 1 };
  setHandler(defineQuery<Progress>(RESERVED_QUERIES.progress), () => progressOf(state));
  setHandler(defineQuery<Omit<RemedyState, 'planned'>>(REMEDY_QUERY), () => ({ step: state.step, cause: state.cause, attempts: state.attempts }));
  const agent = agentOf(given.hostId);

  const seen = await agent.gatherEvidence(given).catch(unlessCancelled);
  if (seen instanceof Error) return closed(given, state, null, { helped: false, reason: `no evidence: ${reasonOf(seen)}` });
  const { input, evidence } = seen;
  if (!isKnownCause(input.cause)) return closed(input, state, evidence, { helped: false, reason: `no remedy is known for "${input.cause}"` });
  const remedy = confirmedRemedy(input.cause, evidence, input.suspect);
  // Nothing seen of a pile-up means nothing when PostgreSQL could not be asked: people must look.
  if (remedy === undefined && input.cause === CAUSES.lockPileUp && typeof evidence.sessionsFailure === 'string') {
    return closed(input, state, evidence, { helped: false, reason: `no evidence: ${evidence.sessionsFailure}` });
  }
  if (remedy === undefined) return closed(input, state, evidence, { helped: true, reason: 'the symptom was gone before any action' });
  state.cause = remedy.cause;
  state.planned = remedy.steps.length;
  if (input.dryRun) return closed(input, state, evidence, { helped: false, reason: `dry run: would ${remedy.steps.map(stepText).join(', then ')}; ${remedy.finding}` }, remedy);

  for (const step of remedy.steps) {
    const attempt = await take(agent, input, evidence, remedy, step, state);
    state.attempts.push(attempt);
    if (attempt.helped) return closed(input, state, evidence, { helped: true, reason: `${remedy.finding}; ${attempt.detail}` }, remedy);
    if (step.prepares) continue;
    // What the policy or a person forbids now it forbids in a minute: stronger actions are not asked for.
    if (attempt.state === 'refused' || attempt.state === 'denied') break;
  }
  const last = state.attempts.at(-1);
  return closed(input, state, evidence, { helped: false, reason: `${remedy.finding}; ${last === undefined ? 'nothing was tried' : `${last.action} ${last.state}: ${last.detail}`}` }, remedy);
}

type Agent = ReturnType<typeof agentOf>;

/** The agent's activities. One that does not answer within a minute is a reason to call people, not to wait. */
function agentOf(hostId: string) {
  const taskQueue = hostTaskQueue(hostId);
  const common = { taskQueue, scheduleToStartTimeout: '1 minute', heartbeatTimeout: '10 seconds', retry: { initialInterval: '500 milliseconds', maximumInterval: '5 seconds', maximumAttempts: 5 } } as const;
  const { gatherEvidence } = proxyActivities<HostActivities>({ ...common, heartbeatTimeout: undefined, startToCloseTimeout: '20 seconds' });
  const { takeAction } = proxyActivities<HostActivities>({ ...common, startToCloseTimeout: '1 minute', cancellationType: ActivityCancellationType.WAIT_CANCELLATION_COMPLETED });
  const { awaitRecovery } = proxyActivities<HostActivities>({ ...common, startToCloseTimeout: '12 minutes' });
  return { gatherEvidence, takeAction, awaitRecovery };
}

async function take(agent: Agent, input: RemediateInput, evidence: Evidence, remedy: Remedy, step: RemedyStep, state: RemedyState): Promise<RemedyAttempt> {
  const attempt = { action: step.action, target: targetWords(step.target), helped: false };
  const needsApproval = evidence.policy.approval.includes(step.action);
  if (needsApproval) {
    state.step = 'approval';
    const approval = await awaitApproval({ summary: `${stepText(step)} on ${input.hostId}`, reason: remedy.finding, approval: APPROVAL, connection: input.escalateTo });
    if (approval.state !== 'approved') return { ...attempt, state: 'denied', detail: approval.reason, at: now() };
  }
  state.step = 'action';
  const answer = await agent
    .takeAction({ incidentId: input.incidentId, cause: remedy.cause, step: state.attempts.length + 1, action: step.action, target: step.target, approved: needsApproval })
    .catch(unlessCancelled);
  if (answer instanceof Error) return { ...attempt, state: isRefusal(answer) ? 'refused' : 'failed', detail: reasonOf(answer), at: now() };
  if (answer.state === 'failed') return { ...attempt, ...answer, at: now() };
  if (step.prepares) return { ...attempt, ...answer, at: now() };
  state.step = 'check';
  const check = await agent.awaitRecovery(remedy.symptom, input.checkSeconds).catch(unlessCancelled);
  if (check instanceof Error) return { ...attempt, state: 'done', detail: `${answer.detail}; not checked: ${reasonOf(check)}`, at: now() };
  const measured = `${round(check.reading.value)} ${check.reading.unit} after it, ${round(check.reading.limit)} is normal`;
  return { ...attempt, state: 'done', detail: `${answer.detail}; ${measured}`, helped: check.helped, at: now() };
}

interface Ending {
  readonly helped: boolean;
  readonly reason: string;
}

async function closed(input: RemediateInput, state: RemedyState, evidence: Evidence | null, { helped, reason: ending }: Ending, remedy?: Remedy): Promise<RemediateResult> {
  let reason = ending;
  const escalated = !helped && !input.dryRun;
  if (escalated) {
    state.step = 'escalation';
    const told = await escalate({ incidentId: input.incidentId, hostId: input.hostId, cause: state.cause, reason, connection: input.escalateTo }).catch(unlessCancelled);
    // A message that cannot leave must not hide what was done and seen.
    if (told instanceof Error) reason = `${reason}; nobody could be told: ${reasonOf(told)}`;
  }
  state.step = 'done';
  await condition(allHandlersFinished);
  log.info('remediation closed', { incidentId: input.incidentId, helped, escalated });
  const { incidentId, hostId, cause } = input;
  return { incidentId, hostId, cause, confirmedCause: remedy?.cause ?? null, action: state.attempts.at(-1)?.action ?? null, attempts: state.attempts, helped, escalated, reason, evidence };
}

function progressOf(state: RemedyState): Progress {
  const done = state.step === 'done';
  return { step: state.step, done: done ? state.planned : state.attempts.length, total: state.planned, message: state.attempts.at(-1)?.detail ?? `cause ${state.cause}` };
}

/** Turns a failed activity into a value; a cancelled run stays cancelled. */
function unlessCancelled(error: unknown): Error {
  if (isCancellation(error)) throw error;
  return error instanceof Error ? error : new Error(String(error));
}

function isRefusal(error: Error): boolean {
  return error instanceof ActivityFailure && error.cause instanceof ApplicationFailure && error.cause.type === 'ActionRefused';
}

function reasonOf(error: Error): string {
  const cause = error instanceof ActivityFailure && error.cause !== undefined ? error.cause : error;
  return cause.name === 'TimeoutFailure' ? `the agent of the machine did not answer (${cause.message})` : cause.message;
}

function stepText(step: RemedyStep): string {
  return `${step.action} on ${targetWords(step.target)}`;
}

function targetWords(target: ActionTarget): string {
  switch (target.kind) {
    case 'process':
      return `process ${target.name} (${target.pid})`;
    case 'session':
      return `PostgreSQL session ${target.pid}`;
    case 'folder':
      return `folder ${target.folder}`;
  }
}

function now(): string {
  return new Date().toISOString();
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}
