import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pino from 'pino';
import { inject } from 'vitest';
import { startApi, type RunningApi } from '../../api/process.ts';
import { ApiKeyStore } from '../../database/api-keys.ts';
import { loadConfig } from '../../platform/config/config.ts';
import { formatKey, generateKey, hashSecret } from '../../platform/identity/key-format.ts';
import { createTestDatabase, type TestDatabase } from '../environment/database.ts';

export interface TestKey {
  id: string;
  orgId: string;
  /** The whole key. */
  text: string;
}

export interface TestApi {
  api: RunningApi;
  url: string;
  database: TestDatabase;
  /** Every log line so far, as text. */
  log: string[];
  key(orgId: string, scopes?: readonly string[], expiresAt?: Date): Promise<TestKey>;
  /** Another API process on the same database. */
  another(settings?: Record<string, string>): Promise<RunningApi>;
  stop(): Promise<void>;
}

/** The API with a database of its own and the suite's Temporal, listening on a free port of loopback. */
export async function startTestApi(settings: Record<string, string> = {}): Promise<TestApi> {
  const database = await createTestDatabase();
  const folder = await mkdtemp(join(tmpdir(), 'hal9-api-'));
  const log: string[] = [];
  const logger = pino({ level: 'info' }, { write: (line: string) => void log.push(line) });
  const env = {
    DATABASE_URL: database.url,
    TEMPORAL_ADDRESS: inject('temporalAddress'),
    HAL9_DATA: folder,
    HAL9_PORT: '0',
    HAL9_FAILED_LOGINS: '0',
    HAL9_MASTER_KEYS: `test:${Buffer.alloc(32, 7).toString('base64')}`,
    ...settings,
  };
  const running: RunningApi[] = [];
  const another = async (more: Record<string, string> = {}): Promise<RunningApi> => {
    const api = await startApi(loadConfig({ ...env, ...more }), { version: '0.0.0', logger, drainMs: 3000 });
    running.push(api);
    return api;
  };
  const api = await another();
  return {
    api,
    url: `${api.https ? 'https' : 'http'}://127.0.0.1:${api.port}`,
    database,
    log,
    another,
    async key(orgId, scopes = ['*'], expiresAt) {
      const text = generateKey();
      const id = randomUUID();
      await new ApiKeyStore(database.database).insert({ orgId, id, name: 'test', prefix: text.prefix, secretHash: hashSecret(text.secret), scopes, expiresAt: expiresAt ?? null });
      return { id, orgId, text: formatKey(text) };
    },
    async stop() {
      for (const one of running) await one.stop();
      await database.drop();
      await rm(folder, { recursive: true, force: true });
      // Whatever a test asked of whichever route: what it changed stands in the audit log.
      const silent = log.filter((line) => line.includes('wrote no act'));
      if (silent.length > 0) throw new Error(`requests changed something and wrote no act: ${silent.join('')}`);
    },
  };
}
