import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { awaitRecovered, checkRestored } from '../../activities/recovery/restored-database.ts';
import { ConfigError, loadConfig } from '../../platform/config/config.ts';
import { connectDatabase } from '../../platform/database/connect.ts';
import { loadKeyRing } from '../../platform/keys/load.ts';

const LOOPBACK = new Set(['127.0.0.1', 'localhost', '[::1]']);

/**
 * Checks a database that was restored from a backup, and prints one line of JSON. It migrates and replays erasures there, so it takes a scratch
 * server of its own machine only. Exit codes: 0 everything is as it must be, 1 something is not, 2 wrong setting.
 */
async function main(): Promise<void> {
  const { values } = parseArgs({ options: { seconds: { type: 'string', default: '3600' }, at: { type: 'string' } } });
  const config = loadConfig(process.env);
  if (config.DATABASE_URL === undefined || !LOOPBACK.has(new URL(config.DATABASE_URL).hostname)) throw new ConfigError('DATABASE_URL: a drill changes what it checks, so it must name a scratch server on 127.0.0.1');
  const began = performance.now();
  const signal = AbortSignal.timeout(Number(values.seconds) * 1000);
  await awaitRecovered(config.DATABASE_URL, signal, () => delay(500, undefined, { signal }));
  const database = await connectDatabase({ ...config, DATABASE_APP_URL: undefined, DATABASE_SYSTEM_URL: undefined, DATABASE_TLS_CA: undefined }, 'hal9-drill');
  try {
    const report = await checkRestored({ url: config.DATABASE_URL, database, keys: await loadKeyRing(config), restoredTo: values.at === undefined ? undefined : new Date(values.at), signal });
    const seconds = Math.round((performance.now() - began) / 1000);
    // Fit to be served: recovered, brought to this version, erasures repeated, checked.
    process.stdout.write(`${JSON.stringify({ ...report, rtoSeconds: seconds, seconds })}\n`);
    process.exitCode = report.passed ? 0 : 1;
  } finally {
    await database.close();
  }
}

main().catch((error: unknown) => {
  process.stderr.write(`drill: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = error instanceof ConfigError ? 2 : 1;
});
