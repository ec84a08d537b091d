import { ActivityFailure, ApplicationFailure, CancellationScope, condition, defineUpdate, isCancellation, log, proxyActivities, setHandler, uuid4 } from '@temporalio/workflow';
import type { ApprovalActivities, ApprovalOpening } from '../../activities/approvals/activity-contract.ts';
import { APPROVAL_UPDATE } from '../../schemas/names/messages.ts';
import { TASK_QUEUES } from '../../schemas/names/task-queues.ts';
import type { ApprovalRule } from '../../schemas/neurons/definition.ts';
import type { ApprovalAnswer, ApprovalEffect, ApprovalTally } from '../../schemas/operations/approval.ts';

export interface ApprovalRequest {
  /** What is asked, in one line. */
  readonly summary: string;
  readonly reason: string;
  readonly approval: ApprovalRule;
  /** The decision that waits; marked refused unless it is approved. */
  readonly decisionId?: string | undefined;
  /** Shown to people as what will happen. The caller makes it happen. */
  readonly effect?: ApprovalEffect | null | undefined;
  /** Connection that carries the question; default the one named `approvals`, if there is one. */
  readonly connection?: string | undefined;
}

export interface ApprovalOutcome {
  readonly approvalId: string;
  readonly state: 'approved' | 'refused' | 'expired';
  /** One line: how it ended. */
  readonly reason: string;
}

const { openApproval, announceApproval, escalateApproval, recordAnswer, closeApproval } = proxyActivities<ApprovalActivities>({
  taskQueue: TASK_QUEUES.core,
  startToCloseTimeout: '1 minute',
  retry: { maximumInterval: '30 seconds' },
});

/** What was answered so far. */
interface Ballot {
  readonly answers: Map<string, boolean>;
  /** Answers being recorded. */
  readonly pending: Set<string>;
  closed: boolean;
}

/**
 * Asks people inside any workflow: writes the approval, tells people, and waits for `required` distinct approvers, the first refusal or
 * the deadline. The operation's contract must declare the `approval` update as that of `schemas/operations/approval.ts` does; one
 * question at a time in a run. When the run is cancelled the approval is closed and the cancellation goes on.
 */
export async function awaitApproval(request: ApprovalRequest): Promise<ApprovalOutcome> {
  const { permission, required, deadlineSeconds, approvers, allowRequester, links, escalation } = request.approval;
  const approvalId = uuid4();
  const { summary, reason, decisionId, effect, connection } = request;
  const opening: ApprovalOpening = { approvalId, summary, reason, permission, required, deadlineMs: Date.now() + deadlineSeconds * 1000, decisionId, effect, connection, approvers, allowRequester, links, escalation };
  const ballot: Ballot = { answers: new Map(), pending: new Set(), closed: false };
  takeAnswers(opening, ballot);
  try {
    await openApproval(opening);
    // People may answer while the message is on its way, and once they have, it need not arrive.
    const telling = new CancellationScope();
    const told = [tell(telling, approvalId, () => announceApproval(opening))];
    await decided(opening, ballot, () => told.push(tell(telling, approvalId, () => escalateApproval(opening))));
    ballot.closed = true;
    await condition(() => ballot.pending.size === 0);
    telling.cancel();
    await Promise.all(told);
    const outcome = { approvalId, ...ending(tally(ballot, required), deadlineSeconds) };
    await closeApproval({ approvalId, state: outcome.state, reason: outcome.reason, decisionId });
    return outcome;
  } catch (error) {
    ballot.closed = true;
    const state = isCancellation(error) ? 'the run was cancelled' : 'the run failed';
    await CancellationScope.nonCancellable(() => closeApproval({ approvalId, state: 'cancelled', reason: state, decisionId }));
    throw error;
  }
}

/** Nobody hearing of it is no reason to end the wait. */
async function tell(telling: CancellationScope, approvalId: string, work: () => Promise<void>): Promise<void> {
  try {
    await telling.run(work);
  } catch (error) {
    if (!isCancellation(error)) log.warn('nobody was told of the approval', { approvalId });
  }
}

/** Waits for enough answers or the deadline. Where the rule says so, others are turned to on the way, if nobody has decided by then. */
async function decided({ required, escalation, deadlineMs }: ApprovalOpening, ballot: Ballot, escalate: () => void): Promise<void> {
  const isDecided = (): boolean => tally(ballot, required).state !== 'open';
  const afterMs = (escalation?.afterSeconds ?? Infinity) * 1000;
  if (Date.now() + afterMs < deadlineMs) {
    if (await condition(isDecided, afterMs)) return;
    escalate();
  }
  await condition(isDecided, deadlineMs - Date.now());
}

function takeAnswers(opening: ApprovalOpening, ballot: Ballot): void {
  setHandler(
    defineUpdate<ApprovalTally, [ApprovalAnswer]>(APPROVAL_UPDATE),
    async (answer) => {
      const approver = approverOf(answer);
      ballot.pending.add(approver);
      try {
        await recordAnswer(answer);
        ballot.answers.set(approver, answer.approved);
      } catch (error) {
        // The sender of the update is told why, not that an activity failed.
        throw error instanceof ActivityFailure && error.cause instanceof ApplicationFailure ? error.cause : error;
      } finally {
        ballot.pending.delete(approver);
      }
      return tally(ballot, opening.required);
    },
    { validator: (answer) => admit(answer, opening, ballot) },
  );
}

/** @throws {Error} saying why the answer does not count; nothing of it is kept then. */
function admit(answer: ApprovalAnswer, opening: ApprovalOpening, ballot: Ballot): void {
  if (answer?.approvalId !== opening.approvalId) throw new Error('the run does not wait for this approval');
  if (typeof answer.approved !== 'boolean' || typeof answer.approver?.id !== 'string' || typeof answer.proof !== 'string') throw new Error('the answer is malformed');
  if (answer.permission !== opening.permission) throw new Error(`needs the permission ${opening.permission}`);
  if (ballot.closed) throw new Error('the approval is closed');
  if (ballot.answers.has(approverOf(answer)) || ballot.pending.has(approverOf(answer))) throw new Error('this approver has answered already');
}

function approverOf({ approver }: ApprovalAnswer): string {
  return `${approver.kind}:${approver.id}`;
}

/** One refusal refuses: whoever sees a reason not to act is enough. */
function tally({ answers }: Ballot, required: number): ApprovalTally {
  const given = [...answers.values()];
  const approvals = given.filter(Boolean).length;
  const state = given.includes(false) ? 'refused' : approvals >= required ? 'approved' : 'open';
  return { state, approvals, required };
}

function ending({ state, approvals, required }: ApprovalTally, deadlineSeconds: number): Pick<ApprovalOutcome, 'state' | 'reason'> {
  switch (state) {
    case 'approved':
      return { state, reason: `approved by ${String(approvals)} of ${String(required)}` };
    case 'refused':
      return { state, reason: 'refused' };
    case 'open':
      return { state: 'expired', reason: `${String(approvals)} of ${String(required)} approvals within ${String(deadlineSeconds)} seconds` };
  }
}
