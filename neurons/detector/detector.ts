import type { DetectorBehaviour, Neuron } from '../../schemas/neurons/definition.ts';
import { Expression } from '../expression.ts';
import { EmitTemplate, type Outcomes } from '../outcome.ts';
import type { SignalContext } from '../signal-context.ts';
import type { LiveState, StatefulKind } from '../stateful.ts';
import { SeriesModel } from './series-model.ts';

/** Reports readings that are unlikely for their own series. */
export class DetectorKind implements StatefulKind {
  readonly sortsByTime = false;
  readonly behaviour: DetectorBehaviour;
  readonly value: Expression;
  readonly emit: EmitTemplate;
  readonly #series: Expression | undefined;

  /** @throws {ExpressionError} when an expression is wrong. */
  constructor(neuron: Neuron, behaviour: DetectorBehaviour) {
    this.behaviour = behaviour;
    this.value = Expression.compile(behaviour.value, '/behaviour/value', 'number');
    this.#series = behaviour.series === undefined ? undefined : Expression.compile(behaviour.series, '/behaviour/series', 'string');
    this.emit = new EmitTemplate(neuron, behaviour.emit, '/behaviour/emit');
  }

  seriesOf(context: SignalContext): string {
    if (this.#series !== undefined) return context.text(this.#series);
    const { source, type, subject } = context.signal;
    return subject === undefined ? `${source} ${type}` : `${source} ${type} ${subject}`;
  }

  open(series: string, bytes: Uint8Array | undefined): LiveState {
    return new DetectorState(this, series, new SeriesModel(bytes));
  }
}

class DetectorState implements LiveState {
  /** A detector acts on readings only. */
  readonly dueMs = null;
  readonly #kind: DetectorKind;
  readonly #series: string;
  readonly #model: SeriesModel;

  constructor(kind: DetectorKind, series: string, model: SeriesModel) {
    this.#kind = kind;
    this.#series = series;
    this.#model = model;
  }

  accept(context: SignalContext, outcomes: Outcomes): void {
    const { behaviour } = this.#kind;
    const value = context.number(this.#kind.value);
    const { timeMs } = context.signal;
    const { likelihood, expected } = this.#model.update(timeMs, value);
    if (likelihood < behaviour.threshold || this.#model.count <= behaviour.warmUp) return;
    const deviation = value - expected;
    if (Math.abs(deviation) < behaviour.minimumDeviation) return;
    if (behaviour.direction !== 'both' && (deviation > 0) !== (behaviour.direction === 'up')) return;
    if (timeMs - this.#model.lastReportMs < behaviour.refractorySeconds * 1000) return;
    outcomes.emissions.push(this.#kind.emit.emission(context, { value, expected, deviation, likelihood, series: this.#series }));
    this.#model.reported(timeMs);
  }

  passTime(): void {
    // Nothing waits for time.
  }

  bytes(): Uint8Array {
    return this.#model.bytes();
  }
}
