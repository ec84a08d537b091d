import { formatRunId, parseWorkflowId } from './workflow-id.ts';

/** Where an activity stands, as Temporal's information about it says. */
export interface EffectStep {
  readonly workflowId: string;
  /** Temporal's id of the execution: kept by every retry after a crash, new after a replay, a reset or a continue-as-new. */
  readonly executionId: string;
  /** Temporal's id of the activity, the same in every attempt. */
  readonly activityId: string;
}

/**
 * The key of an effect: (workflow id, step, epoch). An attempt after a crash or a failure has the same one, so a target that knows it acts
 * once; a run that an operator replays is another execution, so the steps it repeats have new ones and act again. Printable ASCII,
 * at most 255 characters for ids of HAL9's own making, fit for an `Idempotency-Key`; names nobody and no organisation.
 * @param part tells several effects of one step apart.
 */
export function formatEffectKey({ workflowId, executionId, activityId }: EffectStep, part?: string): string {
  const parts = parseWorkflowId(workflowId);
  return [parts === undefined ? workflowId : formatRunId(parts), activityId, executionId, ...(part === undefined ? [] : [part])].join('/');
}
