import { join } from 'node:path';
import { Hal9Client } from '../../clients/typescript/index.ts';
import { startStack } from '../../deploy/local/stack.ts';
import type { Bench } from '../bench/arguments.ts';
import { soak } from '../browser/soak.ts';

/**
 * Many short sessions through one browser worker: what it holds of memory, and whether a Chromium is left ten seconds after the last.
 * `growth`: of the most resident memory that the worker held, from the first tenth of the sessions after the warm-up to the last, e.g. 0.03 for
 * 3 %; what Chromium processes hold ends with them.
 *
 * Options: `--sessions` (1000), `--warm-up` sessions that are not measured (100), `--abreast` at once (4).
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
    const worker = stack.processes().find(({ name }) => name === 'browser')?.pid;
    if (worker === undefined) throw new Error('there is no browser worker');
    return { ...(await soak({ client, worker, sessions: args.number('sessions', 1000), warmUp: args.number('warm-up', 100), abreast: args.number('abreast', 4), progress: args.progress, signal: args.signal })) };
  } finally {
    await stack.stop();
  }
};
