import { BrowserSessionStore } from '../../database/browser-sessions.ts';
import { isBlobRef } from '../../platform/blobs/blob-store.ts';
import { createBlobStore } from '../../platform/blobs/create.ts';
import { loadKeyRing } from '../../platform/keys/load.ts';
import { TASK_QUEUES } from '../../schemas/names/task-queues.ts';
import type { ActivityDependencies, RegisteredActivities } from '../dependencies.ts';
import type { BrowserRecordActivities } from './activity-contract.ts';
import { sessionName } from './worker-activities.ts';

/** Discovered: what a session needs without a browser. The rest is served by browser workers, see `workers/browser`. */
export default async function register({ config, database }: ActivityDependencies): Promise<RegisteredActivities> {
  const store = new BrowserSessionStore(database);
  const blobs = createBlobStore(config, await loadKeyRing(config));
  const activities: BrowserRecordActivities = {
    async closeBrowserSession({ state }) {
      const { orgId, id } = sessionName();
      const checkpoint = await store.close(orgId, id, state);
      for (const reference of [checkpoint, ...(await store.forgetAnswers(orgId, id))]) if (isBlobRef(reference)) await blobs.delete(orgId, reference);
    },
  };
  return { queues: { [TASK_QUEUES.core]: { ...activities } } };
}
