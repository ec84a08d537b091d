import { join } from 'node:path';
import { ContentRemains } from '../../platform/content/remains.ts';
import type { BackgroundProcess } from '../process.ts';
import type { Drain } from './drains.ts';

const EVERY_MS = 3_600_000;

/** Deletes blocks of content that no row names, once an hour, where the data folder is that of the API. */
export function createContentCleaning({ config, database, logger }: Pick<BackgroundProcess, 'config' | 'database' | 'logger'>): Drain {
  const remains = new ContentRemains({ database, folder: join(config.HAL9_DATA, 'content') });
  return {
    name: 'content-remains',
    pollMs: EVERY_MS,
    async run(signal) {
      const removed = await remains.remove(new Date(), signal);
      if (removed > 0) logger.info({ removed }, 'blocks of uploads that did not end removed');
      return false;
    },
  };
}
