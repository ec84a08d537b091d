import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import { classifyByMeans, classifyMetric, METRIC_DEFAULTS, type MetricClassification } from '../../neurons/judge/classify.ts';
import { normalQuantile } from '../../neurons/judge/normal.ts';
import { shiftBounds, shiftInterval, shiftRoot, wilcoxonDifference } from '../../neurons/judge/rank-shift.ts';
import { outlierFlags } from '../../neurons/judge/samples.ts';
import { scoreMetrics } from '../../neurons/judge/score.ts';

/** A sample that is none is null or "NaN" in JSON. */
const sample = z.union([z.number(), z.literal('NaN'), z.null()]).transform((value) => (typeof value === 'number' ? value : Number.NaN));
const samples = z.array(sample);
const expectedNumber = z.union([z.number(), z.object({ value: sample, absTolerance: z.number().default(1e-6) })]);
type ExpectedNumber = z.infer<typeof expectedNumber>;
const thresholds = z.tuple([z.number(), z.number()]).transform(([low, high]) => ({ low, high }));

const labelled = { n: z.number(), name: z.string() };
const classify = z.object({
  ...labelled,
  kind: z.literal('classify'),
  classifier: z.enum(['MannWhitney', 'MeanInequality']),
  control: samples,
  experiment: samples,
  direction: z.enum(['Increase', 'Decrease', 'Either']),
  nanStrategy: z.enum(['Remove', 'Replace']),
  isCriticalMetric: z.boolean(),
  isDataRequired: z.boolean(),
  tolerance: z.number().optional(),
  confidence: z.number().optional(),
  effectSizeThresholds: thresholds.optional(),
  criticalThresholds: thresholds.optional(),
  effectSizeMeasure: z.enum(['meanRatio', 'cles']).optional(),
  expected: z.enum(['Pass', 'High', 'Low', 'Nodata']).nullable(),
  expectedCritical: z.boolean().optional(),
  expectedDeviation: sample.optional(),
  expectedReason: z.string().optional(),
});
const shift = z.object({
  ...labelled,
  kind: z.literal('mannWhitneyU'),
  control: samples,
  experiment: samples,
  confidence: z.number(),
  expected: z.object({ ciLow: expectedNumber, ciHigh: expectedNumber, estimate: expectedNumber }).partial(),
});
const difference = z.object({ ...labelled, kind: z.literal('wilcoxonDiff'), x: samples, y: samples, expected: z.array(z.looseObject({ mu: z.number(), quantile: z.number(), value: sample, absTolerance: z.number().optional() })) });
const quantile = z.object({ ...labelled, kind: z.literal('normalQuantile'), p: z.number(), expected: expectedNumber });
const intermediate = z.object({ ...labelled, kind: z.literal('mannWhitneyIntermediate'), x: samples, y: samples, confidence: z.number().default(0.95), expected: z.record(z.string(), expectedNumber) });
const score = z.object({
  ...labelled,
  kind: z.literal('score'),
  groupWeights: z.record(z.string(), z.number()),
  metrics: z.array(z.object({ classification: z.enum(['Pass', 'High', 'Low', 'Nodata']), groups: z.array(z.string()), critical: z.boolean() })),
  expected: z.object({ summaryScore: z.number() }),
});
const outliers = z.object({ ...labelled, kind: z.literal('outliers'), detector: z.enum(['IQR', 'KSigma']), parameter: z.number(), values: samples, expected: z.array(z.boolean()) });

const CASES = z.array(z.discriminatedUnion('kind', [classify, shift, difference, quantile, intermediate, score, outliers]));
export type LabelledCase = z.infer<typeof CASES>[number];

/** One case that came out otherwise. */
export interface WrongCase {
  readonly n: number;
  readonly name: string;
  readonly expected: unknown;
  readonly found: unknown;
}

/** Reads a file of labelled cases. @throws {Error} that says where the file is not as it should be. */
export async function readLabelledCases(file: string): Promise<LabelledCase[]> {
  const read = CASES.safeParse(JSON.parse(await readFile(file, 'utf8')));
  if (read.success) return read.data;
  throw new Error(`${file} holds no labelled cases: ${read.error.issues.map(({ path, message }) => `${path.join('/')}: ${message}`).join('; ')}`);
}

/** Judges every case and names those that came out otherwise than labelled. */
export function judgeCases(cases: readonly LabelledCase[]): { total: number; right: number; wrong: WrongCase[] } {
  const wrong = cases.flatMap((one) => {
    const found = judged(one);
    return found === undefined ? [] : [{ n: one.n, name: one.name, expected: one.expected, found }];
  });
  return { total: cases.length, right: cases.length - wrong.length, wrong };
}

