import { Worker } from '@temporalio/worker';
import { DeterminismViolationError } from '@temporalio/workflow';
import type { History } from '@temporalio/common/lib/proto-utils.js';
import type { DataConverter } from '@temporalio/common';
import type { WorkflowBundle } from './bundle.ts';

export interface ReplayableRun {
  readonly workflowId: string;
  readonly history: History;
}

/** A run that this build cannot continue, and why. */
export interface IncompatibleRun {
  readonly workflowId: string;
  readonly reason: string;
}

/**
 * Replays histories against a bundle. Nothing runs and nothing is sent: only the decisions are compared.
 * @returns the runs whose code would decide otherwise now; other failures of the replay are thrown.
 */
export async function replayRuns(bundle: WorkflowBundle, dataConverter: DataConverter, runs: AsyncIterable<ReplayableRun> | Iterable<ReplayableRun>): Promise<IncompatibleRun[]> {
  const incompatible: IncompatibleRun[] = [];
  for await (const { workflowId, error } of Worker.runReplayHistories({ workflowBundle: { code: bundle.code }, dataConverter, replayName: 'hal9' }, runs)) {
    if (error === undefined) continue;
    if (!(error instanceof DeterminismViolationError)) throw error;
    incompatible.push({ workflowId, reason: error.message });
  }
  return incompatible;
}
