import { meanOf, cleanSamples, type NanPolicy, type OutlierPolicy } from './samples.ts';
import { compareRanks, shiftInterval, type RankComparison, type ShiftInterval } from './rank-shift.ts';

/** Which changes of a metric are bad. */
export type Direction = 'increase' | 'decrease' | 'either';

export type Classification = 'Pass' | 'High' | 'Low' | 'Nodata';

/** `meanRatio`: mean of the experiment over that of the control. `cles`: probability that an experiment sample exceeds a control sample. */
export type EffectMeasure = 'meanRatio' | 'cles';

/** Effect sizes at or beyond which a change counts; a metric lowers or rises by less without anybody minding. */
export interface EffectThresholds {
  readonly low: number;
  readonly high: number;
}

/** How one metric is judged. Defaults are those of {@link METRIC_DEFAULTS}. */
export interface MetricSettings {
  readonly direction: Direction;
  readonly nan: NanPolicy;
  readonly outliers: OutlierPolicy;
  /** Share of the estimated shift that its confidence interval must clear, 0 to 1. */
  readonly tolerance: number;
  /** Two-sided confidence, 0 to 1. */
  readonly confidence: number;
  readonly measure: EffectMeasure;
  readonly thresholds: EffectThresholds;
  /** A critical metric that is High or Low past `criticalThresholds`, or has no data, fails the whole comparison. */
  readonly critical: boolean;
  readonly criticalThresholds: EffectThresholds;
  /** No data is no data, also where what is no number counts as 0. */
  readonly dataRequired: boolean;
}

/** Tolerance and confidence are what the Kayenta judge is run with. */
export const METRIC_DEFAULTS: MetricSettings = {
  direction: 'increase',
  nan: 'remove',
  outliers: { kind: 'keep' },
  tolerance: 0.25,
  confidence: 0.98,
  measure: 'meanRatio',
  thresholds: { low: 1, high: 1 },
  critical: false,
  criticalThresholds: { low: 1, high: 1 },
  dataRequired: true,
};

/** Which reading of the samples found a change: see {@link classifyMetric}. */
export type Finding = 'shift' | 'partial' | 'novelty';

/** What is kept of a judgement, so that it can be explained and checked. */
export interface MetricClassification {
  readonly classification: Classification;
  /** Fails the whole comparison. */
  readonly critical: boolean;
  /** One sentence with the numbers it rests on. */
  readonly reason: string;
  /** Mean of the experiment over mean of the control; NaN where one of them is 0 or missing. */
  readonly deviation: number;
  readonly control: SideSummary;
  readonly experiment: SideSummary;
  readonly finding?: Finding;
  readonly ranks?: RankComparison;
  readonly interval?: ShiftInterval;
}

interface SideSummary {
  readonly samples: number;
  readonly notNumbers: number;
  readonly outliers: number;
  readonly mean: number;
}

/** Means this far apart are no matter of tolerance. */
const PARTIAL_RATIO = 1.5;
/** Means this far apart are gross. */
const GROSS_RATIO = 5;
/** Highest probability, under equal distributions, of so many samples beyond all of the control's that a gross change is believed. */
const NOVELTY_P = 0.1;

/**
 * Compares the samples of one metric: those of the new version (experiment) with those of the old one (control), taken at the same times.
 *
 * Three readings, each within the direction asked for and past the effect size asked for:
 * - **shift**: the confidence interval of the shift (Mann-Whitney; Hodges-Lehmann estimate) lies beyond `tolerance * |estimate|`. This is the
 *   rule of Netflix's Kayenta judge.
 * - **partial**: fewer than all samples changed, so no shift fits and that interval reaches to nothing (kayenta#780: 7 of 10 samples a hundred
 *   times as high pass): the one-sided U test rejects at (1 - confidence) / 2 and the means differ by half or more.
 * - **novelty**: the means differ five times or more, or the control's is 0, and so many experiment samples lie beyond all the control ever
 *   showed as equal distributions would give in at most one of ten comparisons (exceedances of Rosenbaum, Annals of Mathematical Statistics
 *   25, 1954). The level is this loose because the size is not: rare errors against a baseline without any (kayenta#426, #799), a few samples
 *   several hundred per cent up (#633). A single sample never suffices, nor do two.
 *
 * The effect size by means cannot be computed where a mean is 0 or the control's is below; it is then not asked for.
 */
