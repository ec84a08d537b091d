import { ApplicationFailure, cancellationSignal } from '@temporalio/activity';
import type { Logger } from 'pino';
import type { Act } from '../../database/audit-acts.ts';
import { ApprovalStore, type ApprovalAct } from '../../database/approvals.ts';
import { approvalToken, hashToken, publicUrl } from '../../platform/approvals/links.ts';
import { isProven } from '../../platform/approvals/proof.ts';
import { Connections } from '../../platform/connections/connections.ts';
import { Egress } from '../../platform/connections/egress.ts';
import { systemCaller } from '../../platform/identity/caller.ts';
import { KeyError, type KeyRing } from '../../platform/keys/key-ring.ts';
import { loadKeyRing } from '../../platform/keys/load.ts';
import { createNotify, type Notify } from '../../platform/notify/notify.ts';
import type { OperationsPort, RunsPort } from '../../platform/operations/contract.ts';
import { HalError } from '../../schemas/errors.ts';
import { TASK_QUEUES } from '../../schemas/names/task-queues.ts';
import type { Approvers } from '../../schemas/neurons/definition.ts';
import { approvalAnswerSchema, type ApprovalEffect } from '../../schemas/operations/approval.ts';
import { activityRun } from '../activity-run.ts';
import type { ActivityDependencies, RegisteredActivities } from '../dependencies.ts';
import type { ApprovalActivities, ApprovalOpening } from './activity-contract.ts';

/** Connection that carries questions when nobody names another. */
const DEFAULT_CONNECTION = 'approvals';

export interface ApprovalActivityDependencies {
  readonly store: ApprovalStore;
  readonly connections: Pick<Connections, 'exists'>;
  readonly notify: Notify;
  readonly operations: Pick<OperationsPort, 'start'> & Pick<RunsPort, 'describe'>;
  readonly keys: KeyRing;
  /** Where people reach the API, without a slash at the end. */
  readonly publicUrl: string;
  readonly logger: Logger;
}

export function createApprovalActivities(deps: ApprovalActivityDependencies): ApprovalActivities {
  const { store } = deps;
  return {
    async openApproval(opening) {
      const { orgId, runId } = activityRun();
      const { approvalId: id, summary, reason, permission, required, deadlineMs, decisionId, effect, approvers, allowRequester = false, escalation } = opening;
      const { startedBy } = await deps.operations.describe(systemCaller(orgId, 'approvals'), runId);
      await store.open(orgId, { id, runId, decisionId: decisionId ?? null, summary, reason, effect: effect ?? null, permission, required, deadlineAt: new Date(deadlineMs), approvers: approvers ?? null, requester: startedBy, allowRequester, escalation: escalation ?? null }, approvalAct(orgId, runId, id));
    },

    async announceApproval(opening) {
      const connection = opening.connection ?? DEFAULT_CONNECTION;
      await tell(deps, opening, connection, 'announced', opening.connection !== undefined);
    },

    async escalateApproval(opening) {
      const { orgId, runId } = activityRun();
      const { approvalId, approvers, escalation } = opening;
      if (escalation === undefined || !(await deps.store.escalate(orgId, approvalId, joined(approvers, escalation.approvers), approvalAct(orgId, runId, approvalId)))) return;
      await tell(deps, opening, escalation.connection, 'escalated', true);
    },

    async recordAnswer(given) {
      const { orgId, runId } = activityRun();
      const answer = approvalAnswerSchema.parse(given);
      if (!proven(deps.keys, orgId, answer)) throw ApplicationFailure.nonRetryable('the answer was not given through HAL9', 'UpdateRejected');
      const recorded = await store.answer(orgId, answer.approvalId, { approver: answer.approver, approved: answer.approved, comment: answer.comment ?? null }, answerAct(orgId, runId, answer));
      if (recorded === 'other') throw ApplicationFailure.nonRetryable('this approver has answered already', 'UpdateRejected');
      if (recorded === 'closed') throw ApplicationFailure.nonRetryable('the approval is closed', 'UpdateRejected');
    },

    async closeApproval({ approvalId, state, reason, decisionId }) {
      const { orgId, runId } = activityRun();
      await store.close(orgId, approvalId, state, reason, approvalAct(orgId, runId, approvalId));
      if (decisionId !== undefined && state !== 'approved') await store.settleDecision(orgId, decisionId, { state: 'refused', runId: null, failure: `approval ${state}: ${reason}` });
    },

    async releaseEffect({ approvalId, decisionId, effect }) {
      const { orgId } = activityRun();
      try {
        const runId = await release(deps, orgId, decisionId ?? approvalId, effect);
        if (decisionId !== undefined) await store.settleDecision(orgId, decisionId, { state: 'done', runId, failure: null });
        return { runId, failure: null };
      } catch (error) {
        if (!(error instanceof HalError) || error.failure.retryable) throw error;
        const failure = `${error.type}: ${error.message}`;
        if (decisionId !== undefined) await store.settleDecision(orgId, decisionId, { state: 'failed', runId: null, failure });
        return { runId: null, failure };
      }
    },
  };
}

