import type { ChildProcess } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Connection } from '@temporalio/client';
import { SEARCH_ATTRIBUTES } from '../../schemas/names/search-attributes.ts';
import { endProcess, hasEnded, spawnOwned, tail } from './child-process.ts';
import { hasUnfairBacklog } from './queue-backlog.ts';

export interface TemporalOptions {
  executable: string;
  /** Folder of the SQLite file; undefined keeps everything in memory. */
  folder?: string;
  port: number;
  uiPort?: number;
  /** Port of the server's own Prometheus metrics; undefined picks any. */
  metricsPort?: number;
  /** Path under which a proxy serves the UI; default `/`. */
  uiPublicPath?: string;
  /** Address of HAL9's codec endpoint for the UI. */
  codecEndpoint?: string;
  namespace?: string;
}

/** A Temporal dev server that can be started, again and again. */
export interface TemporalServer {
  readonly address: string;
  readonly uiUrl: string | undefined;
  readonly launch: () => ChildProcess;
  /** Resolves when the child serves the namespace. @throws {Error} when it ends. */
  readonly ready: (child: ChildProcess) => Promise<void>;
}

export interface RunningTemporal {
  address: string;
  uiUrl: string | undefined;
  process: ChildProcess;
  stop(): Promise<void>;
}

/**
 * Measured on two cores: without these every step waits on a 50 ms grid (transferProcessorMaxPollRPS is 20 per shard and
 * the dev server has one shard), and short timers take a second. The dev server reads the search attributes from its database
 * whenever it needs them, a tenth of its processor time, although they change only while it starts.
 */
const DYNAMIC_CONFIG = [
  'history.transferProcessorMaxPollRPS=5000',
  'history.timerProcessorMaxPollRPS=5000',
  'history.visibilityProcessorMaxPollRPS=5000',
  'history.timerProcessorMaxTimeShift="5ms"',
  'matching.numTaskqueueReadPartitions=1',
  'matching.numTaskqueueWritePartitions=1',
  'system.enableActivityEagerExecution=true',
  'system.forceSearchAttributesCacheRefreshOnRead=false',
  'frontend.namespaceRPS=20000',
  'frontend.rps=20000',
  'history.rps=20000',
  'matching.rps=20000',
  'limit.blobSize.warn=1048576',
] as const;

/** Organisations take turns on a queue (fairness key), and priorities are kept; the cost of a start is within what two runs differ by. */
const FAIRNESS = 'matching.enableFairness=true';

const READY_MS = 60_000;

/** Prepares the Temporal dev server with the settings HAL9 is measured with. */
export async function prepareTemporal(options: TemporalOptions): Promise<TemporalServer> {
  const namespace = options.namespace ?? 'default';
  const args = ['server', 'start-dev', '--ip', '127.0.0.1', '--port', String(options.port), '--log-level', 'error', '--namespace', namespace];
  if (options.folder !== undefined) {
    await mkdir(options.folder, { recursive: true });
    args.push('--db-filename', join(options.folder, 'temporal.db'), '--sqlite-pragma', 'journal_mode=wal', '--sqlite-pragma', 'synchronous=normal');
  }
  if (options.uiPort === undefined) args.push('--headless');
  else args.push('--ui-port', String(options.uiPort));
  if (options.metricsPort !== undefined) args.push('--metrics-port', String(options.metricsPort));
  if (options.uiPublicPath !== undefined) args.push('--ui-public-path', options.uiPublicPath);
  if (options.codecEndpoint !== undefined) args.push('--ui-codec-endpoint', options.codecEndpoint);
  // Decided when it is prepared: a server that is started anew must find the tasks of the one before it.
  const fair = options.folder === undefined || !hasUnfairBacklog(join(options.folder, 'temporal.db'));
  for (const entry of [...DYNAMIC_CONFIG, ...(fair ? [FAIRNESS] : [])]) args.push('--dynamic-config-value', entry);
  for (const attribute of Object.values(SEARCH_ATTRIBUTES)) args.push('--search-attribute', `${attribute}=Keyword`);
  const address = `127.0.0.1:${options.port}`;
  return {
    address,
    uiUrl: options.uiPort === undefined ? undefined : `http://127.0.0.1:${options.uiPort}`,
    // HAL9's own settings are no business of the server: it would take TEMPORAL_* of the environment for its own.
    launch: () => spawnOwned(options.executable, args, { deathSignal: 'TERM', env: { PATH: process.env['PATH'], HOME: process.env['HOME'] } }),
    ready: (child) => answers(address, namespace, child),
  };
}

/** Prepares and starts the dev server as a child that cannot outlive this process. */
export async function startTemporal(options: TemporalOptions): Promise<RunningTemporal> {
  const server = await prepareTemporal(options);
  const child = server.launch();
  const log = tail(child);
  try {
    await server.ready(child);
  } catch (error) {
    await endProcess(child, 'SIGTERM', 5000);
    throw new Error(`${error instanceof Error ? error.message : String(error)} ${log()}`, { cause: error });
  }
  return { address: server.address, uiUrl: server.uiUrl, process: child, stop: () => endProcess(child, 'SIGTERM', 10_000) };
}

async function answers(address: string, namespace: string, child: ChildProcess): Promise<void> {
  const deadline = Date.now() + READY_MS;
  for (;;) {
    if (hasEnded(child)) throw new Error('the Temporal server ended while starting');
    // A refused gRPC connection waits a second before it tries again; a bare one costs nothing.
    if (!(await accepts(address))) {
      if (Date.now() > deadline) throw new Error(`the Temporal server does not listen within ${READY_MS / 1000} s`);
      await sleep(20);
      continue;
    }
    let connection: Connection | undefined;
    try {
      connection = await Connection.connect({ address, connectTimeout: 1000 });
      await connection.workflowService.describeNamespace({ namespace });
      return;
    } catch (error) {
      if (Date.now() > deadline) throw new Error(`the Temporal server does not answer within ${READY_MS / 1000} s: ${error instanceof Error ? error.message : String(error)}`);
      await sleep(40);
    } finally {
      await connection?.close();
    }
  }
}

async function accepts(address: string): Promise<boolean> {
  const [host, port] = address.split(':');
  return new Promise<boolean>((resolve) => {
    const socket = connect({ host, port: Number(port), timeout: 1000 });
    const settle = (answer: boolean): void => {
      socket.destroy();
      resolve(answer);
    };
    socket.once('connect', () => settle(true)).once('error', () => settle(false)).once('timeout', () => settle(false));
  });
}
