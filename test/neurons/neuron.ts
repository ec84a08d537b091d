import { compileLayer } from '../../neurons/compile-layer.ts';
import { signalOfEmission } from '../../neurons/emission-signal.ts';
import type { Decision, Emission, LayerEvaluator, LayerOutput, NeuronFailure, NeuronSignal, StateReader } from '../../neurons/layer.ts';
import { LAYERS } from '../../schemas/names/layers.ts';
import { type Neuron, type NeuronDraft, neuronDraftSchema } from '../../schemas/neurons/definition.ts';

/** A stored neuron whose id is its name. */
export function neuron(name: string, layer: 'L2' | 'L3' | 'L4', types: readonly string[], behaviour: unknown, more: Readonly<Record<string, unknown>> = {}): Neuron {
  const { subscription, ...rest } = more;
  const draft = neuronDraftSchema.parse({ name, layer, subscription: { types, ...(typeof subscription === 'object' ? subscription : {}) }, behaviour, ...rest });
  return { ...draft, id: name, version: 1 };
}

export const stored = (drafts: readonly NeuronDraft[]): Neuron[] => drafts.map((draft) => ({ ...draft, id: draft.name, version: 1 }));

export function signal(more: Partial<NeuronSignal> & { readonly ref?: string } = {}): NeuronSignal {
  const ref = more.ref ?? 's1';
  return { ref, id: ref, source: 'host/a', type: 'metric', timeMs: 1_700_000_000_000, data: { value: 1 }, ...more };
}

export const NO_STATES: StateReader = { get: () => undefined };

export function evaluate(layer: LayerEvaluator, signals: readonly NeuronSignal[], watermarkMs = Number.MIN_SAFE_INTEGER): LayerOutput {
  return layer.evaluate({ signals, watermarkMs }, NO_STATES);
}

/** Runs signals through all layers and keeps their states, as a cascade would. */
export class Cascade {
  readonly emissions: Emission[] = [];
  readonly decisions: Decision[] = [];
  readonly failures: NeuronFailure[] = [];
  readonly #layers: readonly LayerEvaluator[];
  readonly #states = new Map<string, { bytes: Uint8Array; dueMs: number | null; neuronId: string; series: string }>();
  #refs = 0;

  constructor(neurons: readonly Neuron[]) {
    this.#layers = LAYERS.map((layer) => compileLayer(layer, neurons));
  }

  /** @param watermarkMs default: the latest event time of the signals. */
  push(signals: readonly NeuronSignal[], watermarkMs = Math.max(...signals.map(({ timeMs }) => timeMs))): void {
    let current = signals;
    for (const layer of this.#layers) {
      const due = [...this.#states.values()].filter(({ dueMs }) => dueMs !== null && dueMs <= watermarkMs).map(({ neuronId, series }) => ({ neuronId, series }));
      const output = layer.evaluate({ signals: current, watermarkMs, due }, { get: (neuronId, series) => this.#states.get(`${neuronId} ${series}`)?.bytes });
      for (const state of output.states) this.#states.set(`${state.neuronId} ${state.series}`, state);
      this.emissions.push(...output.emissions);
      this.decisions.push(...output.decisions);
      this.failures.push(...output.failures);
      current = output.emissions.map((emission) => signalOfEmission(emission, `e${String(this.#refs++)}`));
    }
  }
}
