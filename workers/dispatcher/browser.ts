import { BrowserRetentionStore } from '../../database/browser-retention.ts';
import { BrowserSessionStore } from '../../database/browser-sessions.ts';
import { PlanStore } from '../../database/plans.ts';
import { isBlobRef } from '../../platform/blobs/blob-store.ts';
import { createBlobStore } from '../../platform/blobs/create.ts';
import { emptySession } from '../../platform/browser/session-remains.ts';
import type { BackgroundProcess } from '../process.ts';
import type { Drain } from './drains.ts';
import { shorterByPlan } from './retention.ts';

const EVERY_MS = 900_000;

/**
 * Removes the evidence of browser sessions that has had its time, see HAL9_KEEP_EVIDENCE_DAYS and the days that plans keep; ends sessions whose run was ended
 * from outside; deletes the logins and answers that these, and others whose end was cut off, left.
 */
export function createBrowserRetention({ config, database, keys, logger }: Pick<BackgroundProcess, 'config' | 'database' | 'keys' | 'logger'>): Drain {
  const store = new BrowserRetentionStore(database);
  const sessions = new BrowserSessionStore(database);
  const plans = new PlanStore(database);
  const blobs = createBlobStore(config, keys);
  return {
    name: 'browser-retention',
    pollMs: EVERY_MS,
    async run() {
      const abandoned = await store.abandonedAcrossOrganisations();
      for (const { orgId, id } of abandoned) await sessions.close(orgId, id, 'cancelled');
      const leftBehind = await store.leftBehindAcrossOrganisations();
      for (const { orgId, id } of [...abandoned, ...leftBehind]) await emptySession({ sessions, blobs }, orgId, id);
      const removed = await store.removeAcrossOrganisations(config.HAL9_KEEP_EVIDENCE_DAYS, await shorterByPlan(plans), async (past) => {
        for (const { orgId, reference } of past) if (isBlobRef(reference)) await blobs.delete(orgId, reference);
      });
      const done = removed + abandoned.length + leftBehind.length;
      if (done > 0) logger.info({ removed, ended: abandoned.length, emptied: leftBehind.length }, 'browser sessions past their time removed, abandoned ones ended, others emptied of logins and answers');
      return done > 0;
    },
  };
}
