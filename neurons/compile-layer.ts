import type { Layer } from '../schemas/names/layers.ts';
import type { Neuron, NeuronBehaviour } from '../schemas/neurons/definition.ts';
import { CorrelatorKind } from './correlator.ts';
import { DetectorKind } from './detector/detector.ts';
import { Expression, ExpressionError } from './expression.ts';
import { checkFanOut, compileAnswerRules, isExternal } from './external.ts';
import type { ExternalCall, LayerEvaluator, LayerInput, LayerOutput, NeuronFailure, NeuronSignal, NeuronState, StateReader } from './layer.ts';
import type { Outcomes } from './outcome.ts';
import { type Route, RoutingIndex } from './routing-index.ts';
import { RuleSet } from './rules.ts';
import { SignalContext } from './signal-context.ts';
import { type LiveState, MAX_SERIES_CHARACTERS, type StatefulKind } from './stateful.ts';

type Work =
  | { readonly kind: 'rules'; readonly rules: RuleSet }
  | { readonly kind: 'stateful'; readonly stateful: StatefulKind }
  | { readonly kind: 'external' }
  /** A stored neuron that this build cannot compile: its signals fail, the others' do not. */
  | { readonly kind: 'broken'; readonly cause: ExpressionError };

interface Compiled {
  readonly neuron: Neuron;
  readonly filter: Expression | undefined;
  readonly work: Work;
}

/** A signal for a stateful neuron, with the series it belongs to. */
interface Reading {
  readonly compiled: Compiled;
  readonly stateful: StatefulKind;
  readonly signal: NeuronSignal;
  readonly series: string;
}

/** Everything an evaluation adds up. */
interface Run extends Outcomes {
  readonly external: ExternalCall[];
  readonly failures: NeuronFailure[];
  readonly readings: Reading[];
  evaluations: number;
  loopsSkipped: number;
}

/**
 * Compiles the behaviour of one neuron.
 * @throws {ExpressionError} for the first expression that is wrong.
 */
export function compileWork(neuron: Neuron): Work {
  const { behaviour } = neuron;
  switch (behaviour.kind) {
    case 'rules': return { kind: 'rules', rules: new RuleSet(neuron, behaviour.rules, '/behaviour/rules', { match: behaviour.match, withAnswer: false }) };
    case 'detector': return { kind: 'stateful', stateful: new DetectorKind(neuron, behaviour) };
    case 'correlator': return { kind: 'stateful', stateful: new CorrelatorKind(neuron, behaviour) };
    case 'llm':
    case 'http': {
      if (isExternal(neuron)) compileAnswerRules(neuron);
      return { kind: 'external' };
    }
  }
}

function compile(neuron: Neuron): Compiled {
  try {
    const { filter } = neuron.subscription;
    return { neuron, filter: filter === undefined ? undefined : Expression.compile(filter, '/subscription/filter', 'bool'), work: compileWork(neuron) };
  } catch (error) {
    if (error instanceof ExpressionError) return { neuron, filter: undefined, work: { kind: 'broken', cause: error } };
    throw error;
  }
}

/** What the index needs of a neuron. A filter that does not compile demands nothing, so that its signals are routed to it and fail. */
function routeOf({ subscription: { types, sources, filter } }: Neuron): Route {
  if (filter?.includes('==') !== true) return { types, sources, required: [] };
  try {
    return { types, sources, required: Expression.compile(filter, '/subscription/filter', 'bool').required };
  } catch (error) {
    if (error instanceof ExpressionError) return { types, sources, required: [] };
    throw error;
  }
}

class CompiledLayer implements LayerEvaluator {
  readonly layer: Layer;
  readonly pure: boolean;
  readonly stateful: boolean;
  readonly #neurons: readonly Neuron[];
  readonly #positions: ReadonlyMap<string, number>;
  /** By position, compiled at the first signal: of many registered neurons most sleep, and a syntax tree costs kilobytes. */
  readonly #compiled: (Compiled | undefined)[];
  readonly #index: RoutingIndex;

