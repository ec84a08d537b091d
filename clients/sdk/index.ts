/** What a contract of one's own is made of. Workflows take theirs from `@hal9/sdk/workflow`, tests from `@hal9/sdk/testing`. */
export { defineOperation, workflowName, type DurationText, type EffectClass, type MessageContract, type OperationContract, type OperationDraft, type OperationTimeouts } from '../../schemas/operations/operation.ts';
export { approvalUpdates } from '../../schemas/operations/approval.ts';
export { FAILURES, HalError, type FailureName, type FailureType, type FieldError } from '../../schemas/errors.ts';

/** What `activities/<folder>/index.ts` exports by default gives back: activities by the task queue that serves them. */
export interface RegisteredActivities {
  readonly queues: Readonly<Record<string, Readonly<Record<string, (...args: never[]) => Promise<unknown>>>>>;
  /** Called after the workers have drained. */
  shutdown?(): Promise<void>;
}
