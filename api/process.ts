import { collectDefaultMetrics, Registry } from 'prom-client';
import type { Logger } from 'pino';
import { ActWriter } from '../platform/audit/act-writer.ts';
import { createDataConverter } from '../platform/codec/data-converter.ts';
import { EncryptionCodec } from '../platform/codec/payload-codec.ts';
import type { Config } from '../platform/config/config.ts';
import { connectDatabase } from '../platform/database/connect.ts';
import { pingDatabase } from '../platform/database/ping.ts';
import { observePools } from '../platform/database/pool-metrics.ts';
import { openStores } from '../platform/database/stores.ts';
import { platformOrganisation } from '../platform/identity/platform-organisation.ts';
import { loadKeyRing } from '../platform/keys/load.ts';
import { SubjectKeys } from '../platform/keys/subject-keys.ts';
import { discoverContracts, projectRoots } from '../platform/operations/discovery.ts';
import { createOperations } from '../platform/operations/operations.ts';
import { createLogger } from '../platform/telemetry/logger.ts';
import { startTracing } from '../platform/telemetry/tracing.ts';
import { QuotaGate } from '../platform/usage/quota-gate.ts';
import { openRateLimits } from '../platform/usage/open-rate-limits.ts';
import { connectTemporalClient } from '../platform/temporal/connect.ts';
import { assembleApi, type AssembledApi } from './assemble.ts';
import { openIdentity } from './identity.ts';
import { openResources } from './resources.ts';
import type { Dependency } from './routes/health.ts';
import { listen } from './server.ts';

/** Time open requests get after SIGTERM, milliseconds; the supervisor of the embedded stack kills after 8 s. */
const DRAIN_MS = 5_000;

export interface RunningApi extends AssembledApi {
  readonly port: number;
  readonly https: boolean;
  /** Drains and closes everything, in the reverse order of the start. */
  stop(): Promise<void>;
}

export interface ApiOptions {
  readonly version: string;
  /** Default: JSON lines on stdout. */
  readonly logger?: Logger;
  /** Frequent short calls of Temporal are made by its native core: for a process that has one API only. Default false. */
  readonly quickCalls?: boolean;
  /** Default 5,000. */
  readonly drainMs?: number;
}

/**
 * Starts the API. Dependencies that are not up yet are no reason to fail: `/readyz` names them until they are.
 * @throws {ConfigError} when a setting is wrong; {Error} when the port is taken.
 */
export async function startApi(config: Config, options: ApiOptions): Promise<RunningApi> {
  const logger = options.logger ?? createLogger(config, 'api');
  const closing: (() => Promise<unknown>)[] = [];
  const close = async (): Promise<void> => {
    for (const step of closing.splice(0).reverse()) {
      await step().catch((error: unknown) => logger.warn({ err: error }, 'not closed cleanly'));
    }
  };
  try {
    return await open();
  } catch (error) {
    await close();
    throw error;
  }

  async function open(): Promise<RunningApi> {
    const tracing = await startTracing(config, 'api');
    closing.push(() => tracing.shutdown());
    const [keys, contracts, database] = await Promise.all([loadKeyRing(config), discoverContracts(projectRoots(config.HAL9_OPERATIONS)), connectDatabase(config, 'hal9-api')]);
    closing.push(() => database.close());
    const subjects = new SubjectKeys({ database, keys });
    const temporal = await connectTemporalClient(config, createDataConverter(keys, subjects), { interceptors: tracing.clientInterceptors, ...(options.quickCalls === true ? { quickCalls: logger } : {}) });
    closing.push(() => temporal.close());
    const admission = new QuotaGate({ database, defaultPlan: config.HAL9_DEFAULT_PLAN, logger });
    const rates = openRateLimits({ config, database, keys, logger });
    closing.push(() => rates.close());
    const operations = createOperations({ client: temporal.client, database, contracts, keys, logger, admission, rates });
    closing.push(() => operations.close());
    const identity = openIdentity({ config, database, keys, logger });
    closing.push(() => identity.close());

    const registry = new Registry();
    collectDefaultMetrics({ register: registry, prefix: 'hal9_' });
    observePools(database, registry);
    const acts = new ActWriter(database, logger, registry);
    closing.push(() => acts.close());
    const dependencies: Dependency[] = [
      { name: 'postgres', check: () => pingDatabase(database) },
      { name: 'temporal', check: async (signal) => void (await temporal.client.withAbortSignal(signal, () => temporal.client.workflowService.getSystemInfo({}))) },
    ];
    const resources = await openResources({ config, version: options.version, database, stores: openStores(database), keys, identity, operations, client: temporal.client, logger, registry, dependencies, admission, rates });
    closing.push(() => resources.close());

    let draining = false;
    const assembled = assembleApi({
      config,
      version: options.version,
      identity,
      keys,
      codec: new EncryptionCodec(keys, subjects),
      acts,
      operations,
      admission,
      rates,
      dependencies,
      logger,
      registry,
      draining: () => draining,
      platformOrganisation: platformOrganisation(database),
      resources: resources.routes,
    });
    const tls = tlsFiles(config);
    const server = await listen(assembled.app, { host: config.HAL9_HOST, port: config.HAL9_PORT, logger, drainMs: options.drainMs ?? DRAIN_MS, ...(tls === undefined ? {} : { tls }) });
    closing.push(() => server.stop());
    return {
      ...assembled,
      port: server.port,
      https: server.https,
      async stop() {
        draining = true;
        await close();
      },
    };
  }
}

function tlsFiles(config: Config): { certFile: string; keyFile: string } | undefined {
  const { HAL9_TLS_CERT: certFile, HAL9_TLS_KEY: keyFile } = config;
  return certFile === undefined || keyFile === undefined ? undefined : { certFile, keyFile };
}