/** What was found where it is not what is expected. */
function judged(one: LabelledCase): unknown {
  switch (one.kind) {
    case 'classify':
      return judgedClassification(one);
    case 'mannWhitneyU': {
      const { low, high, estimate } = shiftInterval(one.control, one.experiment, one.confidence);
      return unlessNear({ ciLow: low, ciHigh: high, estimate }, one.expected);
    }
    case 'wilcoxonDiff': {
      const found = one.expected.map(({ mu, quantile: level }) => wilcoxonDifference(one.x, one.y, mu, level));
      return one.expected.every((expected, index) => isNear(found[index], { value: expected.value, absTolerance: expected.absTolerance ?? 1e-6 })) ? undefined : found;
    }
    case 'normalQuantile':
      return unlessNear({ value: normalQuantile(one.p) }, { value: one.expected });
    case 'mannWhitneyIntermediate':
      return unlessNear(steps(one), one.expected);
    case 'score': {
      const { score: found } = scoreMetrics(one.metrics, one.groupWeights);
      return isNear(found, { value: one.expected.summaryScore, absTolerance: 0.01 }) ? undefined : found;
    }
    case 'outliers': {
      const found = outlierFlags(one.values, one.detector === 'IQR' ? { kind: 'iqr', factor: one.parameter } : { kind: 'sigma', k: one.parameter });
      return one.expected.every((expected, index) => expected === found[index]) ? undefined : found;
    }
  }
}

const DIRECTIONS = { Increase: 'increase', Decrease: 'decrease', Either: 'either' } as const;

function judgedClassification(one: z.infer<typeof classify>): MetricClassification | undefined {
  const common = { direction: DIRECTIONS[one.direction], nan: one.nanStrategy === 'Remove' ? ('remove' as const) : ('replace' as const), critical: one.isCriticalMetric, dataRequired: one.isDataRequired };
  const found =
    one.classifier === 'MeanInequality'
      ? classifyByMeans(one.control, one.experiment, common)
      : classifyMetric(one.control, one.experiment, {
          ...METRIC_DEFAULTS,
          ...common,
          tolerance: one.tolerance ?? METRIC_DEFAULTS.tolerance,
          confidence: one.confidence ?? METRIC_DEFAULTS.confidence,
          measure: one.effectSizeMeasure ?? METRIC_DEFAULTS.measure,
          thresholds: one.effectSizeThresholds ?? METRIC_DEFAULTS.thresholds,
          criticalThresholds: one.criticalThresholds ?? METRIC_DEFAULTS.criticalThresholds,
        });
  const right =
    (one.expected === null || found.classification === one.expected) &&
    (one.expectedCritical === undefined || found.critical === one.expectedCritical) &&
    (one.expectedDeviation === undefined || isNear(found.deviation, { value: one.expectedDeviation, absTolerance: 1e-6 })) &&
    (one.expectedReason === undefined || found.reason !== '');
  return right ? undefined : found;
}

/** The steps of one confidence interval, by the names they have in the reference. */
function steps({ x, y, confidence }: z.infer<typeof intermediate>): Record<string, number> {
  const bounds = shiftBounds(y, x);
  const level = normalQuantile((1 - confidence) / 2);
  const at = (mu: number, quantileLevel: number): number => wilcoxonDifference(x, y, mu, quantileLevel);
  return {
    Mumin: bounds.low,
    Mumax: bounds.high,
    ZqLower: -level,
    ZqUpper: level,
    Flower1: at(bounds.low, -level),
    Fupper1: at(bounds.high, -level),
    Flower2: at(bounds.low, level),
    Fupper2: at(bounds.high, level),
    Cil: shiftRoot(y, x, -level, bounds),
    Ciu: shiftRoot(y, x, level, bounds),
    Est: shiftRoot(y, x, 0, bounds),
  };
}

/** `found` unless every number that is expected is in it, whatever the case of its name. */
function unlessNear(found: Readonly<Record<string, number>>, expected: Readonly<Record<string, ExpectedNumber | undefined>>): unknown {
  const byName = new Map(Object.entries(found).map(([name, value]) => [name.toLowerCase(), value]));
  return Object.entries(expected).every(([name, value]) => value === undefined || isNear(byName.get(name.toLowerCase()), value)) ? undefined : found;
}

function isNear(found: number | undefined, expected: ExpectedNumber): boolean {
  const { value, absTolerance } = typeof expected === 'number' ? { value: expected, absTolerance: 1e-6 } : expected;
  if (found === undefined) return false;
  return Number.isNaN(value) ? Number.isNaN(found) : Math.abs(found - value) <= absTolerance;
}
