import { parentPort, workerData } from 'node:worker_threads';
import { differenceOf } from './picture-difference.ts';

/** Two pictures for a thread of their own: comparing them takes longer than heartbeats and other sessions should wait. */
export interface DifferenceTask {
  readonly actual: Uint8Array;
  readonly baseline: Uint8Array;
  readonly threshold: number;
}

const { actual, baseline, threshold }: DifferenceTask = workerData;
parentPort?.postMessage(differenceOf(actual, baseline, threshold));
