import type { ChildProcess } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { endProcess, hasEnded, spawnOwned, tail } from './child-process.ts';
import { prepareCluster } from './postgres-cluster.ts';
import { SetupError } from './setup-error.ts';

export interface PostgresOptions {
  /** Absolute folder of the cluster; created on first use. */
  folder: string;
  port: number;
  /** Extra `-c name=value` settings. */
  settings?: Readonly<Record<string, string>>;
}

/** A cluster that can be started, again and again. */
export interface PostgresServer {
  /** Connection string of the superuser, database `hal9`. */
  readonly url: string;
  readonly launch: () => ChildProcess;
  /** Resolves when the child serves queries. @throws {Error} when it ends, or is another server than the one launched. */
  readonly ready: (child: ChildProcess) => Promise<void>;
  /** Mends what a crash left; call before every launch but the first. */
  readonly recover: () => Promise<void>;
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
  // Children and TCP only: a socket file could be too deep a path for the kernel's 107 bytes.
  unix_socket_directories: '',
} as const;

const READY_MS = 60_000;

/** Prepares the PostgreSQL server that npm ships; initialises the folder when it is new. */
export async function preparePostgres(options: PostgresOptions): Promise<PostgresServer> {
  const cluster = await prepareCluster(options.folder);
  const settings = Object.entries({ ...SETTINGS, ...options.settings }).flatMap(([key, value]) => ['-c', `${key}=${value}`]);
  const base = `postgres://hal9:${cluster.password}@127.0.0.1:${options.port}`;
  return {
    url: `${base}/hal9`,
    launch: () =>
      spawnOwned(cluster.serverBinary, ['-D', cluster.data, '-p', String(options.port), ...settings], {
        deathSignal: 'INT',
        uid: cluster.account?.uid,
        gid: cluster.account?.gid,
        // Not the caller's folder: the server's user may not be allowed in it.
        cwd: '/',
        env: { PATH: process.env['PATH'], LC_ALL: 'C.UTF-8', ...(process.env['TZ'] === undefined ? {} : { TZ: process.env['TZ'] }) },
      }),
    async ready(child) {
      await answers(`${base}/postgres`, child, cluster.data);
      await createDatabase(base);
    },
    async recover() {
      await prepareCluster(options.folder);
    },
  };
}

/** Prepares and starts the server. */
export async function startPostgres(options: PostgresOptions): Promise<RunningPostgres> {
  const server = await preparePostgres(options);
  const child = server.launch();
  const log = tail(child);
  try {
    await server.ready(child);
  } catch (error) {
    await endProcess(child, 'SIGINT', 5000);
    throw new Error(`${error instanceof Error ? error.message : String(error)} ${log()}`, { cause: error });
  }
  return { url: server.url, process: child, stop: () => endProcess(child, 'SIGINT', 15_000) };
}

async function answers(url: string, child: ChildProcess, data: string): Promise<void> {
  const deadline = Date.now() + READY_MS;
  for (;;) {
    if (hasEnded(child)) throw new Error('PostgreSQL ended while starting');
    const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 2000, query_timeout: 5000 });
    // A connection that breaks while the server starts is tried again below.
    client.on('error', () => undefined);
    try {
      await client.connect();
      const { rows } = await client.query<{ data_directory: string }>('show data_directory');
      if (rows[0]?.data_directory !== data) throw new SetupError(`another PostgreSQL answers at ${new URL(url).host}`, 'stop it, or set HAL9_POSTGRES_PORT to a free port');
      return;
    } catch (error) {
      if (error instanceof SetupError) throw error;
      if (Date.now() > deadline) throw new Error(`PostgreSQL does not answer within ${READY_MS / 1000} s: ${error instanceof Error ? error.message : String(error)}`);
      await sleep(40);
    } finally {
      await client.end().catch(() => undefined);
    }
  }
}

async function createDatabase(base: string): Promise<void> {
  const client = new pg.Client({ connectionString: `${base}/postgres`, connectionTimeoutMillis: 10_000 });
  await client.connect();
  try {
    const { rowCount } = await client.query(`select 1 from pg_database where datname = 'hal9'`);
    if (rowCount === 0) await client.query('create database hal9');
  } finally {
    await client.end();
  }
}