export function classifyMetric(control: readonly number[], experiment: readonly number[], settings: MetricSettings): MetricClassification {
  const sides = { control: cleanSamples(control, settings.nan, settings.outliers), experiment: cleanSamples(experiment, settings.nan, settings.outliers) };
  const [before, after] = [sides.control.values, sides.experiment.values];
  const means = { control: meanOf(before), experiment: meanOf(after) };
  const deviation = means.control === 0 || means.experiment === 0 ? Number.NaN : means.experiment / means.control;
  const facts = {
    deviation,
    control: { samples: before.length, notNumbers: sides.control.notNumbers, outliers: sides.control.outliers, mean: means.control },
    experiment: { samples: after.length, notNumbers: sides.experiment.notNumbers, outliers: sides.experiment.outliers, mean: means.experiment },
  };
  if (before.length === 0 || after.length === 0) {
    const missing = before.length === 0 ? (after.length === 0 ? 'both versions' : 'the old version') : 'the new version';
    if (settings.nan === 'replace' && !settings.dataRequired) return { classification: 'Pass', critical: false, reason: `No samples of ${missing}, which counts as nothing happening.`, ...facts };
    return { classification: 'Nodata', critical: settings.critical, reason: `No samples of ${missing}.`, ...facts };
  }
  if (isOneValue(before, after) || isSame(before, after)) return { classification: 'Pass', critical: false, reason: 'Both versions have the same values.', ...facts };
  const ranks = compareRanks(before, after);
  const interval = shiftInterval(before, after, settings.confidence);
  const seen = { ...facts, ranks, interval };
  for (const side of sidesOf(settings.direction)) {
    const finding = findingOn(side, before, after, ranks, interval, deviation, settings);
    if (finding === undefined) continue;
    // A ratio to a mean below 0 says nothing.
    const effect = settings.measure === 'cles' ? ranks.superiority : means.control > 0 ? deviation : Number.NaN;
    if (!isPast(side, effect, settings.thresholds)) continue;
    return {
      classification: side === 'high' ? 'High' : 'Low',
      critical: settings.critical && isPast(side, effect, settings.criticalThresholds),
      reason: explained(side, finding, means, ranks, interval, settings),
      finding,
      ...seen,
    };
  }
  return { classification: 'Pass', critical: false, reason: `No change worth failing for: mean ${shown(means.control)} before, ${shown(means.experiment)} now; shift between ${shown(interval.low)} and ${shown(interval.high)}.`, ...seen };
}

/** Compares means only: for metrics of which a single value is known. */
export function classifyByMeans(control: readonly number[], experiment: readonly number[], settings: Pick<MetricSettings, 'direction' | 'nan' | 'critical' | 'dataRequired'>): MetricClassification {
  const judged = classifyMetric(control, experiment, { ...METRIC_DEFAULTS, ...settings });
  if (judged.control.samples === 0 || judged.experiment.samples === 0) return judged;
  const { control: before, experiment: after } = judged;
  const facts = { deviation: judged.deviation, control: before, experiment: after };
  const means = `Mean ${shown(before.mean)} before, ${shown(after.mean)} now.`;
  if (settings.direction !== 'decrease' && after.mean > before.mean) return { classification: 'High', critical: settings.critical, reason: means, ...facts };
  if (settings.direction !== 'increase' && after.mean < before.mean) return { classification: 'Low', critical: settings.critical, reason: means, ...facts };
  return { classification: 'Pass', critical: false, reason: means, ...facts };
}

type Side = 'high' | 'low';

function sidesOf(direction: Direction): readonly Side[] {
  if (direction === 'either') return ['high', 'low'];
  return direction === 'increase' ? ['high'] : ['low'];
}

function findingOn(side: Side, before: readonly number[], after: readonly number[], ranks: RankComparison, interval: ShiftInterval, deviation: number, settings: MetricSettings): Finding | undefined {
  const bound = settings.tolerance * Math.abs(interval.estimate);
  if (side === 'high' ? interval.low > bound : interval.high < -bound) return 'shift';
  const fromNothing = meanOf(before) === 0;
  if (meanOf(before) < 0) return undefined;
  const times = side === 'high' ? deviation : 1 / deviation;
  const p = side === 'high' ? ranks.pHigher : ranks.pLower;
  if ((fromNothing || times >= PARTIAL_RATIO) && p <= (1 - settings.confidence) / 2) return 'partial';
  return (fromNothing || times >= GROSS_RATIO) && exceedanceP(side, before, after) <= NOVELTY_P ? 'novelty' : undefined;
}

/** Probability, if both sides are of one distribution without ties, of at least as many experiment samples beyond all of the control's. */
function exceedanceP(side: Side, before: readonly number[], after: readonly number[]): number {
  const extreme = before.reduce((so, value) => (side === 'high' ? Math.max(so, value) : Math.min(so, value)));
  const beyond = after.filter((value) => (side === 'high' ? value > extreme : value < extreme)).length;
  if (beyond < 3) return 1;
  let p = 1;
  for (let index = 0; index < beyond; index += 1) p *= (after.length - index) / (before.length + after.length - index);
  return p;
}

function isPast(side: Side, effect: number, thresholds: EffectThresholds): boolean {
  if (Number.isNaN(effect)) return true;
  return side === 'high' ? effect >= thresholds.high : effect <= thresholds.low;
}

function isOneValue(before: readonly number[], after: readonly number[]): boolean {
  return [...before, ...after].every((value) => value === before[0]);
}

function isSame(before: readonly number[], after: readonly number[]): boolean {
  return before.length === after.length && before.every((value, index) => value === after[index]);
}

const FINDINGS: Readonly<Record<Finding, string>> = {
  shift: 'all of it has moved',
  partial: 'a part of the samples has changed',
  novelty: 'samples lie far beyond what the old version ever showed',
};

function explained(side: Side, finding: Finding, means: { control: number; experiment: number }, ranks: RankComparison, interval: ShiftInterval, settings: MetricSettings): string {
  const p = side === 'high' ? ranks.pHigher : ranks.pLower;
  return `${side === 'high' ? 'Higher' : 'Lower'}: ${FINDINGS[finding]}. Mean ${shown(means.control)} before, ${shown(means.experiment)} now; shift ${shown(interval.low)} to ${shown(interval.high)} at ${settings.confidence * 100} % confidence; delta ${ranks.delta.toFixed(2)}, p ${p.toPrecision(2)}.`;
}

function shown(value: number): string {
  return Number(value.toPrecision(4)).toString();
}
