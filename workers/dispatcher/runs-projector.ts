import { RUN_ENDED_CHANNEL } from '../../database/run-events.ts';
import { IdempotencyStore } from '../../database/idempotency.ts';
import { RunStore } from '../../database/runs.ts';
import { WorkerStore } from '../../database/workers.ts';
import { RunProjection } from '../../platform/operations/run-projection.ts';
import type { BackgroundProcess } from '../process.ts';
import type { Drain } from './drains.ts';

const POLL_MS = 1_000;
/** Ends that are announced share one look; visibility is some ten milliseconds behind them, ms. */
const COALESCE_MS = 100;
const RECONCILE_MS = 60_000;
const UPKEEP_MS = 300_000;
/** A process silent for this long is off the list. */
const FORGET_WORKER_SECONDS = 3_600;

type Context = Pick<BackgroundProcess, 'client' | 'database' | 'logger'>;

/** Keeps the read model of runs up to date with Temporal. */
export function createRunsProjector({ client, database, logger }: Context): Drain {
  const projection = new RunProjection(client, new RunStore(database));
  let reconcileAt = Date.now() + RECONCILE_MS;
  return {
    name: 'runs-projector',
    channels: [RUN_ENDED_CHANNEL],
    pollMs: POLL_MS,
    coalesceMs: () => COALESCE_MS,
    async run(signal) {
      await projection.advance(signal);
      if (Date.now() < reconcileAt) return false;
      reconcileAt = Date.now() + RECONCILE_MS;
      const mended = await projection.reconcile(signal);
      if (mended > 0) logger.info({ mended }, 'runs that ended unnoticed');
      return false;
    },
  };
}

/** Removes expired idempotency keys and processes that are long gone. */
export function createRunsUpkeep({ database }: Context): Drain {
  const keys = new IdempotencyStore(database);
  const workers = new WorkerStore(database);
  return {
    name: 'runs-upkeep',
    pollMs: UPKEEP_MS,
    async run() {
      await keys.deleteExpiredOfAllOrganisations(new Date());
      await workers.deleteSilent(FORGET_WORKER_SECONDS);
      return false;
    },
  };
}
