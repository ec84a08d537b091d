import type { WorkflowFailedError } from '@temporalio/client';
import { ApplicationFailure, CancelledFailure, TerminatedFailure, TimeoutFailure } from '@temporalio/common';
import type { RunResult } from './contract.ts';

/** What ended a run, in HAL9's words; also for the projector. */
export function failedResult(error: WorkflowFailedError): RunResult {
  const { cause } = error;
  if (cause instanceof CancelledFailure) return { status: 'cancelled', failure: { type: 'Cancelled', message: 'the run was cancelled' } };
  if (cause instanceof TerminatedFailure) return { status: 'terminated', failure: { type: 'Terminated', message: cause.message } };
  if (cause instanceof TimeoutFailure) return { status: 'timed-out', failure: { type: 'Timeout', message: 'the run took longer than its operation allows' } };
  return { status: 'failed', failure: rootFailure(cause) };
}

/** The innermost application failure: the outer ones only say through which activity or child it came. */
export function rootFailure(error: unknown): { type: string; message: string } {
  let found: { type: string; message: string } = { type: 'Internal', message: error instanceof Error ? error.message : String(error) };
  for (let at: unknown = error; at instanceof Error; at = at.cause) {
    if (at instanceof ApplicationFailure) found = { type: at.type ?? 'Internal', message: at.message };
    else if (at instanceof TimeoutFailure) found = { type: 'Timeout', message: at.message };
  }
  return found;
}