  constructor(layer: Layer, neurons: readonly Neuron[]) {
    this.layer = layer;
    const own = neurons.filter((neuron) => neuron.layer === layer && neuron.enabled);
    // By name, so that the order of outcomes does not depend on the order of the rows.
    this.#neurons = own.toSorted((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
    this.#positions = new Map(this.#neurons.map(({ id }, position) => [id, position]));
    this.#compiled = Array.from({ length: own.length });
    this.pure = own.every((neuron) => !isExternal(neuron));
    this.stateful = own.some(({ behaviour }) => isStateful(behaviour));
    this.#index = new RoutingIndex(this.#neurons.map(routeOf));
  }

  #at(position: number): Compiled | undefined {
    const known = this.#compiled[position];
    if (known !== undefined) return known;
    const neuron = this.#neurons[position];
    if (neuron === undefined) return undefined;
    const compiled = compile(neuron);
    this.#compiled[position] = compiled;
    return compiled;
  }

  statesNeeded(input: LayerInput): readonly { neuronId: string; series: string }[] {
    if (!this.stateful) return [];
    const needed = new Map<string, { neuronId: string; series: string }>();
    const add = (neuronId: string, series: string): void => {
      needed.set(`${neuronId}/${series}`, { neuronId, series });
    };
    const run = newRun();
    this.#route(input.signals, run, true);
    for (const { compiled, series } of run.readings) add(compiled.neuron.id, series);
    for (const { neuronId, series } of input.due ?? []) add(neuronId, series);
    return [...needed.values()];
  }

  evaluate(input: LayerInput, states: StateReader): LayerOutput {
    const run = newRun();
    this.#route(input.signals, run, false);
    input.onPhase?.('rules', input.signals.length);
    const live = new LiveStates(states);
    const byTime: Reading[] = [];
    const context = this.#context(input.signals[0]);
    for (const reading of run.readings) {
      if (reading.stateful.sortsByTime) byTime.push(reading);
      else this.#accept(reading, live, context, run);
    }
    input.onPhase?.('detector', run.readings.length - byTime.length);
    byTime.sort((a, b) => a.signal.timeMs - b.signal.timeMs);
    for (const reading of byTime) this.#accept(reading, live, context, run);
    for (const { neuronId, series } of input.due ?? []) {
      const work = this.#at(this.#positions.get(neuronId) ?? -1)?.work;
      if (work?.kind === 'stateful') live.get(neuronId, series, work.stateful);
    }
    const changed = live.passTime(input.watermarkMs, run);
    input.onPhase?.('correlator', byTime.length);
    const { emissions, decisions, external, failures, evaluations, loopsSkipped } = run;
    return { emissions, decisions, external, failures, states: changed, evaluations, loopsSkipped };
  }

  #context(signal: NeuronSignal | undefined): SignalContext {
    return new SignalContext(signal ?? { ref: '', id: '', source: '', type: '', timeMs: 0 }, this.layer);
  }

  /** Runs everything that keeps no state, and finds the readings of what does. */
  #route(signals: readonly NeuronSignal[], run: Run, readingsOnly: boolean): void {
    const context = this.#context(signals[0]);
    for (const signal of signals) {
      const positions = this.#index.find(signal);
      if (positions.length === 0) continue;
      context.use(signal);
      for (const position of positions) {
        const compiled = this.#at(position);
        if (compiled === undefined || (readingsOnly && compiled.work.kind !== 'stateful')) continue;
        this.#visit(compiled, context, run);
      }
    }
  }

  #visit(compiled: Compiled, context: SignalContext, run: Run): void {
    const { neuron, filter, work } = compiled;
    const { signal } = context;
    if (signal.path?.includes(neuron.name) === true) {
      run.loopsSkipped += 1;
      return;
    }
    const emissions = run.emissions.length;
    const decisions = run.decisions.length;
    try {
      run.evaluations += 1;
      if (filter !== undefined && !passes(filter, context)) return;
      switch (work.kind) {
        case 'rules':
          work.rules.apply(context, run);
          checkFanOut(neuron, run.emissions.length + run.decisions.length - emissions - decisions);
          break;
        case 'stateful': {
          const series = work.stateful.seriesOf(context);
          if (series.length > MAX_SERIES_CHARACTERS) throw new ExpressionError('long_series', `the series' name is longer than ${String(MAX_SERIES_CHARACTERS)} characters`, '/behaviour', null);
          run.readings.push({ compiled, stateful: work.stateful, signal, series });
          break;
        }
        case 'external':
          run.external.push({ neuronId: neuron.id, neuronVersion: neuron.version, signal });
          break;
        case 'broken':
          throw work.cause;
      }
    } catch (error) {
      run.emissions.length = emissions;
      run.decisions.length = decisions;
      fail(error, neuron, signal, run);
    }
  }

  #accept({ compiled, stateful, signal, series }: Reading, live: LiveStates, context: SignalContext, run: Run): void {
    const { neuron } = compiled;
    const emissions = run.emissions.length;
    context.use(signal);
    try {
      // Bounded by the kinds themselves: one report of a detector, the open groups of a correlator. Cutting them would lose what the state says was told.
      live.get(neuron.id, series, stateful).accept(context, run);
    } catch (error) {
      run.emissions.length = emissions;
      fail(error, neuron, signal, run);
    }
  }
}

