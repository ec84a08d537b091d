import type { Layer } from '../schemas/names/layers.ts';
import { type Expression, type Scope, signalView } from './expression.ts';
import type { NeuronSignal } from './layer.ts';

/** The signal under evaluation, offered to expressions. One instance is reused for a whole batch, so that most signals cost no allocation. */
export class SignalContext {
  signal: NeuronSignal;
  readonly #layer: Layer;
  readonly #raw: { signal: NeuronSignal; answer?: unknown; memory?: unknown };
  #view: Scope | undefined;

  constructor(signal: NeuronSignal, layer: Layer, answer?: unknown) {
    this.signal = signal;
    this.#layer = layer;
    this.#raw = answer === undefined ? { signal } : { signal, answer };
  }

  /** A signal beside what the neuron recalled. */
  static withMemory(signal: NeuronSignal, layer: Layer, memory: unknown): SignalContext {
    const context = new SignalContext(signal, layer);
    context.#raw.memory = memory;
    return context;
  }

  /** Moves on to the next signal. */
  use(signal: NeuronSignal): void {
    this.signal = signal;
    this.#raw.signal = signal;
    this.#view = undefined;
  }

  /** The variables for one expression: the signal itself where that is enough. */
  scope(expression: Expression): Scope {
    if (!expression.needsView) return this.#raw;
    this.#view ??= { ...this.#raw, signal: signalView(this.signal, this.#layer) };
    return this.#view;
  }

  test(expression: Expression): boolean {
    return expression.test(this.scope(expression));
  }

  text(expression: Expression): string {
    return expression.text(this.scope(expression));
  }

  number(expression: Expression): number {
    return expression.number(this.scope(expression));
  }

  map(expression: Expression): Record<string, unknown> {
    return expression.map(this.scope(expression));
  }

  json(expression: Expression): unknown {
    return expression.json(this.scope(expression));
  }
}
