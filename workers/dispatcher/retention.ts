import { PlanStore } from '../../database/plans.ts';
import { RetentionStore, type ShorterRetention } from '../../database/retention.ts';
import { SessionStore } from '../../database/sessions.ts';
import { UsedAssertionStore } from '../../database/used-assertions.ts';
import { isBlobRef } from '../../platform/blobs/blob-store.ts';
import { createBlobStore } from '../../platform/blobs/create.ts';
import type { BackgroundProcess } from '../process.ts';
import type { Drain } from './drains.ts';

const EVERY_MS = 900_000;

/** Removes what has had its time, a bounded part of it at a time; see the settings HAL9_KEEP_*, and the days that plans keep. */
export function createRetention({ config, database, keys, logger }: Pick<BackgroundProcess, 'config' | 'database' | 'keys' | 'logger'>): Drain {
  const store = new RetentionStore(database);
  const plans = new PlanStore(database);
  const sessions = new SessionStore(database);
  const assertions = new UsedAssertionStore(database);
  const blobs = createBlobStore(config, keys);
  const days = { history: config.HAL9_KEEP_HISTORY_DAYS, calls: config.HAL9_KEEP_CALLS_DAYS, messages: config.HAL9_KEEP_MESSAGES_DAYS, approvals: config.HAL9_KEEP_APPROVALS_DAYS };
  return {
    name: 'retention',
    pollMs: EVERY_MS,
    async run() {
      const removed = await store.removeOfAllOrganisations(days, await shorterByPlan(plans), async (contexts) => {
        for (const { orgId, context } of contexts) if (isBlobRef(context)) await blobs.delete(orgId, context);
      });
      await sessions.pruneAcrossOrganisations(config.HAL9_KEEP_SESSIONS_DAYS);
      await assertions.pruneAcrossOrganisations();
      if (Object.keys(removed).length > 0) logger.info({ removed }, 'rows past their time removed');
      return RetentionStore.mayHaveMore(removed);
    },
  };
}

/** Organisations by the days that their plans keep; those whose plan names none are kept as the installation says. */
export async function shorterByPlan(plans: Pick<PlanStore, 'listAcrossOrganisations'>): Promise<ShorterRetention[]> {
  const byDays = new Map<number, string[]>();
  for (const { orgId, entitlements } of await plans.listAcrossOrganisations()) {
    const { retentionDays } = entitlements.limits;
    if (retentionDays !== null) byDays.set(retentionDays, [...(byDays.get(retentionDays) ?? []), orgId]);
  }
  return [...byDays].map(([days, orgIds]) => ({ days, orgIds }));
}
