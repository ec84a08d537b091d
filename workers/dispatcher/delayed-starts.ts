import { KEY_CHANNEL } from '../../database/api-keys.ts';
import { IDENTITY_CHANNEL } from '../../database/identity-channel.ts';
import { DelayedStarts } from '../../platform/operations/delayed-starts.ts';
import type { BackgroundProcess } from '../process.ts';
import type { Drain } from './drains.ts';

/** The bound on how long a delayed start outlives its credential, should notifications fail. */
const POLL_MS = 500;
/** How often what has begun is forgotten, ms. */
const FORGET_MS = 60_000;

/** Ends runs that wait for their beginning when the credential that started them is revoked, or its person or organisation stopped. */
export function createDelayedStartGuard({ client, database, logger }: Pick<BackgroundProcess, 'client' | 'database' | 'logger'>): Drain {
  const starts = new DelayedStarts(database);
  let forgetAt = 0;
  return {
    name: 'delayed-starts',
    channels: [IDENTITY_CHANNEL, KEY_CHANNEL],
    pollMs: POLL_MS,
    async run() {
      const stopped = await starts.stopEndedAcrossOrganisations(client);
      if (stopped > 0) logger.info({ stopped }, 'delayed starts of ended credentials stopped');
      if (Date.now() >= forgetAt) {
        await starts.forgetBegunAcrossOrganisations();
        forgetAt = Date.now() + FORGET_MS;
      }
      return stopped > 0;
    },
  };
}
