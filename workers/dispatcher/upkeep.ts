import type { Logger } from 'pino';
import { Gauge, type Registry } from 'prom-client';
import type { OpenBatchStore } from '../../database/batches-open.ts';
import type { SignalUpkeep } from '../../database/signal-upkeep.ts';
import type { Drain } from './drains.ts';

const EVERY_MS = 60_000;
const GAUGES_EVERY_MS = 2000;

/** Partitions ahead of time, and the end of the dedup window. */
export function createUpkeep({ upkeep, dedupDays, logger }: { upkeep: SignalUpkeep; dedupDays: number; logger: Logger }): Drain {
  return {
    name: 'upkeep',
    pollMs: EVERY_MS,
    async run() {
      await upkeep.ensurePartitions();
      const removed = await upkeep.forgetKeys(dedupDays);
      if (removed > 0) logger.info({ removed }, 'keys past the dedup window removed');
      return removed > 0;
    },
  };
}

/** Keeps the gauges of what waits. */
export function createBacklogGauges(batches: OpenBatchStore, registry: Registry): Drain {
  const registers = [registry];
  const chunks = new Gauge({ name: 'hal9_chunks_waiting', help: 'Chunks that no cascade has taken yet.', registers });
  const lag = new Gauge({ name: 'hal9_chunks_lag_seconds', help: 'Age of the oldest waiting chunk, seconds.', registers });
  const open = new Gauge({ name: 'hal9_batches_open', help: 'Batches whose cascade has not decided yet.', registers });
  return {
    name: 'backlog',
    pollMs: GAUGES_EVERY_MS,
    async run() {
      const backlog = await batches.backlog();
      chunks.set(backlog.chunks);
      lag.set(backlog.lagSeconds);
      open.set(backlog.openBatches);
      return false;
    },
  };
}
