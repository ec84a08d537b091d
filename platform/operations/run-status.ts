import type { WorkflowExecutionStatusName } from '@temporalio/client';
import type { RunStatus } from './contract.ts';

const STATUS: Readonly<Record<WorkflowExecutionStatusName, RunStatus>> = {
  UNSPECIFIED: 'running',
  UNKNOWN: 'running',
  RUNNING: 'running',
  PAUSED: 'running',
  // The run goes on under the same id.
  CONTINUED_AS_NEW: 'running',
  COMPLETED: 'completed',
  FAILED: 'failed',
  CANCELLED: 'cancelled',
  TERMINATED: 'terminated',
  TIMED_OUT: 'timed-out',
};

/** Temporal's status in HAL9's words. */
export function runStatus(name: WorkflowExecutionStatusName): RunStatus {
  return STATUS[name];
}
