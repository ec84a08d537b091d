import type { InjectedSinks } from '@temporalio/worker';
import type { Tracing } from '../../platform/telemetry/tracing.ts';
import { TRACE_SINK } from '../../schemas/names/headers.ts';
import type { TraceSinks } from './workflow.ts';

/** Receives the spans of workflows; not called for what a replay repeats. */
export function traceSink(tracing: Pick<Tracing, 'recordWorkflow'>): InjectedSinks<TraceSinks> {
  return {
    [TRACE_SINK]: {
      finished: {
        fn: (info, span) => tracing.recordWorkflow(span, { 'hal9.workflow_id': info.workflowId, 'hal9.queue': info.taskQueue }),
        callDuringReplay: false,
      },
    },
  };
}
