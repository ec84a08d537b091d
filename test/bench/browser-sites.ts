import { join } from 'node:path';
import { Hal9Client } from '../../clients/typescript/index.ts';
import { startStack } from '../../deploy/local/stack.ts';
import { playRounds } from '../browser/sites/rounds.ts';
import type { Bench } from './arguments.ts';

/**
 * Flows of fifteen steps and more through a shop, a forum, a mail box and a booking site, each run on a site with a mood of its own: slow answers,
 * content that comes late, pop-ups, and other ids, classes, positions, words and forms of fields. `averageActionMs`: from the start of an action
 * to that of the next, waiting for the site included.
 *
 * Options: `--runs` (40), `--abreast` at once (2), `--from` the first seed (1).
 */
export const run: Bench = async (args) => {
  const stack = await startStack({
    settings: { HAL9_DATA: join(args.folder, 'data'), HAL9_PORT: '0', HAL9_ALLOW_PRIVATE_ADDRESSES: 'true' },
    processes: ['api', 'core', 'dispatcher', 'browser'],
    progress: args.progress,
    signal: args.signal,
  });
  try {
    const client = new Hal9Client({ url: stack.url, credential: stack.first?.apiKey ?? '' });
    return { ...(await playRounds({ client, runs: args.number('runs', 40), abreast: args.number('abreast', 2), from: args.number('from', 1), progress: args.progress, signal: args.signal })) };
  } finally {
    await stack.stop();
  }
};
