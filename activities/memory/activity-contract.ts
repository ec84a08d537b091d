import type { MemoryInput, MemoryResult } from '../../schemas/operations/memory.ts';

/** Served by `core`. The organisation is that of the run. */
export interface MemoryActivities {
  /** Seals and stores a memory under the id of the run; again, it answers what is there. */
  remember(input: MemoryInput): Promise<MemoryResult>;
}
