import type pg from 'pg';
import type { Database } from '../../database/database.ts';
import type { TransactionSettings } from '../../database/organisation-transactions.ts';
import { type BatchHeader, readBatchHeader, readLayerResult } from '../../database/cascade-inputs.ts';
import { signalOfEmission } from '../../neurons/emission-signal.ts';
import { HalError } from '../../schemas/errors.ts';
import type { Layer } from '../../schemas/names/layers.ts';
import { answerStage } from './answer-stage.ts';
import type { NeuronCache } from './compiled-neurons.ts';
import type { EvaluationLog } from './evaluation-spans.ts';
import { evaluateStage, FenceLost, type Poison, signalsInput, type StageInput, type StageOutcome, storeStages, upperInput } from './stage-evaluation.ts';
import { type Stage, type StageSummary, stageSummarySchema } from './stage-summary.ts';

/** What a thread can be asked to do. Every job names its organisation: the thread sees nothing else. */
export type Job =
  /** Evaluates one layer of a batch and stores what came of it. */
  | { readonly kind: 'layer'; readonly orgId: string; readonly batchId: string; readonly layer: Layer; readonly poison: readonly Poison[] }
  /** Applies the answers of a layer's external calls and stores what followed. */
  | { readonly kind: 'answers'; readonly orgId: string; readonly batchId: string; readonly layer: Layer }
  /** Evaluates the signals from `from` up to `to` and forgets what came of it: finds the one that kills a thread. */
  | { readonly kind: 'probe'; readonly orgId: string; readonly batchId: string; readonly layer: Layer; readonly from: number; readonly to: number }
  /** References of the layer's signals, in order. */
  | { readonly kind: 'refs'; readonly orgId: string; readonly batchId: string; readonly layer: Layer }
  /** Evaluates as many layers as need no call outside, in one transaction. */
  | { readonly kind: 'all-layers'; readonly orgId: string; readonly batchId: string };

export interface Answers {
  layer: StageSummary;
  answers: StageSummary;
  probe: null;
  refs: readonly string[];
  'all-layers': readonly StageSummary[];
}

/** How long a waiting caller's evaluation waits for a state that another holds, ms: longer, and it holds up the other callers of its thread; the cascade then goes the patient way. */
const INTERACTIVE_LOCK_MS = 5000;

export class BatchJobs {
  readonly #database: Database;
  readonly #cache: NeuronCache;

  constructor(database: Database, cache: NeuronCache) {
    this.#database = database;
    this.#cache = cache;
  }

  /** @param log gets what the evaluation of each layer took. */
  async run(job: Job, log?: EvaluationLog): Promise<Answers[Job['kind']]> {
    switch (job.kind) {
      case 'layer': return this.#layer(job, log);
      case 'answers': return this.#answers(job);
      case 'probe': return this.#probe(job);
      case 'refs': return this.#refs(job);
      case 'all-layers': return this.#allLayers(job, log);
    }
  }

