import { activityInfo } from '@temporalio/activity';
import { formatEffectKey } from '../schemas/names/effect-key.ts';

/**
 * Key of the effect of the activity that calls it; see {@link formatEffectKey}.
 * @param part tells several effects of one activity apart.
 */
export function effectKey(part?: string): string {
  const { workflowExecution, activityId } = activityInfo();
  if (workflowExecution === undefined) throw new TypeError('an effect key is that of a step of a run');
  return formatEffectKey({ workflowId: workflowExecution.workflowId, executionId: workflowExecution.runId, activityId }, part);
}
