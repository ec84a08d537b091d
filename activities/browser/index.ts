import { BrowserSessionStore } from '../../database/browser-sessions.ts';
import { createBlobStore } from '../../platform/blobs/create.ts';
import { emptySession } from '../../platform/browser/session-remains.ts';
import { loadKeyRing } from '../../platform/keys/load.ts';
import { TASK_QUEUES } from '../../schemas/names/task-queues.ts';
import type { ActivityDependencies, RegisteredActivities } from '../dependencies.ts';
import type { BrowserRecordActivities } from './activity-contract.ts';
import { sessionName } from './worker-activities.ts';

/** Discovered: what a session needs without a browser. The rest is served by browser workers, see `workers/browser`. */
export default async function register({ config, database }: ActivityDependencies): Promise<RegisteredActivities> {
  const sessions = new BrowserSessionStore(database);
  const blobs = createBlobStore(config, await loadKeyRing(config));
  const activities: BrowserRecordActivities = {
    async closeBrowserSession({ state }) {
      const { orgId, id } = sessionName();
      await sessions.close(orgId, id, state);
      await emptySession({ sessions, blobs }, orgId, id);
    },
  };
  return { queues: { [TASK_QUEUES.core]: { ...activities } } };
}
