import { systemCaller } from '../../platform/identity/caller.ts';
import { loadKeyRing } from '../../platform/keys/load.ts';
import { SubjectKeys } from '../../platform/keys/subject-keys.ts';
import { Memories } from '../../platform/memory/memories.ts';
import { TASK_QUEUES } from '../../schemas/names/task-queues.ts';
import { memoryInputSchema } from '../../schemas/operations/memory.ts';
import { activityRun } from '../activity-run.ts';
import type { ActivityDependencies, RegisteredActivities } from '../dependencies.ts';
import type { MemoryActivities } from './activity-contract.ts';

export function createMemoryActivities({ memories }: { readonly memories: Pick<Memories, 'remember'> }): MemoryActivities {
  return {
    async remember(input) {
      const { orgId, uuid } = activityRun();
      const { id, digest } = await memories.remember(systemCaller(orgId, 'memory'), memoryInputSchema.parse(input), uuid);
      return { memory: id, digest };
    },
  };
}

/** Discovered: what neurons remember. */
export default async function register({ config, database }: ActivityDependencies): Promise<RegisteredActivities> {
  const keys = await loadKeyRing(config);
  return { queues: { [TASK_QUEUES.core]: { ...createMemoryActivities({ memories: new Memories({ database, keys, subjects: new SubjectKeys({ database, keys }) }) }) } } };
}
