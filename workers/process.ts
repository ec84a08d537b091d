import { hostname } from 'node:os';
import type { Client } from '@temporalio/client';
import { NativeConnection, Runtime } from '@temporalio/worker';
import type { Logger } from 'pino';
import { Gauge, Registry, collectDefaultMetrics } from 'prom-client';
import { sql } from 'kysely';
import type { Database } from '../database/database.ts';
import { WorkerStore } from '../database/workers.ts';
import { createDataConverter } from '../platform/codec/data-converter.ts';
import { loadConfig, type Config } from '../platform/config/config.ts';
import { connectDatabase } from '../platform/database/connect.ts';
import type { KeyRing } from '../platform/keys/key-ring.ts';
import { loadKeyRing } from '../platform/keys/load.ts';
import { SubjectKeys } from '../platform/keys/subject-keys.ts';
import type { Operations } from '../platform/operations/contract.ts';
import { contractsByName, discoverProjects, projectRoots, type Project } from '../platform/operations/discovery.ts';
import { createOperations } from '../platform/operations/operations.ts';
import { freePort } from '../platform/telemetry/free-port.ts';
import { announceReady, createLogger } from '../platform/telemetry/logger.ts';
import { openRateLimits } from '../platform/usage/open-rate-limits.ts';
import { QuotaGate } from '../platform/usage/quota-gate.ts';
import { startTracing, type Tracing } from '../platform/telemetry/tracing.ts';
import { connectTemporalClient, temporalTarget } from '../platform/temporal/connect.ts';
import { startMetricsServer, type HealthCheck } from './metrics-server.ts';
import { CORE_LOGGING, NATIVE_CHANNEL } from '../platform/temporal/native-core.ts';
import { sdkLogger } from '../platform/temporal/sdk-logger.ts';

/** Time the work in hand gets after SIGTERM, ms; the supervisor kills after 8 s. */
export const DRAIN_MS = 5_000;
/** After this the process exits whatever still runs, ms. */
const FORCE_MS = 7_000;
const HEARTBEAT_MS = 2_000;
const RECONNECT_MS = 1_000;

/** What a background process is given. Everything is closed for it when its work returns. */
export interface BackgroundProcess {
  /** E.g. `core`, `dispatcher`, `host`. */
  readonly name: string;
  readonly config: Config;
  readonly logger: Logger;
  readonly database: Database;
  readonly keys: KeyRing;
  readonly projects: readonly Project[];
  readonly client: Client;
  readonly operations: Operations;
  readonly tracing: Tracing;
  /** For the process's own metrics. */
  readonly registry: Registry;
  /** Named in `/readyz`; PostgreSQL and Temporal are there already. */
  readonly checks: Map<string, HealthCheck>;
  /** Aborted by SIGTERM and SIGINT: finish what is in hand within {@link DRAIN_MS} and return. */
  readonly shutdown: AbortSignal;
  /** A connection for Temporal workers; waits until the server answers. Rejects when the process is asked to end first. */
  connectWorker(): Promise<NativeConnection>;
  /** Writes the line supervisors wait for and starts the heartbeat. */
  ready(serves?: { queues?: readonly string[]; build?: string }): void;
}

export interface ProcessOptions {
  /** Whether it runs Temporal workers, and so needs the native runtime. */
  readonly temporalWorker: boolean;
}

/**
 * Runs a background process from settings to exit code: configuration, log, traces, connections, metrics port, signals.
 * Dependencies that are not up yet are waited for. Never returns before everything is closed.
 */
export async function runProcess(name: string, options: ProcessOptions, work: (context: BackgroundProcess) => Promise<void>): Promise<void> {
  const config = readConfig(name);
  const logger = createLogger(config, name);
  const closing: (() => Promise<unknown>)[] = [];
  const stop = new AbortController();
  trapSignals(stop, logger);
  try {
    const context = await open(name, config, logger, options, stop.signal, closing);
    await work(context);
  } catch (error) {
    if (stop.signal.aborted) {
      logger.warn({ err: error }, 'failed while stopping');
    } else {
      logger.fatal({ err: error }, `${name} failed`);
      process.exitCode = 1;
    }
  }
  for (const close of closing.reverse()) {
    await close().catch((error: unknown) => logger.warn({ err: error }, 'not closed cleanly'));
  }
  logger.info({ event: 'stopped' }, 'stopped');
  // Native threads and sockets of libraries must not keep an ended process alive.
  process.exit();
}

function readConfig(name: string): Config {
  try {
    return loadConfig(process.env);
  } catch (error) {
    process.stderr.write(`${name}: ${error instanceof Error ? error.message : String(error)}\n`);
    process.exit(2);
  }
}

function trapSignals(stop: AbortController, logger: Logger): void {
  const end = (signal: NodeJS.Signals): void => {
    if (stop.signal.aborted) return;
    logger.info({ event: 'stopping', signal }, 'stopping');
    stop.abort();
    setTimeout(() => {
      logger.warn('work still runs, ending anyway');
      process.exit(1);
    }, FORCE_MS).unref();
  };
  process.on('SIGTERM', end);
  process.on('SIGINT', end);
}

