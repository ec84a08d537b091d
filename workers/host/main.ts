import register, { hostIdOf } from '../../activities/host/index.ts';
import type { Config } from '../../platform/config/config.ts';
import { once, serveQueue } from '../core/serve.ts';
import { runProcess, type BackgroundProcess } from '../process.ts';
import { Collector } from './collector.ts';
import { Delivery } from './delivery.ts';
import { machineProbe, spaceProbe } from './machine-probe.ts';
import { postgresProbe } from './postgres-probe.ts';
import { processProbe, selfProbe, temporaryProbe } from './process-probe.ts';
import { prometheusProbe } from './prometheus-probe.ts';
import type { Probe } from './reading.ts';

/** One process per machine: the collector of its metrics and the agent that mends it. */
await runProcess('host', { temporalWorker: true }, async (context) => {
  const { config, database, operations, logger } = context;
  if (config.HAL9_AGENT_ORG === undefined) logger.warn('HAL9_AGENT_ORG is not set: the host agent refuses every run');
  const registered = register({ config, database, operations, logger });
  const stopCollector = startCollector(context);
  try {
    const connection = await context.connectWorker();
    await Promise.all(
      Object.entries(registered.queues).map(([queue, activities]) =>
        serveQueue(context, connection, { hash: '', code: '' }, { queue, workflows: false, activities }, once(() => context.ready({ queues: [queue] }))),
      ),
    );
  } finally {
    await stopCollector();
    await registered.shutdown?.();
  }
});

function startCollector({ config, logger, registry }: BackgroundProcess): () => Promise<void> {
  if (config.HAL9_COLLECTOR_KEY === undefined) {
    logger.warn('HAL9_COLLECTOR_KEY is not set: the collector does not run');
    return async () => undefined;
  }
  const delivery = new Delivery({ url: collectorUrl(config), apiKey: config.HAL9_COLLECTOR_KEY, capacity: config.HAL9_COLLECTOR_QUEUE, logger, registry });
  const collector = new Collector({ probes: probesOf(config), delivery, intervalMs: config.HAL9_COLLECTOR_INTERVAL_MS, logger });
  delivery.start();
  collector.start();
  return async () => {
    await collector.stop();
    await delivery.stop();
  };
}

function probesOf(config: Config): Probe[] {
  const hostId = hostIdOf(config);
  const host = `host/${hostId}`;
  const postgresUrl = config.HAL9_AGENT_POSTGRES_URL ?? config.DATABASE_URL;
  return [
    machineProbe(host),
    spaceProbe(host),
    processProbe(host, config.HAL9_AGENT_SUPERVISED),
    selfProbe(host),
    ...(config.HAL9_AGENT_TEMP === undefined ? [] : [temporaryProbe(host, config.HAL9_AGENT_TEMP)]),
    ...(postgresUrl === undefined ? [] : [postgresProbe(`postgres/${hostId}`, postgresUrl)]),
    ...config.HAL9_COLLECTOR_SCRAPE.flatMap((entry) => {
      const [name, ...url] = entry.split('=');
      return name === undefined || url.length === 0 ? [] : [prometheusProbe(name, url.join('='), hostId)];
    }),
  ];
}

function collectorUrl(config: Config): string {
  return (config.HAL9_COLLECTOR_URL ?? config.HAL9_PUBLIC_URL ?? `${config.HAL9_TLS_CERT === undefined ? 'http' : 'https'}://${config.HAL9_HOST}:${config.HAL9_PORT}`).replace(/\/$/, '');
}
