import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { REPLAY_NEURONS, SERIES_VALUE_TYPE } from '../../neurons/catalogue/replay.ts';
import { compileLayer } from '../../neurons/compile-layer.ts';
import { signalOfEmission } from '../../neurons/emission-signal.ts';
import type { LayerEvaluator, NeuronSignal } from '../../neurons/layer.ts';
import { LAYERS } from '../../schemas/names/layers.ts';
import type { Bench } from './arguments.ts';
import { nabScore, type NabProfile, type ScoredSeries } from './nab/score.ts';

/** One labelled series, as it lies in the benchmark's folder. */
interface LabelledSeries {
  readonly file: string;
  readonly times: readonly number[];
  readonly values: readonly number[];
  readonly windows: readonly { readonly first: number; readonly last: number }[];
}

export interface NabReport {
  readonly series: number;
  readonly readings: number;
  /** Normalised scores, one detection per incident. */
  readonly standard: number;
  readonly lowFalsePositives: number;
  readonly lowFalseNegatives: number;
  readonly labelledWindows: number;
  /** Windows in which at least one incident opened. */
  readonly windowsFound: number;
  readonly incidents: number;
  /** Incidents that opened outside every window. */
  readonly falseIncidents: number;
  /** The same for the series at even and odd places of the list: parameters were chosen on the even ones. */
  readonly tuned: { readonly labelledWindows: number; readonly windowsFound: number; readonly falseIncidents: number };
  readonly heldOut: { readonly labelledWindows: number; readonly windowsFound: number; readonly falseIncidents: number };
  /** Detector, correlator and rule together. */
  readonly nanosecondsPerReading: number;
  readonly files: Readonly<Record<string, { readonly labelledWindows: number; readonly windowsFound: number; readonly falseIncidents: number }>>;
}

/** Milliseconds; the benchmark's times have no zone, so they are read as UTC. */
function timeOf(text: string): number {
  return Date.parse(`${text.slice(0, 19).replace(' ', 'T')}Z`);
}

function isLabels(value: unknown): value is Record<string, [string, string][]> {
  return typeof value === 'object' && value !== null;
}

function readSeries(folder: string): LabelledSeries[] {
  const labels: unknown = JSON.parse(readFileSync(join(folder, 'labels', 'combined_windows.json'), 'utf8'));
  if (!isLabels(labels)) throw new TypeError('labels/combined_windows.json is not an object');
  return Object.entries(labels).map(([file, windows]) => {
    const lines = readFileSync(join(folder, 'data', file), 'utf8').trim().split('\n').slice(1);
    const times: number[] = [];
    const values: number[] = [];
    for (const line of lines) {
      const comma = line.indexOf(',');
      times.push(timeOf(line.slice(0, comma)));
      values.push(Number(line.slice(comma + 1)));
    }
    return { file, times, values, windows: windows.map(([start, end]) => ({ first: times.indexOf(timeOf(start)), last: times.lastIndexOf(timeOf(end)) })) };
  });
}

/** Rows of a chunk, as a replay would send them. */
const CHUNK = 500;

/** Runs the shipped replay neurons over one series. @returns rows at which an incident opened and was decided. */
function replay(layers: readonly LayerEvaluator[], { file, times, values }: LabelledSeries): number[] {
  const states = new Map<string, Uint8Array>();
  const opened: number[] = [];
  const source = `series/${file}`;
  for (let from = 0; from < times.length; from += CHUNK) {
    const rows = times.slice(from, from + CHUNK);
    let signals: NeuronSignal[] = rows.map((timeMs, index) => ({
      ref: `${file}#${String(from + index)}`, id: String(from + index), source, type: SERIES_VALUE_TYPE, timeMs, data: { value: values[from + index] },
    }));
    const watermarkMs = Math.max(...rows);
    for (const layer of layers) {
      const output = layer.evaluate({ signals, watermarkMs }, { get: (neuronId, series) => states.get(`${neuronId} ${series}`) });
      if (output.failures.length > 0) throw new Error(output.failures[0]?.cause);
      for (const { neuronId, series, bytes } of output.states) states.set(`${neuronId} ${series}`, bytes);
      for (const decision of output.decisions) opened.push(times.indexOf(decision.timeMs));
      signals = output.emissions.map((emission, index) => signalOfEmission(emission, `${layer.layer} ${String(from)} ${String(index)}`));
    }
  }
  return opened;
}

