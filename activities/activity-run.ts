import { activityInfo, ApplicationFailure } from '@temporalio/activity';
import { formatRunId, parseWorkflowId, workflowOrganisation } from '../schemas/names/workflow-id.ts';

/** The run whose step an activity is. */
export interface ActivityRun {
  readonly orgId: string;
  /** Of the operation's run; rows that a run makes may be called so too. */
  readonly uuid: string;
  /** As people see it. */
  readonly runId: string;
}

/** The organisation of the workflow that asks, whatever follows it in the workflow id. @throws {ApplicationFailure} InvalidInput. */
export function activityOrganisation(): string {
  const orgId = workflowOrganisation(workflowId());
  if (orgId === undefined) throw ApplicationFailure.nonRetryable('the workflow id names no organisation', 'InvalidInput');
  return orgId;
}

/** @throws {ApplicationFailure} InvalidInput when it is no run of an operation that asks. */
export function activityRun(): ActivityRun {
  const parts = parseWorkflowId(workflowId());
  if (parts === undefined) throw ApplicationFailure.nonRetryable('the workflow id is not that of a run', 'InvalidInput');
  return { orgId: parts.orgId, uuid: parts.uuid, runId: formatRunId(parts) };
}

function workflowId(): string {
  return activityInfo().workflowExecution?.workflowId ?? '';
}
