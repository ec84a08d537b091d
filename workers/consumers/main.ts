import { setTimeout as sleep } from 'node:timers/promises';
import { Counter } from 'prom-client';
import { SourceStore, type StoredSource } from '../../database/broker-sources.ts';
import { SignalStore } from '../../database/signals.ts';
import { BrokerIntake } from '../../platform/brokers/intake.ts';
import { connectAmqp } from '../../platform/connections/amqp.ts';
import { Connections } from '../../platform/connections/connections.ts';
import { Egress } from '../../platform/connections/egress.ts';
import { SignalIngest } from '../../platform/signals/ingest.ts';
import { LaneChooser } from '../../platform/signals/lane.ts';
import { IngestMetrics } from '../../platform/signals/metrics.ts';
import { runProcess } from '../process.ts';
import { consumeQueue } from './amqp-consumer.ts';
import { keepLeases } from './lease-keeper.ts';

const CONNECT_MS = 10_000;
/** Time for Temporal to say that it is there, ms. */
const TEMPORAL_MS = 1_500;
const GATE_RETRY_MS = 500;

/** Consumes the sources that this process holds. */
await runProcess('consumers', { temporalWorker: false }, async (context) => {
  const { config, database, keys, client, logger, registry, shutdown } = context;
  const egress = new Egress({ allowPrivate: config.HAL9_ALLOW_PRIVATE_ADDRESSES });
  const connections = new Connections({ database, keys, egress });
  const ingest = new SignalIngest(new SignalStore(database), new IngestMetrics(registry));
  const intake = new BrokerIntake({ database, ingest, lanes: new LaneChooser(config.HAL9_LANES), keys });
  const store = new SourceStore(database);
  const taken = new Counter({ name: 'hal9_source_messages_total', help: 'Messages of brokers that were acknowledged, by what became of them.', labelNames: ['outcome'], registers: [registry] });

  /** Backlog belongs into the broker while nothing could be decided: without Temporal no message is taken in. */
  const gate = async (signal: AbortSignal): Promise<void> => {
    for (let failed = false; ; failed = true) {
      signal.throwIfAborted();
      try {
        await client.withDeadline(Date.now() + TEMPORAL_MS, () => client.workflowService.getSystemInfo({}));
        return;
      } catch (error) {
        if (!failed) logger.warn({ reason: error instanceof Error ? error.message : String(error) }, 'Temporal does not answer: messages stay in their brokers');
        await sleep(GATE_RETRY_MS, undefined, { signal });
      }
    }
  };

  const consume = async (source: StoredSource, signal: AbortSignal): Promise<void> => {
    const { orgId, id, draft } = source;
    const parts = {
      intake,
      gate,
      logger,
      onState: (state: 'connected' | 'failed', failure: string | null) => store.noteState(orgId, id, state, failure),
      onTaken: (messages: number, dead: number) => {
        taken.inc({ outcome: 'signal' }, messages - dead);
        taken.inc({ outcome: 'dead-letter' }, dead);
      },
    };
    switch (draft.kind) {
      case 'amqp':
        return consumeQueue({ ...parts, source: { ...source, draft }, connect: async () => connectAmqp(egress, (await connections.open(orgId, draft.connection, ['amqp'])).settings, CONNECT_MS) }, signal);
      case 'kafka': {
        // Not before there is such a source: its client compiles its schemas while it is loaded.
        const [{ connectKafka }, { consumeTopics }] = await Promise.all([import('../../platform/connections/kafka.ts'), import('./kafka-consumer.ts')]);
        return consumeTopics({ ...parts, source: { ...source, draft }, connect: async () => connectKafka(egress, (await connections.open(orgId, draft.connection, ['kafka'])).settings, CONNECT_MS) }, signal);
      }
    }
  };

  context.ready();
  await keepLeases(
    {
      store,
      logger,
      consume,
    },
    shutdown,
  );
  await ingest.close();
  await egress.close();
});