  async #layer({ orgId, batchId, layer, poison }: Extract<Job, { kind: 'layer' }>, log: EvaluationLog | undefined): Promise<StageSummary> {
    return this.#fenced(orgId, batchId, layer, async (client, batch) => {
      const neurons = await this.#cache.get(client, orgId, batch.generation);
      const input = await this.#input(client, orgId, batch, layer);
      return onlyOne(await storeStages(client, batch, [await logged(log, input, (watched) => evaluateStage(client, neurons, batch, watched, poison))]));
    }, (summary) => summary);
  }

  async #answers({ orgId, batchId, layer }: Extract<Job, { kind: 'answers' }>): Promise<StageSummary> {
    return this.#fenced(orgId, batchId, `${layer}-answers`, async (client, batch) => {
      const neurons = await this.#cache.get(client, orgId, batch.generation);
      return onlyOne(await storeStages(client, batch, [await answerStage(client, neurons, batch, layer)]));
    }, (summary) => summary);
  }

  async #probe({ orgId, batchId, layer, from, to }: Extract<Job, { kind: 'probe' }>): Promise<null> {
    const done = new Error('probed');
    await this.#database.withOrgClient(orgId, async (client) => {
      const batch = await openBatch(client, batchId, layer);
      const neurons = await this.#cache.get(client, orgId, batch.generation);
      const input = await this.#input(client, orgId, batch, layer);
      await evaluateStage(client, neurons, batch, { ...input, signals: input.signals.slice(from, to), due: [] });
      // Nothing of a probe may stay, so its transaction is rolled back.
      throw done;
    }).catch((error: unknown) => {
      if (error !== done) throw error;
    });
    return null;
  }

  async #refs({ orgId, batchId, layer }: Extract<Job, { kind: 'refs' }>): Promise<readonly string[]> {
    return this.#database.withOrgClient(orgId, async (client) => {
      const input = await this.#input(client, orgId, await openBatch(client, batchId, layer), layer);
      return input.signals.map((signal) => signal.ref);
    });
  }

  async #input(client: pg.ClientBase, orgId: string, batch: BatchHeader, layer: Layer): Promise<StageInput> {
    const neurons = await this.#cache.get(client, orgId, batch.generation);
    return layer === 'L2' ? signalsInput(client, neurons, batch) : upperInput(client, neurons, batch, layer);
  }

  /** Layer after layer in memory, then everything at once: one commit instead of three while somebody waits. */
  async #allLayers({ orgId, batchId }: Extract<Job, { kind: 'all-layers' }>, log: EvaluationLog | undefined): Promise<readonly StageSummary[]> {
    return this.#fenced(orgId, batchId, 'L2', async (client, batch) => {
      const neurons = await this.#cache.get(client, orgId, batch.generation);
      const outcomes: StageOutcome[] = [];
      let input: StageInput | undefined = await signalsInput(client, neurons, batch);
      while (input !== undefined) {
        const outcome: StageOutcome = await logged(log, input, (watched) => evaluateStage(client, neurons, batch, watched));
        outcomes.push(outcome);
        input = outcome.externalCalls.length > 0 || outcome.next === null ? undefined : inputAbove(outcome, outcome.next);
      }
      return storeStages(client, batch, outcomes);
    }, (summary) => [summary], { lockMs: INTERACTIVE_LOCK_MS });
  }

  /** Runs `work` in a transaction unless an earlier attempt has committed the stage; a race is decided by the fence. */
  async #fenced<T>(orgId: string, batchId: string, stage: Stage, work: (client: pg.ClientBase, batch: BatchHeader) => Promise<T>, stored: (summary: StageSummary) => T, settings?: TransactionSettings): Promise<T> {
    try {
      return await this.#database.withOrgClient(orgId, async (client) => {
        const batch = await openBatch(client, batchId, stage);
        if (batch.storedSummary !== null) return stored(stageSummarySchema.parse(batch.storedSummary));
        if (batch.state !== 'open') throw new HalError('Conflict', `the batch is ${batch.state}`);
        return work(client, batch);
      }, settings);
    } catch (error) {
      if (!(error instanceof FenceLost)) throw error;
      const summary = await this.#database.withOrgClient(orgId, (client) => readLayerResult(client, batchId, stage));
      if (summary === undefined) throw new HalError('Conflict', 'the batch was closed meanwhile', { cause: error });
      return stored(stageSummarySchema.parse(summary));
    }
  }
}

/** Evaluates, noting what it took where somebody wants to know. */
function logged<T>(log: EvaluationLog | undefined, input: StageInput, evaluate: (input: StageInput) => Promise<T>): Promise<T> {
  return log === undefined ? evaluate(input) : log.layer(input.layer, input.signals.length, (onPhase) => evaluate({ ...input, onPhase }));
}

function onlyOne(summaries: readonly StageSummary[]): StageSummary {
  const [summary] = summaries;
  if (summary === undefined) throw new Error('a stored stage has a summary');
  return summary;
}

async function openBatch(client: pg.ClientBase, batchId: string, stage: string): Promise<BatchHeader> {
  const batch = await readBatchHeader(client, batchId, stage);
  if (batch === undefined) throw new HalError('NotFound', 'the organisation has no such batch');
  return batch;
}

function inputAbove(outcome: StageOutcome, layer: Layer): StageInput {
  const signals = outcome.emissions.filter((emission) => emission.direction === 'up' && emission.targetLayer === layer).map((emission) => signalOfEmission(emission, emission.id));
  return { layer, signals, unreadable: [], watermarkMs: outcome.watermarkMs, due: [], waiting: new Set() };
}