async function open(
  name: string,
  config: Config,
  logger: Logger,
  options: ProcessOptions,
  shutdown: AbortSignal,
  closing: (() => Promise<unknown>)[],
): Promise<BackgroundProcess> {
  const tracing = await startTracing(config, name);
  closing.push(() => tracing.shutdown());
  const corePort = options.temporalWorker ? await freePort() : undefined;
  if (corePort !== undefined) installRuntime(logger, corePort);

  const keys = await loadKeyRing(config);
  const projects = await discoverProjects(projectRoots(config.HAL9_OPERATIONS));
  const database = await connectDatabase(config, `hal9-${name}`);
  closing.push(() => database.close());
  const temporal = await connectTemporalClient(config, createDataConverter(keys, new SubjectKeys({ database, keys })), { interceptors: tracing.clientInterceptors });
  closing.push(() => temporal.close());
  const rates = openRateLimits({ config, database, keys, logger });
  closing.push(() => rates.close());
  const operations = createOperations({ client: temporal.client, database, contracts: contractsByName(projects), keys, logger, rates, admission: new QuotaGate({ database, defaultPlan: config.HAL9_DEFAULT_PLAN, logger }) });
  closing.push(() => operations.close());

  const registry = new Registry();
  collectDefaultMetrics({ register: registry, prefix: 'hal9_' });
  const checks = new Map<string, HealthCheck>([
    ['postgres', async () => void (await sql`select 1`.execute(database.system))],
    ['temporal', async (signal) => void (await temporal.client.withAbortSignal(signal, () => temporal.client.workflowService.getSystemInfo({})))],
  ]);
  const server = await startMetricsServer({ host: config.HAL9_METRICS_HOST, port: config.HAL9_METRICS_PORT, registry, corePort, checks });
  closing.push(() => server.close());

  return {
    name, config, logger, database, keys, projects, client: temporal.client, operations, tracing, registry, checks, shutdown,
    async connectWorker() {
      const connection = await untilConnected(config, logger, shutdown);
      closing.push(() => connection.close());
      return connection;
    },
    ready({ queues = [], build = '' } = {}) {
      closing.push(startHeartbeat(new WorkerStore(database), { process: name, queues, build }, registry, logger));
      announceReady(logger, { metricsPort: server.port }, `${name} ready`);
    },
  };
}

function installRuntime(logger: Logger, corePort: number): void {
  Runtime.install({
    logger: sdkLogger(logger),
    // Signals are this module's: the SDK would end workers before the rest is told.
    shutdownSignals: [],
    telemetryOptions: {
      logging: CORE_LOGGING,
      metrics: { prometheus: { bindAddress: `127.0.0.1:${corePort}`, countersTotalSuffix: true, useSecondsForDurations: true, unitSuffix: true } },
    },
  });
}

async function untilConnected(config: Config, logger: Logger, shutdown: AbortSignal): Promise<NativeConnection> {
  const target = await temporalTarget(config);
  for (let attempt = 1; ; attempt += 1) {
    shutdown.throwIfAborted();
    try {
      return await NativeConnection.connect({ ...target, ...NATIVE_CHANNEL });
    } catch (error) {
      // The first second is a normal start; after that somebody should know.
      logger[attempt === 5 ? 'warn' : 'debug']({ reason: error instanceof Error ? error.message : String(error) }, 'waiting for Temporal');
      await new Promise((resolve) => setTimeout(resolve, RECONNECT_MS));
    }
  }
}

function startHeartbeat(store: WorkerStore, serves: { process: string; queues: readonly string[]; build: string }, registry: Registry, logger: Logger): () => Promise<void> {
  const startedAt = new Date();
  const host = hostname();
  const id = `${host}/${process.pid}/${startedAt.getTime()}`;
  const labels = { process: serves.process, pid: String(process.pid) };
  const gauge = new Gauge({ name: 'hal9_worker_heartbeat_timestamp_seconds', help: 'When this process was last alive, seconds since the epoch.', labelNames: ['process', 'pid'], registers: [registry] });
  let failing = false;
  const write = async (): Promise<void> => {
    try {
      await store.beat({ id, host, pid: process.pid, startedAt, ...serves });
      failing = false;
    } catch (error) {
      if (!failing) logger.warn({ reason: error instanceof Error ? error.message : String(error) }, 'heartbeat not written');
      failing = true;
    }
  };
  // The gauge tells that this process lives even while the database does not; a slow write is not piled upon.
  let writing: Promise<void> | undefined;
  const beat = (): void => {
    gauge.set(labels, Date.now() / 1000);
    writing ??= write().finally(() => {
      writing = undefined;
    });
  };
  beat();
  const timer = setInterval(beat, HEARTBEAT_MS);
  return async () => {
    clearInterval(timer);
    await writing;
    await store.remove(id);
  };
}
