import { Erasures } from '../../platform/privacy/erasures.ts';
import type { BackgroundProcess } from '../process.ts';
import type { Drain } from './drains.ts';

const POLL_MS = 30_000;

/** Starts erasures again whose run was lost. */
export function createErasureWatch({ database, keys, operations, logger }: Pick<BackgroundProcess, 'database' | 'keys' | 'operations' | 'logger'>): Drain {
  const erasures = new Erasures({ database, keys, operations });
  let after = new Date(0);
  return {
    name: 'erasures',
    pollMs: POLL_MS,
    async run() {
      const { revived, next } = await erasures.reviveAcrossOrganisations(after);
      if (revived > 0) logger.info({ revived }, 'erasures that were lost go on');
      after = next ?? new Date(0);
      return next !== undefined;
    },
  };
}
