import {
  QueryNotRegisteredError,
  QueryRejectedError,
  ServiceError,
  WorkflowUpdateFailedError,
  WorkflowUpdateRPCTimeoutOrCancelledError,
  isGrpcCancelledError,
  isGrpcDeadlineError,
  isGrpcServiceError,
} from '@temporalio/client';
import { ApplicationFailure, WorkflowExecutionAlreadyStartedError, WorkflowNotFoundError } from '@temporalio/common';
import { FAILURES, HalError, type FailureName } from '../../schemas/errors.ts';

/** gRPC status codes (https://grpc.io/docs/guides/status-codes/) that matter here. */
const INVALID_ARGUMENT = 3;
const DEADLINE_EXCEEDED = 4;
const NOT_FOUND = 5;
const RESOURCE_EXHAUSTED = 8;
const FAILED_PRECONDITION = 9;
const UNIMPLEMENTED = 12;

/** What was attempted, for failures that read differently. */
export type Attempt = 'start' | 'signal' | 'query' | 'update' | 'cancel' | 'terminate' | 'replay' | 'read';

export function isFailureName(type: string | null | undefined): type is FailureName {
  return type !== null && type !== undefined && Object.hasOwn(FAILURES, type);
}

/**
 * What a failed call to Temporal means to the caller.
 * @returns an error to throw; anything that is not Temporal's comes back unchanged.
 */
export function fromTemporal(error: unknown, attempt: Attempt, runId: string): unknown {
  if (error instanceof HalError) return error;
  if (error instanceof WorkflowExecutionAlreadyStartedError) return new HalError('Conflict', `the run ${runId} exists already`, { cause: error });
  if (error instanceof WorkflowNotFoundError) return notFound(error, runId);
  if (error instanceof WorkflowUpdateFailedError) return updateFailed(error, runId);
  if (error instanceof WorkflowUpdateRPCTimeoutOrCancelledError) return new HalError('Timeout', `the run ${runId} did not answer in time`, { cause: error });
  if (error instanceof QueryNotRegisteredError) return new HalError('UnknownMessage', `the run ${runId} does not answer this query`, { cause: error });
  if (error instanceof QueryRejectedError) return new HalError('RunClosed', `the run ${runId} has ended`, { cause: error });
  if (isGrpcDeadlineError(error) || isGrpcCancelledError(error)) return tooLate(attempt, runId, error);
  const grpc = grpcError(error);
  if (grpc === undefined) return error;
  switch (grpc.code) {
    case NOT_FOUND:
      return notFound(grpc, runId);
    case DEADLINE_EXCEEDED:
      return tooLate(attempt, runId, error);
    case RESOURCE_EXHAUSTED:
      return new HalError('DependencyUnavailable', 'Temporal is at its limit', { retryAfterSeconds: 1, cause: error });
    case INVALID_ARGUMENT:
    case UNIMPLEMENTED:
      return attempt === 'query' ? new HalError('QueryFailed', `the run ${runId} could not answer the query`, { cause: error }) : new HalError('Internal', 'Temporal refused the call', { cause: error });
    case FAILED_PRECONDITION:
      return attempt === 'query' ? new HalError('QueryFailed', `no worker can answer for the run ${runId}`, { cause: error }) : new HalError('Conflict', `the run ${runId} is not in a state for this`, { cause: error });
    default:
      return new HalError('DependencyUnavailable', 'Temporal does not answer', { retryAfterSeconds: 1, cause: error });
  }
}

function notFound(error: Error, runId: string): HalError {
  // Temporal answers NOT_FOUND for both; only the text tells a closed run from one that never was.
  return /already completed|already closed/i.test(error.message)
    ? new HalError('RunClosed', `the run ${runId} has ended`, { cause: error })
    : new HalError('NotFound', `no run ${runId}`, { cause: error });
}

function tooLate(attempt: Attempt, runId: string, cause: unknown): HalError {
  if (attempt === 'query') return new HalError('QueryFailed', `no worker answered for the run ${runId} in time`, { cause, retryAfterSeconds: 1 });
  if (attempt === 'update') return new HalError('Timeout', `the run ${runId} did not answer in time`, { cause });
  return new HalError('DependencyUnavailable', 'Temporal does not answer in time', { retryAfterSeconds: 1, cause });
}

/** A handler that fails with a type of `schemas/errors.ts` speaks for itself; any other refusal is the run's validator. */
function updateFailed(error: WorkflowUpdateFailedError, runId: string): HalError {
  const { cause } = error;
  if (cause instanceof ApplicationFailure && isFailureName(cause.type)) return new HalError(cause.type, cause.message, { cause: error });
  if (cause instanceof ApplicationFailure && /AcceptedUpdateCompletedWorkflow/.test(cause.type ?? '')) {
    return new HalError('RunClosed', `the run ${runId} ended before it answered`, { cause: error });
  }
  return new HalError('UpdateRejected', cause?.message ?? 'the run refused the update', { cause: error });
}

function grpcError(error: unknown): (Error & { code: number }) | undefined {
  if (isGrpcServiceError(error)) return error;
  if (error instanceof ServiceError && isGrpcServiceError(error.cause)) return error.cause;
  return undefined;
}
