import { proxyActivities } from '@temporalio/workflow';
import type { MemoryActivities } from '../../activities/memory/activity-contract.ts';
import type { MemoryInput, MemoryResult } from '../../schemas/operations/memory.ts';

const { remember } = proxyActivities<MemoryActivities>({ startToCloseTimeout: '30 seconds' });

/** One memory, sealed and stored. */
export async function memory(input: MemoryInput): Promise<MemoryResult> {
  return remember(input);
}
