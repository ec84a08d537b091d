import type { DetectorBehaviour, Neuron } from '../../schemas/neurons/definition.ts';
import { Expression } from '../expression.ts';
import { EmitTemplate, type Outcomes } from '../outcome.ts';
import type { SignalContext } from '../signal-context.ts';
import type { LiveState, StatefulKind } from '../stateful.ts';
import { ReportMemory, type Standing } from './report-memory.ts';
import { SeriesModel } from './series-model.ts';

/** Reports readings that are unlikely for their own series, or beyond fixed limits. */
export class DetectorKind implements StatefulKind {
  readonly sortsByTime = false;
  readonly behaviour: DetectorBehaviour;
  readonly value: Expression;
  readonly sustainedBy: Expression | undefined;
  readonly emit: EmitTemplate;
  readonly #series: Expression | undefined;

  /** @throws {ExpressionError} when an expression is wrong. */
  constructor(neuron: Neuron, behaviour: DetectorBehaviour) {
    this.behaviour = behaviour;
    this.value = Expression.compile(behaviour.value, '/behaviour/value', 'number');
    this.sustainedBy = behaviour.sustainedBy === undefined ? undefined : Expression.compile(behaviour.sustainedBy, '/behaviour/sustainedBy', 'string');
    this.#series = behaviour.series === undefined ? undefined : Expression.compile(behaviour.series, '/behaviour/series', 'string');
    this.emit = new EmitTemplate(neuron, behaviour.emit, '/behaviour/emit');
  }

  seriesOf(context: SignalContext): string {
    if (this.#series !== undefined) return context.text(this.#series);
    const { source, type, subject } = context.signal;
    return subject === undefined ? `${source} ${type}` : `${source} ${type} ${subject}`;
  }

  open(series: string, bytes: Uint8Array | undefined): LiveState {
    return new DetectorState(this, series, bytes);
  }
}

class DetectorState implements LiveState {
  /** A detector acts on readings only. */
  readonly dueMs = null;
  readonly #kind: DetectorKind;
  readonly #series: string;
  readonly #reports: ReportMemory;
  readonly #model: SeriesModel | undefined;

  constructor(kind: DetectorKind, series: string, bytes: Uint8Array | undefined) {
    this.#kind = kind;
    this.#series = series;
    this.#reports = new ReportMemory(bytes?.subarray(0, ReportMemory.BYTES));
    this.#model = kind.behaviour.baseline ? new SeriesModel(bytes?.subarray(ReportMemory.BYTES), kind.behaviour) : undefined;
  }

  accept(context: SignalContext, outcomes: Outcomes): void {
    const { behaviour, sustainedBy, emit } = this.#kind;
    const { timeMs } = context.signal;
    const value = context.number(this.#kind.value);
    const identity = sustainedBy === undefined ? '' : context.text(sustainedBy);
    const model = this.#model;
    const likelihood = model === undefined ? 0 : model.update(timeMs, value);
    const expected = model === undefined ? null : model.expected;
    const beyond = (behaviour.above !== undefined && value > behaviour.above) || (behaviour.below !== undefined && value < behaviour.below);
    const standing = beyond ? 'unusual' : model === undefined ? 'usual' : this.#standing(value - model.expected, likelihood, model);
    if (!this.#reports.isDue(timeMs, standing, identity, behaviour)) return;
    const found = expected === null ? { value, series: this.#series } : { value, expected, deviation: value - expected, likelihood, series: this.#series };
    outcomes.emissions.push(emit.emission(context, { ...found, since: new Date(this.#reports.unusualSinceMs).toISOString() }));
    this.#reports.reported(timeMs);
  }

  #standing(deviation: number, likelihood: number, model: SeriesModel): Standing {
    const { threshold, warmUp, minimumDeviation, direction } = this.#kind.behaviour;
    if (likelihood < threshold || Math.abs(deviation) < minimumDeviation) return 'usual';
    if (direction !== 'both' && (deviation > 0) !== (direction === 'up')) return 'usual';
    return model.count > warmUp ? 'unusual' : 'early';
  }

  passTime(): void {
    // Nothing waits for time.
  }

  bytes(): Uint8Array {
    const reports = this.#reports.bytes();
    if (this.#model === undefined) return reports;
    const model = this.#model.bytes();
    const all = new Uint8Array(reports.length + model.length);
    all.set(reports);
    all.set(model, reports.length);
    return all;
  }
}
