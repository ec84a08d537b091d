/** Task queues, one per resource class. Operators scale a layer by scaling the processes that serve its queue. */
export const TASK_QUEUES = {
  /** Workflows and light activities of every batch operation. */
  core: 'core',
  /** Workflows and local activities a caller waits for; has its own slots so that batches cannot starve it. */
  interactive: 'core-interactive',
  /** Evaluation of L2 (implementation) neurons. */
  neuronsL2: 'neurons-l2',
  /** Evaluation of L3 (operational) neurons. */
  neuronsL3: 'neurons-l3',
  /** Evaluation of L4 (strategic) neurons. */
  neuronsL4: 'neurons-l4',
  /** Calls of neurons that leave the process: models and HTTP services. */
  neuronsExternal: 'neurons-external',
  /** Activities that follow a chain, one for each signer with open transactions: they wait for blocks. */
  chain: 'chain',
  /** Slots of browser workers are given out here. */
  browser: 'browser',
  /** Machines that restore backups are given out here. */
  recovery: 'recovery',
} as const;

/** The queue of one browser worker: what is done in a browser that it holds. */
export function browserTaskQueue(workerId: string): string {
  return `${TASK_QUEUES.browser}-${workerId}`;
}

/** The queue of one machine that restores backups: what is done with the data that lie there. */
export function recoveryTaskQueue(machine: string): string {
  return `${TASK_QUEUES.recovery}-${machine}`;
}

/** The queue of the host agent that runs on the machine `hostId`. */
export function hostTaskQueue(hostId: string): string {
  return `host-${hostId}`;
}
