import { ActivityFailure, ApplicationFailure, CancellationScope, condition, allHandlersFinished, defineQuery, defineUpdate, isCancellation, proxyActivities, proxyLocalActivities, setHandler, TemporalFailure } from '@temporalio/workflow';
import { LAYERS, type Layer } from '../../schemas/names/layers.ts';
import { CASCADE_DECIDE_UPDATE, RESERVED_QUERIES, type Progress } from '../../schemas/names/messages.ts';
import { TASK_QUEUES } from '../../schemas/names/task-queues.ts';
import type { CascadeInput, CascadeResult } from '../../schemas/operations/cascade.ts';
import type { BatchActivities, LayerActivities } from '../../activities/neurons/activity-contract.ts';
import type { StageSummary } from '../../activities/neurons/stage-summary.ts';
import { answerCalls } from './external-calls.ts';

/** The database may be away for as long as it likes: a batch is never given up for that. */
const LAYER_OPTIONS = {
  startToCloseTimeout: '20 minutes',
  heartbeatTimeout: '10 seconds',
  retry: { initialInterval: '200 milliseconds', backoffCoefficient: 2, maximumInterval: '10 seconds' },
} as const;

const layers: Readonly<Record<Layer, LayerActivities>> = {
  L2: proxyActivities<LayerActivities>({ ...LAYER_OPTIONS, taskQueue: TASK_QUEUES.neuronsL2 }),
  L3: proxyActivities<LayerActivities>({ ...LAYER_OPTIONS, taskQueue: TASK_QUEUES.neuronsL3 }),
  L4: proxyActivities<LayerActivities>({ ...LAYER_OPTIONS, taskQueue: TASK_QUEUES.neuronsL4 }),
};

const { failBatch } = proxyActivities<BatchActivities>({ taskQueue: TASK_QUEUES.core, startToCloseTimeout: '5 minutes', retry: { maximumInterval: '10 seconds' } });
/** Nobody waits longer for the quick way than the slow one would take. */
const { evaluateAllLayers } = proxyLocalActivities<BatchActivities>({ startToCloseTimeout: '30 seconds', retry: { maximumAttempts: 2, initialInterval: '50 milliseconds' } });

/** One batch of signals through the layers of neurons, until it is decided. */
export async function cascade({ batchId, interactive = false }: CascadeInput): Promise<CascadeResult> {
  const tally = new Tally(batchId);
  const outcome: { result?: CascadeResult } = {};
  setHandler(defineQuery<Progress>(RESERVED_QUERIES.progress), () => tally.progress());
  setHandler(defineUpdate<{ state: CascadeResult['state'] }, [unknown]>(CASCADE_DECIDE_UPDATE), async () => {
    await condition(() => outcome.result !== undefined);
    return { state: outcome.result?.state ?? 'failed' };
  });
  try {
    await decide(batchId, interactive, tally);
    outcome.result = tally.result();
  } catch (error) {
    outcome.result = await giveUp(batchId, error, tally);
    if (isCancellation(error)) {
      await CancellationScope.nonCancellable(() => condition(allHandlersFinished));
      throw error;
    }
  }
  await condition(allHandlersFinished);
  return outcome.result;
}

/** Stage after stage; each says which one has work next, and the last closes the batch in its own transaction. */
async function decide(batchId: string, interactive: boolean, tally: Tally): Promise<void> {
  for (const stage of interactive ? await quickly(batchId) : []) tally.add(stage);
  let stage = tally.last ?? tally.add(await layers.L2.evaluateLayer({ batchId, layer: 'L2' }));
  while (!stage.closed) stage = tally.add(await following(batchId, stage));
}

async function following(batchId: string, stage: StageSummary): Promise<StageSummary> {
  const layer = LAYERS.find((name) => name === stage.stage);
  if (layer !== undefined && stage.external > 0) {
    await answerCalls({ batchId, layer });
    return layers[layer].applyAnswers({ batchId, layer });
  }
  if (stage.next === null) throw ApplicationFailure.nonRetryable('a stage without further work left its batch open', 'Internal');
  return layers[stage.next].evaluateLayer({ batchId, layer: stage.next });
}

/** All layers in one local activity. None when that fails: then the batch goes the patient way. */
async function quickly(batchId: string): Promise<readonly StageSummary[]> {
  try {
    return await evaluateAllLayers({ batchId });
  } catch (error) {
    // The SDK hands out the failure of a local activity as it is, not within an ActivityFailure.
    if (error instanceof TemporalFailure && !isCancellation(error)) return [];
    throw error;
  }
}

/** What cannot be decided ends in the dead-letter list with the cause, and its lane goes on. */
async function giveUp(batchId: string, error: unknown, tally: Tally): Promise<CascadeResult> {
  if (!(error instanceof ActivityFailure) && !isCancellation(error)) throw error;
  const cause = isCancellation(error) ? 'the cascade was cancelled' : rootCause(error).message;
  const failure = isCancellation(error) ? 'Conflict' : rootCause(error).type;
  await CancellationScope.nonCancellable(() => failBatch({ batchId, failure, cause }));
  return tally.result(cause);
}

function rootCause(error: unknown): { message: string; type: string } {
  if (error instanceof ActivityFailure && error.cause !== undefined) return rootCause(error.cause);
  if (error instanceof ApplicationFailure) return { message: error.message, type: error.type ?? 'Internal' };
  return { message: error instanceof Error ? error.message : 'unknown', type: 'Internal' };
}

/** What the run reports; counts of what the stages said. */
class Tally {
  readonly #batchId: string;
  readonly #stages: StageSummary[] = [];

  constructor(batchId: string) {
    this.#batchId = batchId;
  }

  get last(): StageSummary | undefined {
    return this.#stages.at(-1);
  }

  add(stage: StageSummary): StageSummary {
    this.#stages.push(stage);
    return stage;
  }

  progress(): Progress {
    const { signals, emissions, decisions } = this.result();
    return {
      step: this.last?.next ?? this.last?.stage ?? 'L2',
      done: this.#stages.length,
      total: this.last?.closed === true ? this.#stages.length : null,
      message: `${String(signals)} signals, ${String(emissions)} emissions, ${String(decisions)} decisions`,
    };
  }

  /** @param failure why the batch was given up; missing when it was decided. */
  result(failure?: string): CascadeResult {
    const sum = (count: (stage: StageSummary) => number): number => this.#stages.reduce((total, stage) => total + count(stage), 0);
    return {
      batchId: this.#batchId,
      state: failure === undefined ? 'decided' : 'failed',
      signals: this.#stages[0]?.signals ?? 0,
      emissions: sum((stage) => stage.emissions),
      decisions: sum((stage) => stage.decisions),
      deadLetters: sum((stage) => stage.deadLetters),
      externalCalls: sum((stage) => stage.external),
      ...(failure === undefined ? {} : { failure }),
    };
  }
}
