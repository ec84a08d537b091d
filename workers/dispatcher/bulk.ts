import { Bulk } from '../../platform/operations/bulk.ts';
import type { BackgroundProcess } from '../process.ts';
import type { Drain } from './drains.ts';

const POLL_MS = 2_000;

/** Starts the runs of bulk actions whose process died between writing the action down and starting its run. */
export function createBulkRecovery({ database, keys, operations, logger }: Pick<BackgroundProcess, 'database' | 'keys' | 'operations' | 'logger'>): Drain {
  const bulk = new Bulk({ database, keys, operations });
  return {
    name: 'bulk',
    pollMs: POLL_MS,
    async run() {
      const resumed = await bulk.resumeAcrossOrganisations();
      if (resumed > 0) logger.info({ resumed }, 'bulk actions that were left behind begin');
      // Each goes, or fails the pass: asking again at once would only find the same.
      return false;
    },
  };
}
