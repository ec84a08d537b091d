import { hostTaskQueue, TASK_QUEUES } from '../../schemas/names/task-queues.ts';
import type { RegisteredActivities } from '../../activities/dependencies.ts';
import type { OperationContract } from '../../schemas/operations/operation.ts';
import { ConfigError } from '../../platform/config/config.ts';

type Activities = RegisteredActivities['queues'][string];

/** What one task queue is served with. */
export interface ServedQueue {
  readonly queue: string;
  readonly workflows: boolean;
  readonly activities: Activities;
}

/**
 * The queues a core worker serves: HAL9's own, those of contracts and of activities, but not the machines' own ones.
 * @param chosen HAL9_QUEUES; empty for all.
 * @throws {ConfigError} for a chosen queue nobody knows, or an activity name used twice in a queue.
 */
export function servedQueues(contracts: Iterable<OperationContract>, registered: readonly RegisteredActivities[], chosen: readonly string[]): ServedQueue[] {
  const workflowQueues = new Set<string>([TASK_QUEUES.core, TASK_QUEUES.interactive]);
  for (const contract of contracts) workflowQueues.add(contract.taskQueue);
  const activities = new Map<string, Record<string, Activities[string]>>();
  for (const { queues } of registered) {
    for (const [queue, named] of Object.entries(queues)) {
      const known = activities.get(queue) ?? {};
      for (const [name, activity] of Object.entries(named)) {
        if (Object.hasOwn(known, name)) throw new ConfigError(`the activity "${name}" is registered twice for the queue "${queue}"`);
        known[name] = activity;
      }
      activities.set(queue, known);
    }
  }
  const all = new Set([...workflowQueues, ...activities.keys()].filter((queue) => !queue.startsWith(hostTaskQueue(''))));
  const unknown = chosen.filter((queue) => !all.has(queue));
  if (unknown.length > 0) throw new ConfigError(`HAL9_QUEUES: no such queue ${unknown.join(', ')}; there are ${[...all].sort().join(', ')}`);
  return [...all]
    .filter((queue) => chosen.length === 0 || chosen.includes(queue))
    .map((queue) => ({ queue, workflows: workflowQueues.has(queue), activities: activities.get(queue) ?? {} }));
}