function profiles(folder: string): Record<'standard' | 'reward_low_FP_rate' | 'reward_low_FN_rate', NabProfile> {
  const read: unknown = JSON.parse(readFileSync(join(folder, 'config', 'profiles.json'), 'utf8'));
  const weights = (name: string): NabProfile => {
    const profile: unknown = typeof read === 'object' && read !== null ? Reflect.get(read, name) : undefined;
    const matrix: unknown = typeof profile === 'object' && profile !== null ? Reflect.get(profile, 'CostMatrix') : undefined;
    if (typeof matrix !== 'object' || matrix === null) throw new TypeError(`config/profiles.json has no profile ${name}`);
    const weight = (key: string): number => Number(Reflect.get(matrix, key));
    return { tpWeight: weight('tpWeight'), fpWeight: weight('fpWeight'), fnWeight: weight('fnWeight') };
  };
  return { standard: weights('standard'), reward_low_FP_rate: weights('reward_low_FP_rate'), reward_low_FN_rate: weights('reward_low_FN_rate') };
}

/**
 * Runs the shipped replay neurons, one parameter set for all files, over the benchmark's series.
 * @param folder holds `data/`, `labels/combined_windows.json` and `config/profiles.json` in the benchmark's layout.
 */
export function evaluateNab(folder: string): NabReport {
  const neurons = REPLAY_NEURONS.map((draft) => ({ ...draft, id: draft.name, version: 1 }));
  const layers = LAYERS.map((layer) => compileLayer(layer, neurons));
  const scored: ScoredSeries[] = [];
  const files: Record<string, { labelledWindows: number; windowsFound: number; falseIncidents: number }> = {};
  let readings = 0;
  let nanoseconds = 0;
  for (const series of readSeries(folder)) {
    const started = process.hrtime.bigint();
    const detections = replay(layers, series);
    nanoseconds += Number(process.hrtime.bigint() - started);
    readings += series.times.length;
    scored.push({ rows: series.times.length, windows: series.windows, detections });
    const inside = (row: number): boolean => series.windows.some(({ first, last }) => row >= first && row <= last);
    files[series.file] = {
      labelledWindows: series.windows.length,
      windowsFound: series.windows.filter(({ first, last }) => detections.some((row) => row >= first && row <= last)).length,
      falseIncidents: detections.filter((row) => !inside(row)).length,
    };
  }
  const sum = (which: (place: number) => boolean): { labelledWindows: number; windowsFound: number; falseIncidents: number } => {
    const total = { labelledWindows: 0, windowsFound: 0, falseIncidents: 0 };
    for (const [place, file] of Object.values(files).entries()) {
      if (!which(place)) continue;
      total.labelledWindows += file.labelledWindows;
      total.windowsFound += file.windowsFound;
      total.falseIncidents += file.falseIncidents;
    }
    return total;
  };
  const { standard, reward_low_FP_rate, reward_low_FN_rate } = profiles(folder);
  const round = (value: number): number => Math.round(value * 10) / 10;
  return {
    series: scored.length,
    readings,
    standard: round(nabScore(scored, standard)),
    lowFalsePositives: round(nabScore(scored, reward_low_FP_rate)),
    lowFalseNegatives: round(nabScore(scored, reward_low_FN_rate)),
    ...sum(() => true),
    incidents: scored.reduce((count, { detections }) => count + detections.length, 0),
    tuned: sum((place) => place % 2 === 0),
    heldOut: sum((place) => place % 2 === 1),
    nanosecondsPerReading: Math.round(nanoseconds / readings),
    files,
  };
}

/**
 * Detection quality on the labelled series of the Numenta Anomaly Benchmark; `HAL9_TEST_DATA` names the folder that holds `nab/`. Limit:
 * a perfect detector scores 100, silence 0.
 */
export const run: Bench = (args) => {
  const data = process.env['HAL9_TEST_DATA'];
  if (data === undefined) return Promise.reject(new Error('set HAL9_TEST_DATA to the folder that holds nab/'));
  args.progress('replaying the labelled series');
  return Promise.resolve({ ...evaluateNab(join(data, 'nab')) });
};
