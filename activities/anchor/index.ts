import { Anchors, type AnchorsDependencies } from '../../platform/chain/anchors.ts';
import { Egress } from '../../platform/connections/egress.ts';
import { loadKeyRing } from '../../platform/keys/load.ts';
import { TASK_QUEUES } from '../../schemas/names/task-queues.ts';
import { activityOrganisation } from '../activity-run.ts';
import { beating } from '../beating.ts';
import { effectKey } from '../effect-key.ts';
import type { ActivityDependencies, RegisteredActivities } from '../dependencies.ts';
import type { AnchorActivities } from './activity-contract.ts';

export function createAnchorActivities(dependencies: AnchorsDependencies): AnchorActivities {
  const anchors = new Anchors(dependencies);
  return {
    async anchorBatch(stream) {
      const [orgId, step] = [activityOrganisation(), effectKey()];
      return beating(async (signal) => ({ hashes: (await anchors.advance(orgId, stream, step, signal))?.hashes ?? null }));
    },
  };
}

/** Discovered: batches of hashes on a chain. */
export default async function register({ config, database }: ActivityDependencies): Promise<RegisteredActivities> {
  const egress = new Egress({ allowPrivate: config.HAL9_ALLOW_PRIVATE_ADDRESSES });
  const places = { keys: await loadKeyRing(config), environment: process.env, folder: config.HAL9_CHAIN_KEYS_DIR };
  return { queues: { [TASK_QUEUES.core]: { ...createAnchorActivities({ database, egress, places }) } }, shutdown: () => egress.close() };
}
