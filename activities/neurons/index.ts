import { availableParallelism } from 'node:os';
import { activityInfo, ApplicationFailure, cancellationSignal } from '@temporalio/activity';
import { failBatch } from '../../database/batch-failure.ts';
import { FAILURES } from '../../schemas/errors.ts';
import { TASK_QUEUES } from '../../schemas/names/task-queues.ts';
import { activityOrganisation } from '../activity-run.ts';
import { beating } from '../beating.ts';
import type { ActivityDependencies, RegisteredActivities } from '../dependencies.ts';
import type { BatchActivities, BatchLayer, LayerActivities } from './activity-contract.ts';
import { findPoison } from './poison-search.ts';
import type { Poison } from './stage-evaluation.ts';
import type { StageSummary } from './stage-summary.ts';
import { JobFailed, ThreadDied, ThreadPool } from './thread-pool.ts';

const INTERACTIVE_TIMEOUT_MS = 20_000;
/** Attempts at a layer that kills its thread before the batch is given up. */
const CRASHING_ATTEMPTS = 3;
const HEAP_MB = 1024;
/** SQLSTATE class of values PostgreSQL cannot store: the same evaluation would fail again. */
const DATA_EXCEPTION = '22';

export interface NeuronPools {
  readonly batch: ThreadPool;
  /** Threads of their own, so that a waiting caller never queues behind a batch. */
  readonly interactive: ThreadPool;
}

export interface LayerTimeouts {
  /** Milliseconds one layer of a batch may take. Default 120,000: the slowest neurons at the largest batch need a tenth. */
  readonly layerMs: number;
  /** Milliseconds one probe of a search for poison may take before it counts as a crash. Default 20,000. */
  readonly probeMs: number;
}

const TIMEOUTS: LayerTimeouts = { layerMs: 120_000, probeMs: 20_000 };

export function createLayerActivities({ batch: pool }: Pick<NeuronPools, 'batch'>, { layerMs, probeMs }: LayerTimeouts = TIMEOUTS): LayerActivities {
  const evaluate = async ({ batchId, layer }: BatchLayer, poison: readonly Poison[]): Promise<StageSummary> =>
    pool.run<'layer'>({ kind: 'layer', orgId: activityOrganisation(), batchId, layer, poison }, { signal: cancellationSignal(), timeoutMs: layerMs });
  return {
    evaluateLayer: (input) =>
      beating(() => orderly(async () => {
        try {
          return await evaluate(input, []);
        } catch (error) {
          if (!(error instanceof ThreadDied)) throw error;
          const poison = await findPoison(pool, { orgId: activityOrganisation(), ...input }, { timeoutMs: probeMs, signal: cancellationSignal() });
          if (poison.length > 0) return await evaluate(input, poison);
          if (activityInfo().attempt >= CRASHING_ATTEMPTS) throw ApplicationFailure.nonRetryable(`the batch ends its evaluation thread (${error.message}), and no single signal is to blame`, 'PoisonSignal');
          throw error;
        }
      })),
    applyAnswers: (input) =>
      beating(() => orderly(() => pool.run<'answers'>({ kind: 'answers', orgId: activityOrganisation(), ...input }, { signal: cancellationSignal(), timeoutMs: layerMs }))),
  };
}

export function createBatchActivities({ interactive }: Pick<NeuronPools, 'interactive'>, { database }: Pick<ActivityDependencies, 'database'>): BatchActivities {
  return {
    async evaluateAllLayers({ batchId }) {
      return orderly(() => interactive.run<'all-layers'>({ kind: 'all-layers', orgId: activityOrganisation(), batchId }, { signal: cancellationSignal(), timeoutMs: INTERACTIVE_TIMEOUT_MS }));
    },
    async failBatch({ batchId, failure, cause }) {
      await failBatch(database, activityOrganisation(), batchId, failure, cause);
    },
  };
}

/** Discovered: the evaluation of batches. */
export default function register(dependencies: ActivityDependencies): RegisteredActivities {
  const { database, logger } = dependencies;
  const pools: NeuronPools = {
    batch: new ThreadPool({ database: database.options, threads: Math.max(2, availableParallelism()), jobsPerThread: 1, heapMb: HEAP_MB, logger }),
    interactive: new ThreadPool({ database: database.options, threads: 1, jobsPerThread: 8, heapMb: HEAP_MB, logger }),
  };
  pools.batch.warm();
  pools.interactive.warm();
  const layers = { ...createLayerActivities(pools) };
  const batches = { ...createBatchActivities(pools, dependencies) };
  return {
    queues: {
      [TASK_QUEUES.neuronsL2]: layers,
      [TASK_QUEUES.neuronsL3]: layers,
      [TASK_QUEUES.neuronsL4]: layers,
      [TASK_QUEUES.core]: batches,
      [TASK_QUEUES.interactive]: batches,
    },
    async shutdown() {
      await Promise.all([pools.batch.close(), pools.interactive.close()]);
    },
  };
}

/** Says which failures of a job no retry can mend. */
async function orderly<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof JobFailed)) throw error;
    if (error.type !== undefined && !FAILURES[error.type].retryable) throw ApplicationFailure.nonRetryable(error.message, error.type);
    if (error.code?.startsWith(DATA_EXCEPTION) === true) throw ApplicationFailure.nonRetryable(`PostgreSQL cannot store what the neurons made (SQLSTATE ${error.code})`, 'PoisonSignal');
    throw error;
  }
}
