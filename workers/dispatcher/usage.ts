import { SignalStore } from '../../database/signals.ts';
import { StatementStore } from '../../database/statements.ts';
import { UsageStorageStore } from '../../database/usage-storage.ts';
import { UsageStore } from '../../database/usage.ts';
import type { BlobStore } from '../../platform/blobs/blob-store.ts';
import { createBlobStore } from '../../platform/blobs/create.ts';
import { tellPassedQuotas } from '../../platform/usage/quota-alerts.ts';
import type { BackgroundProcess } from '../process.ts';
import type { Drain } from './drains.ts';

const USES_AT_ONCE = 5_000;
const FOLD_MS = 1_000;
const FORGET_MS = 60_000;
const SAMPLE_MS = 60_000;
const CLOSE_MS = 300_000;
const STATEMENTS_AT_ONCE = 100;
const ALERT_MS = 30_000;

/** Adds uses to their hours, and forgets the keys of those that can no longer be repeated. */
export function createUsageFold({ database }: Pick<BackgroundProcess, 'database'>): Drain {
  const usage = new UsageStore(database);
  let forgetAt = 0;
  return {
    name: 'usage-fold',
    pollMs: FOLD_MS,
    async run() {
      const folded = await usage.foldAcrossOrganisations(USES_AT_ONCE);
      if (Date.now() >= forgetAt && (await usage.forgetKeysAcrossOrganisations(USES_AT_ONCE)) < USES_AT_ONCE) forgetAt = Date.now() + FORGET_MS;
      return folded === USES_AT_ONCE;
    },
  };
}

/** Samples what each organisation stores, once an hour. */
export function createStorageSampler({ config, database, keys }: Pick<BackgroundProcess, 'config' | 'database' | 'keys'>): Drain {
  return storageSampler(new UsageStorageStore(database), createBlobStore(config, keys));
}

export function storageSampler(storage: UsageStorageStore, blobs: Pick<BlobStore, 'storedBytes'>, now: () => Date = () => new Date()): Drain {
  return {
    name: 'storage-sampler',
    pollMs: SAMPLE_MS,
    async run(signal) {
      const hour = now().toISOString().slice(0, 13);
      for (const orgId of await storage.unsampledAcrossOrganisations(hour)) {
        if (signal.aborted) break;
        await storage.sample(orgId, hour, (await storage.tableBytes(orgId)) + (await blobs.storedBytes(orgId)));
      }
      return false;
    },
  };
}

/** Writes the statements of months that are over. */
export function createStatementDrain({ config, database }: Pick<BackgroundProcess, 'config' | 'database'>): Drain {
  const statements = new StatementStore(database);
  return {
    name: 'statements',
    pollMs: CLOSE_MS,
    run: async () => (await statements.closeMonthsAcrossOrganisations(STATEMENTS_AT_ONCE, config.HAL9_DEFAULT_PLAN)) > 0,
  };
}

/** Tells organisations that a quota is passed. */
export function createQuotaAlerts({ config, database }: Pick<BackgroundProcess, 'config' | 'database'>): Drain {
  const signals = new SignalStore(database);
  return {
    name: 'quota-alerts',
    pollMs: ALERT_MS,
    async run() {
      await tellPassedQuotas({ database, signals, lanes: config.HAL9_LANES });
      return false;
    },
  };
}
