import type { WorkerOptions } from '@temporalio/worker';
import { TASK_QUEUES } from '../../schemas/names/task-queues.ts';

type Tuning = Pick<
  WorkerOptions,
  | 'maxConcurrentWorkflowTaskExecutions'
  | 'maxConcurrentActivityTaskExecutions'
  | 'maxConcurrentLocalActivityExecutions'
  | 'maxCachedWorkflows'
  | 'workflowTaskPollerBehavior'
  | 'activityTaskPollerBehavior'
  | 'maxHeartbeatThrottleInterval'
>;

/** Slots are fixed, so that memory is bounded; pollers follow the load. About 1 MB a cached workflow. */
const BATCH: Tuning = {
  maxConcurrentWorkflowTaskExecutions: 40,
  maxConcurrentActivityTaskExecutions: 40,
  maxConcurrentLocalActivityExecutions: 20,
  maxCachedWorkflows: 300,
  workflowTaskPollerBehavior: { type: 'autoscaling', minimum: 2, initial: 4, maximum: 20 },
  activityTaskPollerBehavior: { type: 'autoscaling', minimum: 1, initial: 2, maximum: 20 },
  maxHeartbeatThrottleInterval: '60 seconds',
};

const TUNING: Readonly<Record<string, Partial<Tuning>>> = {
  // A caller waits: enough pollers from the start, since growing takes a few tasks.
  [TASK_QUEUES.interactive]: {
    maxConcurrentLocalActivityExecutions: 100,
    maxConcurrentActivityTaskExecutions: 20,
    maxCachedWorkflows: 200,
    workflowTaskPollerBehavior: { type: 'autoscaling', minimum: 5, initial: 5, maximum: 20 },
    activityTaskPollerBehavior: { type: 'autoscaling', minimum: 1, initial: 1, maximum: 10 },
  },
  // Calls that wait for others: many at once cost little.
  [TASK_QUEUES.neuronsExternal]: { maxConcurrentActivityTaskExecutions: 100 },
  // One for each signer at work; they mostly wait for blocks.
  [TASK_QUEUES.chain]: { maxConcurrentActivityTaskExecutions: 200 },
};

/** A dead browser is to be noticed within seconds, and a busy machine not to be taken for a dead one: beats go out more often than the SDK sends them by itself. */
const BROWSERS: Partial<Tuning> = { maxHeartbeatThrottleInterval: '2 seconds' };
/** The same, and one thing after the other: a machine is claimed by one drill. */
const RECOVERY: Partial<Tuning> = { ...BROWSERS, maxConcurrentActivityTaskExecutions: 1, activityTaskPollerBehavior: { type: 'simple-maximum', maximum: 1 } };

/** Slots, pollers and cache of the worker for a queue. */
export function tuningOf(queue: string): Tuning {
  if (queue.startsWith(TASK_QUEUES.recovery)) return { ...BATCH, ...RECOVERY };
  return { ...BATCH, ...(queue.startsWith(TASK_QUEUES.browser) ? BROWSERS : TUNING[queue]) };
}
