import { allHandlersFinished, condition, proxyActivities } from '@temporalio/workflow';
import type { ApprovalActivities } from '../../activities/approvals/activity-contract.ts';
import { TASK_QUEUES } from '../../schemas/names/task-queues.ts';
import type { ApprovalInput, ApprovalResult } from '../../schemas/operations/approval.ts';
import { awaitApproval } from './await-approval.ts';

const { releaseEffect } = proxyActivities<ApprovalActivities>({ taskQueue: TASK_QUEUES.core, startToCloseTimeout: '1 minute', retry: { maximumInterval: '5 minutes' } });

/** Asks people, and lets the effect go when they agree. */
export async function approval(input: ApprovalInput): Promise<ApprovalResult> {
  const { approvalId, state, reason } = await awaitApproval(input);
  const released = state === 'approved' && input.effect !== null && input.effect !== undefined ? await releaseEffect({ approvalId, decisionId: input.decisionId, effect: input.effect }) : { runId: null, failure: null };
  await condition(allHandlersFinished);
  return { approvalId, state, reason: released.failure === null ? reason : `${reason}; the effect failed: ${released.failure}`, startedRunId: released.runId };
}
