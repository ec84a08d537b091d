import type { Layer } from '../../schemas/names/layers.ts';
import type { StageSummary } from './stage-summary.ts';

export interface BatchLayer {
  readonly batchId: string;
  readonly layer: Layer;
}

/** Served by the queue of each layer. */
export interface LayerActivities {
  /**
   * Evaluates one layer of a batch and stores what came of it, once: a retry answers the stored summary.
   * @throws {ApplicationFailure} NotFound, Conflict (the batch is closed), PoisonSignal (it kills threads and no single signal is to blame); not retryable.
   */
  evaluateLayer(input: BatchLayer): Promise<StageSummary>;
  /** Applies the stored answers of a layer's external calls; those without an answer go to the neuron's fallback. */
  applyAnswers(input: BatchLayer): Promise<StageSummary>;
}

/** Served by `core` and `core-interactive`. */
export interface BatchActivities {
  /**
   * Evaluates all layers that need no call outside, in one transaction; for a waiting caller, as a local activity.
   * @returns the stages stored, in order; at least one.
   */
  evaluateAllLayers(input: { readonly batchId: string }): Promise<readonly StageSummary[]>;
  /** Gives the batch up: its signals become dead letters with the cause. */
  failBatch(input: { readonly batchId: string; readonly failure: string; readonly cause: string }): Promise<void>;
}
