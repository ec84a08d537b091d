import type { ApprovalRule, Severity } from '../schemas/neurons/definition.ts';
import type { Layer } from '../schemas/names/layers.ts';

/**
 * The contract between the neuron core and whoever runs it. The core is pure: the caller loads states, calls
 * {@link LayerEvaluator.evaluate}, and stores everything in the answer in one transaction.
 */

/** What a neuron sees: a signal from outside, or an emission of another neuron. */
export interface NeuronSignal {
  /** HAL9's id: the dedup key of a signal, or the id of an emission. */
  readonly ref: string;
  readonly id: string;
  readonly source: string;
  readonly type: string;
  readonly subject?: string;
  /** Event time, milliseconds since the epoch. */
  readonly timeMs: number;
  readonly data?: unknown;
  /** Names of the neurons this came through, oldest first: the loop guard. */
  readonly path?: readonly string[];
  /** Delegations so far; a delegation beyond `MAX_DELEGATIONS` is a failure. */
  readonly depth?: number;
  readonly [extension: string]: unknown;
}

/**
 * Hears that a part of an evaluation is over: `rules` is routing and everything that keeps no state.
 * @param items signals of the part, or readings of its states.
 */
export type PhaseListener = (kind: 'rules' | 'detector' | 'correlator', items: number) => void;

export interface LayerInput {
  readonly signals: readonly NeuronSignal[];
  /** Latest event time this layer has seen, ms; groups that are due by then close. */
  readonly watermarkMs: number;
  /**
   * States of this lane whose {@link NeuronState.dueMs} is at or before `watermarkMs`; they are evaluated after the signals, in this
   * order, so give them sorted. Those the signals touch anyway may be among them. Default: none.
   */
  readonly due?: readonly { readonly neuronId: string; readonly series: string }[];
  /** Told when the evaluation is done with all neurons of a kind that decides its order, for traces. Default: nobody. */
  readonly onPhase?: PhaseListener | undefined;
}

/** Bounded state of one neuron for one series or group. */
export interface NeuronState {
  readonly neuronId: string;
  readonly series: string;
  /** Exact serialisation: the same bytes give the same future bit for bit. Empty: forget the state. */
  readonly bytes: Uint8Array;
  /** Event time (ms) at which the neuron wants to be called even without a signal; null for never. */
  readonly dueMs: number | null;
}

export interface Emission {
  readonly neuronId: string;
  readonly neuronVersion: number;
  readonly neuronName: string;
  /** Where it goes: the next layer up, or down for a delegation. */
  readonly targetLayer: Layer;
  readonly direction: 'up' | 'down';
  readonly type: string;
  readonly subject: string | null;
  readonly correlationKey: string;
  readonly timeMs: number;
  readonly severity: Severity;
  readonly data: unknown;
  /** `ref`s of the signals it rests on; for a group the latest 100. */
  readonly causes: readonly string[];
  readonly path: readonly string[];
  readonly depth: number;
}

export interface Decision {
  readonly neuronId: string;
  readonly neuronVersion: number;
  readonly neuronName: string;
  readonly summary: string;
  readonly reason: string;
  readonly severity: Severity;
  /** With `cooldownSeconds`: later equal keys within that time are the same decision. */
  readonly key: string | null;
  readonly cooldownSeconds: number;
  readonly operation: { readonly type: string; readonly input: unknown } | null;
  readonly notify: { readonly connection: string; readonly title: string; readonly message: string } | null;
  readonly approval: ApprovalRule | null;
  readonly timeMs: number;
  readonly causes: readonly string[];
  /** Evidence: what the neuron looked at, small JSON. */
  readonly evidence: unknown;
  readonly depth: number;
}

/** A neuron of kind `llm` or `http` wants to be called for this signal; an activity of its own does so. */
export interface ExternalCall {
  readonly neuronId: string;
  readonly neuronVersion: number;
  readonly signal: NeuronSignal;
}

/** One signal on which one neuron failed; the others of the batch are unaffected. */
export interface NeuronFailure {
  readonly neuronId: string;
  readonly neuronVersion: number;
  readonly ref: string;
  /** Plain words, without the signal's data. */
  readonly cause: string;
}

export interface LayerOutput {
  readonly emissions: readonly Emission[];
  readonly decisions: readonly Decision[];
  readonly external: readonly ExternalCall[];
  readonly failures: readonly NeuronFailure[];
  /** Only the states that changed. */
  readonly states: readonly NeuronState[];
  /** (neuron, signal) pairs evaluated. */
  readonly evaluations: number;
  /** (neuron, signal) pairs skipped by the loop guard: the signal already came through the neuron. */
  readonly loopsSkipped: number;
}

/** States by neuron and series; `get` answers undefined for a series never seen. */
export interface StateReader {
  get(neuronId: string, series: string): Uint8Array | undefined;
}

export interface LayerEvaluator {
  readonly layer: Layer;
  /** Whether every neuron is pure, so that a waiting caller can be answered from one local activity. */
  readonly pure: boolean;
  /** Whether any neuron keeps state, so that the caller must own the lane. */
  readonly stateful: boolean;
  /** The states {@link evaluate} will read for this input, so that they can be loaded at once. */
  statesNeeded(input: LayerInput): readonly { neuronId: string; series: string }[];
  evaluate(input: LayerInput, states: StateReader): LayerOutput;
}
