import { PrivacyChanges } from '../../platform/privacy/changes.ts';
import type { BackgroundProcess } from '../process.ts';
import type { Drain } from './drains.ts';

const POLL_MS = 30_000;

/** Starts changes of people's data again whose run was lost. */
export function createPrivacyChangeWatch({ database, keys, operations, logger }: Pick<BackgroundProcess, 'database' | 'keys' | 'operations' | 'logger'>): Drain {
  const changes = new PrivacyChanges({ database, keys, operations });
  let after = new Date(0);
  return {
    name: 'privacy-changes',
    pollMs: POLL_MS,
    async run() {
      const { revived, next } = await changes.reviveAcrossOrganisations(after);
      if (revived > 0) logger.info({ revived }, 'changes of data that were lost go on');
      after = next ?? new Date(0);
      return next !== undefined;
    },
  };
}
