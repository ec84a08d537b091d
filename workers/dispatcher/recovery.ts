import type { Logger } from 'pino';
import { failBatch } from '../../database/batch-failure.ts';
import type { OpenBatchStore, OpenedBatch } from '../../database/batches-open.ts';
import type { Database } from '../../database/database.ts';
import type { RunsPort } from '../../platform/operations/contract.ts';
import { HalError } from '../../schemas/errors.ts';
import { formatRunId } from '../../schemas/names/workflow-id.ts';
import { cascadeUuid, dispatcherCaller, type BatchStarter } from './batch-starter.ts';
import type { Drain } from './drains.ts';

/** Cascades of one batch that may end without deciding it; after the last it is given up. */
const MOST_ATTEMPTS = 3;
const BATCHES_AT_ONCE = 100;

export interface RecoveryOptions {
  readonly database: Database;
  readonly batches: OpenBatchStore;
  readonly starter: BatchStarter;
  readonly runs: Pick<RunsPort, 'describe'>;
  readonly logger: Logger;
  /** Age at which a start that nobody acknowledged is repeated, seconds. Default 3. */
  readonly unstartedSeconds?: number;
  /** Age at which, and then how often, a started batch is compared with its run, seconds. Default 20. */
  readonly overdueSeconds?: number;
}

/**
 * Sees to it that no lane waits for ever: starts what was opened and never started, compares what runs for long with Temporal,
 * starts anew what ended without a decision, and after {@link MOST_ATTEMPTS} gives the batch up to the dead letters.
 */
export function createRecovery(options: RecoveryOptions): Drain {
  const { batches, starter, unstartedSeconds = 3, overdueSeconds = 20 } = options;
  return {
    name: 'recovery',
    pollMs: 1000,
    async run(signal) {
      await batches.ensureLanes();
      starter.add(await batches.unstarted(unstartedSeconds, BATCHES_AT_ONCE));
      const overdue = await batches.claimOverdue(overdueSeconds, BATCHES_AT_ONCE);
      for (const batch of overdue) {
        if (signal.aborted) return false;
        if (await hasEnded(options, batch)) await restartOrFail(options, batch);
      }
      return overdue.length === BATCHES_AT_ONCE;
    },
  };
}

/** Whether no run works on the batch: closed, or unknown to Temporal. */
async function hasEnded({ runs, logger }: RecoveryOptions, batch: OpenedBatch): Promise<boolean> {
  try {
    const described = await runs.describe(dispatcherCaller(batch), formatRunId({ operation: 'cascade', uuid: cascadeUuid(batch) }));
    return described.status !== 'running' || described.source === 'read-model';
  } catch (error) {
    if (error instanceof HalError && error.type === 'NotFound') return true;
    logger.warn({ reason: error instanceof Error ? error.message : String(error), batch: batch.id }, 'cannot tell how the cascade stands, looking again later');
    return false;
  }
}

async function restartOrFail({ database, batches, starter, logger }: RecoveryOptions, batch: OpenedBatch): Promise<void> {
  if (batch.attempts >= MOST_ATTEMPTS) {
    const letters = await failBatch(database, batch.orgId, batch.id, 'Internal', `its cascade ended ${MOST_ATTEMPTS + 1} times without a decision`);
    logger.error({ batch: batch.id, letters }, 'batch given up, its signals are dead letters');
    return;
  }
  const attempts = await batches.nextAttempt(batch);
  if (attempts === undefined) return;
  logger.warn({ batch: batch.id, attempts }, 'cascade ended without a decision, starting it anew');
  starter.add([{ ...batch, attempts }]);
}
