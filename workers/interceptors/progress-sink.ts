import type { InjectedSinks } from '@temporalio/worker';
import type { ProgressReporter } from '../../platform/operations/progress-reporter.ts';
import { PROGRESS_SINK } from '../../schemas/names/headers.ts';
import type { ProgressSinks } from './workflow.ts';

/** Receives how far runs are; not called for what a replay repeats. */
export function progressSink(reporter: Pick<ProgressReporter, 'report' | 'forget'>): InjectedSinks<ProgressSinks> {
  return {
    [PROGRESS_SINK]: {
      reported: { fn: (info, progress) => reporter.report(info.workflowId, progress), callDuringReplay: false },
      ended: { fn: (info) => reporter.forget(info.workflowId), callDuringReplay: false },
    },
  };
}
