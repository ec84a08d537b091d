import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { migrate, missingMigrations } from '../../database/migrate.ts';
import { ConfigError, loadConfig } from '../../platform/config/config.ts';
import { databaseTls } from '../../platform/database/connect.ts';
import { createLogger } from '../../platform/telemetry/logger.ts';

const LOOK_MS = 1000;

/**
 * Brings the schema of DATABASE_URL up to date; with `--await`, waits until somebody has. A database that is not up yet is waited for: whoever
 * started this bounds the time. Exit codes: 0 done, 1 failed, 2 wrong setting.
 */
async function main(): Promise<void> {
  const { values } = parseArgs({ options: { await: { type: 'boolean', default: false } } });
  const config = loadConfig(process.env);
  const logger = createLogger(config, 'migrate');
  const url = config.DATABASE_URL;
  if (url === undefined) throw new ConfigError('DATABASE_URL: not set');
  const ssl = await databaseTls(config);
  for (let attempt = 0; ; attempt += 1) {
    try {
      if (!values.await) {
        const applied = await migrate(url, { ssl });
        logger.info({ event: 'migrated', applied: applied.length }, 'the schema is up to date');
        return;
      }
      const missing = await missingMigrations(url, { ssl });
      if (missing.length === 0) return;
      if (attempt % 30 === 0) logger.info({ missing: missing.length, next: missing[0] }, 'waiting for migrations');
    } catch (error) {
      if (!isAway(error)) throw error;
      if (attempt % 30 === 0) logger.info({ reason: error instanceof Error ? error.message : String(error) }, 'waiting for PostgreSQL');
    }
    await delay(LOOK_MS);
  }
}

/** Whether PostgreSQL is not there yet, rather than there and against it: sockets, names, and SQLSTATE class 57P (not yet up, going down). */
function isAway(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const code = 'code' in error && typeof error.code === 'string' ? error.code : '';
  return code.startsWith('57P') || ['ECONNREFUSED', 'ECONNRESET', 'ENOTFOUND', 'EAI_AGAIN', 'ETIMEDOUT', 'EHOSTUNREACH'].includes(code) || /timeout expired|Connection terminated/.test(error.message);
}

main().catch((error: unknown) => {
  process.stderr.write(`migrate: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = error instanceof ConfigError ? 2 : 1;
});
