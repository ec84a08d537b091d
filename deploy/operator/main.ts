import { hostname } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from 'pino';
import { collectDefaultMetrics, Registry } from 'prom-client';
import { loadConfig, type Config } from '../../platform/config/config.ts';
import { announceReady, createLogger } from '../../platform/telemetry/logger.ts';
import { startMetricsServer } from '../../workers/metrics-server.ts';
import { Kubernetes, KubernetesError } from './kubernetes.ts';
import { Leadership } from './leadership.ts';
import { applyDefinition, operate, operatorMetrics } from './operator.ts';
import { startWebhook, type Webhook } from './webhook.ts';

/** The operator as a process of its own, configured by its environment; the cluster is the one it runs in, or KUBECONFIG's. */
const config = readConfig();
const logger = createLogger(config, 'operator');
const stop = new AbortController();
for (const name of ['SIGTERM', 'SIGINT'] as const) process.on(name, () => stop.abort());
try {
  await run(config, logger, stop.signal);
} catch (error) {
  if (!stop.signal.aborted) logger.fatal({ err: error }, 'operator failed');
  process.exitCode = stop.signal.aborted ? 0 : 1;
}
logger.info({ event: 'stopped' }, 'stopped');
process.exit();

async function run(config: Config, logger: Logger, signal: AbortSignal): Promise<void> {
  const api = Kubernetes.fromEnvironment();
  const identity = config.HAL9_OPERATOR_ID ?? hostname();
  const registry = new Registry();
  collectDefaultMetrics({ register: registry, prefix: 'hal9_' });
  const metrics = operatorMetrics(registry);
  const checks = new Map([['kubernetes', async () => void (await api.get('/version'))]]);
  const server = await startMetricsServer({ host: config.HAL9_METRICS_HOST, port: config.HAL9_METRICS_PORT, registry, corePort: undefined, checks });
  let webhook: Webhook | undefined;
  try {
    await insist(() => applyDefinition(api), logger, signal);
    if (config.HAL9_OPERATOR_WEBHOOK_PORT !== undefined) {
      const { HAL9_METRICS_HOST: host, HAL9_OPERATOR_WEBHOOK_PORT: port, HAL9_OPERATOR_NAMESPACE: namespace, HAL9_OPERATOR_WEBHOOK_NAME: name, HAL9_OPERATOR_WEBHOOK_HOSTS: hosts } = config;
      webhook = await insist(() => startWebhook(api, { host, port, namespace, name, hosts, logger }), logger, signal);
    }
    announceReady(logger, { metricsPort: server.port, webhookPort: webhook?.port }, 'operator ready');
    const lease = { namespace: config.HAL9_OPERATOR_NAMESPACE, name: 'hal9-operator', identity, leaseSeconds: config.HAL9_OPERATOR_LEASE_SECONDS, logger };
    await new Leadership(api, lease).run(signal, (held) => operate({ api, namespace: config.HAL9_OPERATOR_WATCH, identity, relistMs: config.HAL9_OPERATOR_RELIST_SECONDS * 1000, logger, metrics }, held));
  } finally {
    await webhook?.close();
    await server.close();
  }
}

/** The API server may not be up yet. */
async function insist<Made>(work: () => Promise<Made>, logger: Logger, signal: AbortSignal): Promise<Made> {
  for (let attempt = 0; ; attempt += 1) {
    try {
      return await work();
    } catch (error) {
      signal.throwIfAborted();
      // What is refused now is refused for ever: a schema the API server does not take, a right that is missing.
      if (error instanceof KubernetesError && [400, 403, 422].includes(error.status)) throw error;
      logger[attempt === 5 ? 'warn' : 'debug']({ reason: error instanceof Error ? error.message : String(error) }, 'waiting for the API server');
      await delay(Math.min(250 * 2 ** attempt, 10_000), undefined, { signal });
    }
  }
}

function readConfig(): Config {
  try {
    return loadConfig(process.env);
  } catch (error) {
    process.stderr.write(`operator: ${error instanceof Error ? error.message : String(error)}\n`);
    process.exit(2);
  }
}
