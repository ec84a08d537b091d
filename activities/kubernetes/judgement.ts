import { classifyMetric, METRIC_DEFAULTS } from '../../neurons/judge/classify.ts';
import { sequentialTest, type IntervalCounts } from '../../neurons/judge/sequential.ts';
import type { RolloutMetric, Verdict } from '../../schemas/operations/rollout.ts';

/** What was measured of one metric: series by role, newest last. No number is NaN. */
export type Measurement = Readonly<Partial<Record<Role, readonly number[]>>>;
/** `new` and `old`: samples, or events, of the versions; the others what they are counted among. */
export type Role = 'new' | 'old' | 'newExposure' | 'oldExposure';

export type Finding = Pick<Verdict, 'outcome' | 'reason' | 'statistic' | 'threshold'>;

type Judge = NonNullable<RolloutMetric['judge']>;

/** Judges what was measured. What cannot be judged is inconclusive, never a pass. */
export function judgeMeasurement(judge: Judge, measured: Measurement): Finding {
  const nothing = missing(judge, measured);
  if (nothing !== undefined) return inconclusive(nothing);
  switch (judge.kind) {
    case 'compare':
      return compared(judge, measured);
    case 'threshold':
      return againstThreshold(judge, measured.new ?? []);
    case 'sequential':
      return sequentially(judge, measured);
  }
}

export function inconclusive(reason: string): Finding {
  return { outcome: 'inconclusive', reason, statistic: {}, threshold: {} };
}

function missing(judge: Judge, measured: Measurement): string | undefined {
  const sum = (series: readonly number[]): number => series.reduce((total, value) => total + (Number.isFinite(value) ? value : 0), 0);
  if (measured.newExposure !== undefined && sum(measured.newExposure) <= 0) return 'the new version had no traffic';
  if (judge.kind === 'sequential') return measured.new === undefined || measured.old === undefined ? 'the query answered no data' : undefined;
  const needed = judge.kind === 'compare' ? (['new', 'old'] as const) : (['new'] as const);
  for (const role of needed) {
    const series = measured[role] ?? [];
    const version = `the ${role} version`;
    if (series.length === 0) return `no data of ${version}`;
    const numbers = judge.kind === 'compare' && judge.nan === 'replace' ? series.length : series.filter(Number.isFinite).length;
    if (numbers === 0) return `no number among the ${series.length} samples of ${version}`;
    if (numbers < judge.minimumSamples) return `${numbers} of ${judge.minimumSamples} samples of ${version} so far`;
  }
  return undefined;
}

function compared(judge: Extract<Judge, { kind: 'compare' }>, measured: Measurement): Finding {
  const { direction, tolerance, confidence, measure, high, low, nan, outliers } = judge;
  const found = classifyMetric(measured.old ?? [], measured.new ?? [], { ...METRIC_DEFAULTS, direction, tolerance, confidence, measure, thresholds: { low, high }, nan, outliers });
  const outcome = found.classification === 'Pass' ? 'pass' : found.classification === 'Nodata' ? 'inconclusive' : 'fail';
  return {
    outcome,
    reason: found.reason,
    statistic: {
      classification: found.classification,
      finding: found.finding ?? null,
      u: shown(found.ranks?.u),
      delta: shown(found.ranks?.delta),
      pHigher: shown(found.ranks?.pHigher),
      pLower: shown(found.ranks?.pLower),
      meanRatio: shown(found.deviation),
      shiftLow: shown(found.interval?.low),
      shiftHigh: shown(found.interval?.high),
      shift: shown(found.interval?.estimate),
    },
    threshold: { confidence, tolerance, direction, high, low },
  };
}

function againstThreshold({ above, below, minimumSamples }: Extract<Judge, { kind: 'threshold' }>, series: readonly number[]): Finding {
  const newest = series.filter(Number.isFinite).slice(-minimumSamples);
  const mean = newest.reduce((sum, value) => sum + value, 0) / newest.length;
  const beyond = above !== undefined && mean > above ? `above ${above}` : below !== undefined && mean < below ? `below ${below}` : undefined;
  const value = Number(mean.toPrecision(6));
  return { outcome: beyond === undefined ? 'pass' : 'fail', reason: beyond === undefined ? `${value} is within the limits` : `${value} is ${beyond}`, statistic: { mean: value, samples: newest.length }, threshold: { above: above ?? null, below: below ?? null } };
}

function sequentially({ ratio, falseAlarm, missed, tolerableRate }: Extract<Judge, { kind: 'sequential' }>, measured: Measurement): Finding {
  const at = (role: Role, index: number): number => {
    const value = measured[role]?.[index] ?? 0;
    return Number.isFinite(value) ? Math.max(0, value) : 0;
  };
  const length = Math.max(...Object.values(measured).map((series) => series.length));
  const intervals = Array.from({ length }, (_, index): IntervalCounts => ({
    control: { events: at('old', index), exposure: at('oldExposure', index) },
    experiment: { events: at('new', index), exposure: at('newExposure', index) },
  }));
  const { decision, logLikelihoodRatio, worseAt, sameAt, rateBound } = sequentialTest(intervals, { ratio, falseAlarm, missed, tolerableRate });
  const standing = `log likelihood ratio ${logLikelihoodRatio.toFixed(2)}, worse at ${worseAt.toFixed(2)}, same at ${sameAt.toFixed(2)}`;
  const outcome = decision === 'worse' ? 'fail' : decision === 'same' ? 'pass' : 'inconclusive';
  return { outcome, reason: `${decision === 'undecided' ? 'Not decided yet' : decision === 'worse' ? `At least ${ratio} times as bad` : 'No worse'}: ${standing}.`, statistic: { logLikelihoodRatio: shown(logLikelihoodRatio), rateBound: shown(rateBound) }, threshold: { worseAt: shown(worseAt), sameAt: shown(sameAt), ratio, tolerableRate } };
}

/** JSON has no NaN. */
function shown(value: number | undefined): number | null {
  return value === undefined || !Number.isFinite(value) ? null : Number(value.toPrecision(8));
}
