import { compileLayer } from '../../neurons/compile-layer.ts';
import { signalOfEmission } from '../../neurons/emission-signal.ts';
import type { LayerEvaluator, NeuronSignal, StateReader } from '../../neurons/layer.ts';
import { RoutingIndex } from '../../neurons/routing-index.ts';
import { SeriesModel } from '../../neurons/detector/series-model.ts';
import { type Layer, LAYERS } from '../../schemas/names/layers.ts';
import { type Neuron, neuronDraftSchema } from '../../schemas/neurons/definition.ts';
import type { Bench } from './arguments.ts';

const NO_STATES: StateReader = { get: () => undefined };
const CHUNK = 5000;

function neuron(name: string, layer: Layer, subscription: unknown, rules: unknown): Neuron {
  return { ...neuronDraftSchema.parse({ name, layer, subscription, behaviour: { kind: 'rules', rules } }), id: name, version: 1 };
}

/** Ten rule neurons a layer, each on its own type, escalating what is above the limit and deciding on top. */
function threeLayers(): LayerEvaluator[] {
  const neurons: Neuron[] = [];
  for (let index = 0; index < 10; index += 1) {
    const n = String(index);
    neurons.push(
      neuron(`l2-${n}`, 'L2', { types: [`bench.metric.${n}`] }, [{ when: 'signal.data.value > 0.99', emit: { type: `bench.high.${n}` } }]),
      neuron(`l3-${n}`, 'L3', { types: [`bench.high.${n}`] }, [{ when: 'signal.data.value > 0.5', emit: { type: `bench.incident.${n}` } }]),
      neuron(`l4-${n}`, 'L4', { types: [`bench.incident.${n}`] }, [{ when: 'signal.data.value > 0.5', decide: { summary: '"high"', reason: '"the value is high"' } }]),
    );
  }
  return LAYERS.map((layer) => compileLayer(layer, neurons));
}

/** @param emitting part of the signals that match a rule, in [0, 1]. */
function chunk(count: number, emitting: number): NeuronSignal[] {
  return Array.from({ length: count }, (_, index) => ({
    ref: String(index),
    id: String(index),
    source: `host/${String(index % 100)}`,
    type: `bench.metric.${String(index % 10)}`,
    timeMs: 1_700_000_000_000 + index,
    // Evenly spread and the same in every run.
    data: { value: (index * 0.618_033_988_7) % 1 < emitting ? 0.995 : 0.1, unit: 'ratio' },
  }));
}

const seconds = (): number => Number(process.hrtime.bigint()) / 1e9;

/** Nanoseconds for one signal in one layer, counting every signal that reaches a layer; emissions and their signals included. */
function cascadeCost(layers: readonly LayerEvaluator[], signals: readonly NeuronSignal[], rounds: number): { nsPerSignalAndLayer: number; signalsPerSecond: number } {
  const pass = (): number => {
    let current = signals;
    let evaluated = 0;
    for (const layer of layers) {
      evaluated += current.length;
      const { emissions } = layer.evaluate({ signals: current, watermarkMs: 0 }, NO_STATES);
      current = emissions.map((emission, index) => signalOfEmission(emission, String(index)));
    }
    return evaluated;
  };
  for (let round = 0; round < 5; round += 1) pass();
  let evaluated = 0;
  const started = seconds();
  for (let round = 0; round < rounds; round += 1) evaluated += pass();
  const taken = seconds() - started;
  return { nsPerSignalAndLayer: Math.round((taken / evaluated) * 1e9), signalsPerSecond: Math.round((signals.length * rounds) / taken) };
}

/** Microseconds to find the neurons of a signal; every signal has a source not asked for lately, so nothing is remembered. */
function routingCost(neurons: number, kind: 'types' | 'sources' | 'filters' | 'prefixes'): number {
  const index = new RoutingIndex(Array.from({ length: neurons }, (_, position) => {
    const n = String(position);
    switch (kind) {
      case 'types': return { types: [`bench.type.${n}`], sources: undefined, required: [] };
      case 'sources': return { types: ['bench.metric'], sources: [`host/${n}`], required: [] };
      case 'filters': return { types: ['bench.metric'], sources: undefined, required: [{ path: ['data', 'host'], value: n }] };
      case 'prefixes': return { types: [`bench.${n}.*`], sources: [`host/${n}/*`], required: [] };
    }
  }));
  const signals: NeuronSignal[] = Array.from({ length: 100_000 }, (_, position) => {
    const n = String((position * 7919) % neurons);
    const type = { types: `bench.type.${n}`, sources: 'bench.metric', filters: 'bench.metric', prefixes: `bench.${n}.cpu` }[kind];
    return { ref: '', id: '', source: kind === 'prefixes' ? `host/${n}/a` : `host/${n}`, type, timeMs: 0, data: { host: n } };
  });
  let found = 0;
  const started = seconds();
  for (const signal of signals) found += index.find(signal).length;
  const taken = seconds() - started;
  if (found !== signals.length) throw new Error(`routing by ${kind} found ${String(found)} neurons instead of ${String(signals.length)}`);
  return Math.round((taken / signals.length) * 1e9) / 1000;
}

function detectorCost(): number {
  const model = new SeriesModel(undefined, { seasonsSeconds: [86_400, 604_800] });
  const reading = (count: number): void => {
    model.update(1_700_000_000_000 + count * 1000, Math.sin(count / 50) + ((count * 0.618_033_988_7) % 1) / 10);
  };
  for (let count = 0; count < 20_000; count += 1) reading(count);
  const started = seconds();
  for (let count = 20_000; count < 220_000; count += 1) reading(count);
  return Math.round(((seconds() - started) / 200_000) * 1e9);
}

/**
 * The neuron core alone, without database and workflows. Limit: the same signals read once by a bare loop (`bareLoopNs`).
 * Options: `--rounds` of 5,000 signals (100), `--neurons` registered for routing (100000).
 */
export const run: Bench = (args) => {
  const rounds = args.number('rounds', 100);
  const registered = args.number('neurons', 100_000);
  const layers = threeLayers();
  args.progress('three layers of rules');
  const quiet = cascadeCost(layers, chunk(CHUNK, 0), rounds);
  const usual = cascadeCost(layers, chunk(CHUNK, 0.01), rounds);
  const loud = cascadeCost(layers, chunk(CHUNK, 1), Math.max(1, Math.round(rounds / 5)));
  const bare = chunk(CHUNK, 0.01);
  const started = seconds();
  let sum = 0;
  for (let round = 0; round < rounds; round += 1) for (const signal of bare) sum += signal.timeMs;
  const bareLoopNs = Math.round(((seconds() - started) / (rounds * CHUNK)) * 1e10) / 10;
  args.progress(`routing among ${String(registered)} neurons`);
  const routing = { types: 0, sources: 0, filters: 0, prefixes: 0 };
  for (const kind of ['types', 'sources', 'filters', 'prefixes'] as const) routing[kind] = routingCost(registered, kind);
  args.progress('detector');
  return Promise.resolve({
    nsPerSignalAndLayer: usual.nsPerSignalAndLayer,
    signalsPerSecond: usual.signalsPerSecond,
    nsPerSignalAndLayerNoneEmit: quiet.nsPerSignalAndLayer,
    nsPerSignalAndLayerAllEmit: loud.nsPerSignalAndLayer,
    neuronsRegistered: registered,
    routingMicroseconds: Math.max(...Object.values(routing)),
    routingMicrosecondsBy: routing,
    detectorNsPerReading: detectorCost(),
    bareLoopNs: sum > 0 ? bareLoopNs : 0,
  });
};