const isStateful = ({ kind }: NeuronBehaviour): boolean => kind === 'detector' || kind === 'correlator';

const newRun = (): Run => ({ emissions: [], decisions: [], external: [], failures: [], readings: [], evaluations: 0, loopsSkipped: 0 });

/** A filter chooses: a signal that lacks the field it asks for is simply not chosen. Any other failure is one. */
function passes(filter: Expression, context: SignalContext): boolean {
  try {
    return context.test(filter);
  } catch (error) {
    if (error instanceof ExpressionError && error.code === 'no_such_key') return false;
    throw error;
  }
}

function fail(error: unknown, neuron: Neuron, signal: NeuronSignal, run: Run): void {
  if (!(error instanceof ExpressionError)) throw error;
  run.failures.push({ neuronId: neuron.id, neuronVersion: neuron.version, ref: signal.ref, cause: `neuron ${neuron.name}: ${error.message}` });
}

/** The states one evaluation touches, each decoded once. */
class LiveStates {
  readonly #reader: StateReader;
  readonly #byNeuron = new Map<string, Map<string, LiveState>>();

  constructor(reader: StateReader) {
    this.#reader = reader;
  }

  get(neuronId: string, series: string, stateful: StatefulKind): LiveState {
    let bySeries = this.#byNeuron.get(neuronId);
    if (bySeries === undefined) this.#byNeuron.set(neuronId, bySeries = new Map());
    let state = bySeries.get(series);
    if (state === undefined) bySeries.set(series, state = stateful.open(series, this.#reader.get(neuronId, series)));
    return state;
  }

  /** Lets time pass for every state touched, and serialises them. */
  passTime(watermarkMs: number, outcomes: Outcomes): NeuronState[] {
    const changed: NeuronState[] = [];
    for (const [neuronId, bySeries] of this.#byNeuron) {
      for (const [series, state] of bySeries) {
        state.passTime(watermarkMs, outcomes);
        changed.push({ neuronId, series, bytes: state.bytes(), dueMs: state.dueMs });
      }
    }
    return changed;
  }
}

/**
 * Makes an evaluator of the enabled neurons of one layer. Indexing costs some 10 µs a neuron, compiling some 100 µs at a neuron's first signal;
 * keep the result until the neurons change.
 * A neuron that does not compile makes its own signals fail and nobody else's; `validateNeuron` refuses it before it is stored.
 */
export function compileLayer(layer: Layer, neurons: readonly Neuron[]): LayerEvaluator {
  return new CompiledLayer(layer, neurons);
}