/** The id makes both effects happen once: it is the run's uuid and the message's key, as for a decision without approval. */
async function release({ operations, notify }: ApprovalActivityDependencies, orgId: string, id: string, effect: ApprovalEffect): Promise<string | null> {
  const caller = systemCaller(orgId, 'approvals');
  const started = effect.operation === null || effect.operation === undefined ? null : await operations.start(caller, { operation: effect.operation.type, input: effect.operation.input, uuid: id, origin: 'decision' });
  if (effect.notify !== null && effect.notify !== undefined) await notify.deliver(caller, { ...effect.notify, dedupKey: id }, cancellationSignal());
  return started?.runId ?? null;
}

/** Sends the question through a connection. A message that cannot be delivered is no reason to fail. */
async function tell(deps: ApprovalActivityDependencies, opening: ApprovalOpening, connection: string, why: 'announced' | 'escalated', expected: boolean): Promise<void> {
  const { orgId, runId } = activityRun();
  if (!(await deps.connections.exists(orgId, connection))) {
    if (expected) deps.logger.warn({ approvalId: opening.approvalId, connection }, 'the connection for an approval does not exist; nobody was told');
    return;
  }
  try {
    await deps.notify.deliver({ orgId }, { ...(await question(deps, orgId, runId, opening, why)), connection }, cancellationSignal());
  } catch (error) {
    if (!(error instanceof HalError) || error.failure.retryable) throw error;
    deps.logger.warn({ approvalId: opening.approvalId, connection, reason: error.message }, 'the question of an approval was not delivered');
  }
}

async function question(deps: ApprovalActivityDependencies, orgId: string, runId: string, opening: ApprovalOpening, why: 'announced' | 'escalated') {
  const { approvalId, summary, reason, required, deadlineMs, approvers, links = approvers === undefined } = opening;
  const deadline = new Date(deadlineMs);
  const late = why === 'escalated';
  const common = { title: `${late ? 'Nobody has answered: approval' : 'Approval'} needed: ${summary}`, severity: late ? ('critical' as const) : ('warning' as const), dedupKey: late ? `approval/${approvalId}/escalated` : `approval/${approvalId}` };
  const until = `needed until ${deadline.toISOString()}`;
  if (!links) {
    return { ...common, message: `${reason}\n\n${required === 1 ? 'One approval is' : `${String(required)} approvals are`} ${until}. Sign in to answer.`, link: `${deps.publicUrl}/console/run.html?id=${encodeURIComponent(runId)}` };
  }
  const token = approvalToken(deps.keys, orgId, approvalId, deadline);
  await deps.store.addLink(orgId, { id: approvalId, approvalId, tokenHash: hashToken(token), expiresAt: deadline });
  const needs = required === 1 ? 'One approval' : `${String(required)} approvals, one of them by this link,`;
  return { ...common, message: `${reason}\n\n${needs} ${until}. The link opens a page that asks you to confirm, and answers once.`, link: `${deps.publicUrl}/approve/${token}` };
}

/** Those who may answer after an escalation; null leaves it as it was: nobody was named, or nobody more is. */
function joined(before: Approvers | undefined, more: Approvers | undefined): Approvers | null {
  if (before === undefined || more === undefined) return null;
  return { roles: [...before.roles, ...more.roles], teams: [...before.teams, ...more.teams], users: [...before.users, ...more.users] };
}

function approvalAct(orgId: string, runId: string, id: string): ApprovalAct {
  return (verb, details) => ({ orgId, action: `approval.${verb}`, result: 'succeeded', actor: { kind: 'system', id: 'approvals' }, resource: { kind: 'approval', id }, requestId: runId, risk: 0, details, personal: {} });
}

function proven(keys: KeyRing, orgId: string, answer: ReturnType<typeof approvalAnswerSchema.parse>): boolean {
  try {
    return isProven(keys, { orgId, ...answer }, answer.proof);
  } catch (error) {
    if (error instanceof KeyError) return false;
    throw error;
  }
}

/** The organisation and name of the run this activity belongs to. */
function answerAct(orgId: string, runId: string, { approvalId, approver, approved }: ReturnType<typeof approvalAnswerSchema.parse>): Act {
  return { orgId, action: 'approval.answer', result: 'succeeded', actor: approver, resource: { kind: 'approval', id: approvalId }, requestId: runId, risk: 0, details: { approved }, personal: {} };
}

/** Discovered: questions to people. */
export default async function register({ config, database, operations, logger }: ActivityDependencies): Promise<RegisteredActivities> {
  const keys = await loadKeyRing(config);
  const egress = new Egress({ allowPrivate: config.HAL9_ALLOW_PRIVATE_ADDRESSES });
  const connections = new Connections({ database, keys, egress });
  const activities = createApprovalActivities({
    store: new ApprovalStore(database),
    connections,
    notify: createNotify({ database, connections, egress }),
    operations,
    keys,
    publicUrl: publicUrl(config),
    logger,
  });
  return { queues: { [TASK_QUEUES.core]: { ...activities } }, shutdown: () => egress.close() };
}
