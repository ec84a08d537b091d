import { ServiceError, WorkflowUpdateFailedError, WorkflowUpdateRPCTimeoutOrCancelledError } from '@temporalio/client';
import { ApplicationFailure, WorkflowExecutionAlreadyStartedError, WorkflowNotFoundError } from '@temporalio/common';
import { describe, expect, it } from 'vitest';
import { HalError } from '../../schemas/errors.ts';
import { fromTemporal, type Attempt } from '../../platform/operations/temporal-failures.ts';

/** As grpc-js makes them. */
const grpc = (code: number, message = 'x') => new ServiceError('call failed', { cause: Object.assign(new Error(message), { code, details: message, metadata: {} }) });
const type = (error: unknown, attempt: Attempt = 'start'): unknown => {
  const mapped = fromTemporal(error, attempt, 'greet~1');
  return mapped instanceof HalError ? mapped.type : mapped;
};

describe('failures of Temporal', () => {
  it.each([
    [14, 'start', 'DependencyUnavailable'],
    [8, 'start', 'DependencyUnavailable'],
    [4, 'start', 'DependencyUnavailable'],
    [4, 'query', 'QueryFailed'],
    [4, 'update', 'Timeout'],
    [3, 'query', 'QueryFailed'],
    [3, 'start', 'Internal'],
    [9, 'query', 'QueryFailed'],
    [9, 'signal', 'Conflict'],
    [5, 'signal', 'NotFound'],
  ] as const)('code %i of a %s is %s', (code, attempt, expected) => {
    expect(type(grpc(code), attempt)).toBe(expected);
  });

  it('tells a closed run from one that never was', () => {
    expect(type(new WorkflowNotFoundError('workflow execution already completed', 'w', undefined))).toBe('RunClosed');
    expect(type(new WorkflowNotFoundError('no rows', 'w', undefined))).toBe('NotFound');
  });

  it('lets the run speak for itself when it refuses an update', () => {
    const refused = (cause: Error) => fromTemporal(new WorkflowUpdateFailedError('failed', cause), 'update', 'greet~1');
    expect(refused(ApplicationFailure.nonRetryable('you may not', 'Forbidden'))).toMatchObject({ type: 'Forbidden', message: 'you may not' });
    expect(refused(ApplicationFailure.nonRetryable('no name', 'Whatever'))).toMatchObject({ type: 'UpdateRejected', message: 'no name' });
    expect(refused(ApplicationFailure.nonRetryable('gone', 'AcceptedUpdateCompletedWorkflow'))).toMatchObject({ type: 'RunClosed' });
    expect(type(new WorkflowUpdateRPCTimeoutOrCancelledError('late'), 'update')).toBe('Timeout');
  });

  it('is a conflict when the run is there, and leaves alone what it does not know', () => {
    expect(type(new WorkflowExecutionAlreadyStartedError('there', 'w', 'greet'))).toBe('Conflict');
    const own = new HalError('Forbidden', 'x');
    expect(fromTemporal(own, 'start', 'r')).toBe(own);
    const bug = new TypeError('bug');
    expect(fromTemporal(bug, 'start', 'r')).toBe(bug);
  });
});
