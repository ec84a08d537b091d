import { readFile } from 'node:fs/promises';
import type pg from 'pg';
import { Database } from '../../database/database.ts';
import { ConfigError, type Config } from '../config/config.ts';

/**
 * TLS towards PostgreSQL: on, with verification of certificate and host name, when DATABASE_TLS_CA names an authority.
 * @throws {ConfigError} when the file cannot be read.
 */
export async function databaseTls(config: Pick<Config, 'DATABASE_TLS_CA'>): Promise<pg.PoolConfig['ssl']> {
  const path = config.DATABASE_TLS_CA;
  if (path === undefined) return undefined;
  try {
    return { ca: await readFile(path, 'utf8'), rejectUnauthorized: true };
  } catch (error) {
    throw new ConfigError(`DATABASE_TLS_CA: cannot read ${path}`, { cause: error });
  }
}

/**
 * Opens the pools of a process; connections are made on first use, so the server may still be starting.
 * @param applicationName shown in `pg_stat_activity`.
 * @throws {ConfigError} when DATABASE_URL is missing.
 */
export async function connectDatabase(config: Config, applicationName: string): Promise<Database> {
  if (config.DATABASE_URL === undefined) {
    throw new ConfigError('DATABASE_URL: not set; start everything with `npm start`, or name a PostgreSQL server');
  }
  return new Database({
    url: config.DATABASE_URL,
    appUrl: config.DATABASE_APP_URL,
    systemUrl: config.DATABASE_SYSTEM_URL,
    ssl: await databaseTls(config),
    poolSize: config.DATABASE_POOL,
    applicationName,
  });
}
