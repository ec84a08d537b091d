import { activityInfo } from '@temporalio/activity';
import { formatEffectKey } from '../../schemas/names/effect-key.ts';

/**
 * The key under which the activity that calls it acts on the world: hand it to the target as `Idempotency-Key` or keep it with what was
 * done. It is (run, step, epoch): the same in every attempt, also after a crash of the worker, and another one when an operator replays
 * the run from a step, because then the step is meant to act again. Printable ASCII, names nobody.
 * @param part tells several effects of one activity apart.
 * @throws {TypeError} outside an activity of a run.
 */
export function effectKey(part?: string): string {
  const { workflowExecution, activityId } = activityInfo();
  if (workflowExecution === undefined) throw new TypeError('an effect key is that of a step of a run');
  return formatEffectKey({ workflowId: workflowExecution.workflowId, executionId: workflowExecution.runId, activityId }, part);
}
