import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import pino from 'pino';
import { z } from 'zod';
import { loadConfig } from '../platform/config/config.ts';
import { announceReady, createLogger } from '../platform/telemetry/logger.ts';
import { startApi } from './process.ts';

/** The API as a process of its own, configured by its environment. Exit codes: 0 asked to stop, 1 failed, 2 wrong setting. */
async function main(): Promise<void> {
  // With many requests open at once much of what V8 looks at after a collection still lives, and it takes to making such things in the old
  // memory, where they stay until that is collected: five times the time in collections (ADR 399).
  setFlagsFromString('--no-allocation-site-pretenuring');
  const config = readConfig();
  const lines = pino.destination({ dest: 1, sync: false, minLength: LOG_BUFFER_BYTES });
  const logger = createLogger(config, 'api', lines);
  setInterval(() => lines.flush(), LOG_DELAY_MS).unref();
  process.on('exit', () => lines.flushSync());
  const { version } = z.object({ version: z.string() }).parse(JSON.parse(await readFile(join(import.meta.dirname, '../package.json'), 'utf8')));
  const api = await startApi(config, { version, logger, quickCalls: true });
  announceReady(logger, { port: api.port, https: api.https, routes: api.routes.length }, 'api ready');
  lines.flush();

  let stopping = false;
  const stop = (signal: NodeJS.Signals): void => {
    if (stopping) return;
    stopping = true;
    logger.info({ event: 'stopping', signal }, 'stopping');
    setTimeout(() => process.exit(1), FORCE_MS).unref();
    api.stop().then(
      () => {
        logger.info({ event: 'stopped' }, 'stopped');
        process.exit(0);
      },
      (error: unknown) => {
        logger.fatal({ err: error }, 'not stopped cleanly');
        process.exit(1);
      },
    );
  };
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);
}

/** Request lines are written together: a write for each is a tenth of a start's CPU time. A crash loses at most this much. */
const LOG_BUFFER_BYTES = 8 * 1024;
const LOG_DELAY_MS = 100;
/** After this the process exits whatever still runs, milliseconds. */
const FORCE_MS = 7_000;

function readConfig() {
  try {
    return loadConfig(process.env);
  } catch (error) {
    process.stderr.write(`api: ${error instanceof Error ? error.message : String(error)}\n`);
    process.exit(2);
  }
}

main().catch((error: unknown) => {
  process.stderr.write(`api: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exit(1);
});
