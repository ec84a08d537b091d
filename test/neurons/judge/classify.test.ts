import { describe, expect, it } from 'vitest';
import { classifyByMeans, classifyMetric, METRIC_DEFAULTS, type MetricSettings } from '../../../neurons/judge/classify.ts';

const judge = (control: readonly number[], experiment: readonly number[], settings: Partial<MetricSettings> = {}) => classifyMetric(control, experiment, { ...METRIC_DEFAULTS, ...settings });
const times = (many: number, value: number): number[] => Array.from({ length: many }, () => value);
const NONE = Number.NaN;

describe('what the reference judge lets pass', () => {
  it('seven of ten samples at a hundred times (kayenta#780)', () => {
    const found = judge(times(10, 1), [...times(7, 100), 1, 1, 1], { thresholds: { low: 1, high: 1.05 }, direction: 'either' });
    expect(found).toMatchObject({ classification: 'High', finding: 'partial', deviation: 70.3 });
    // An eighth sample would be a shift for the reference as well; the fourth is where this judge begins to believe.
    expect(judge(times(10, 1), [...times(4, 100), ...times(6, 1)])).toMatchObject({ classification: 'High', finding: 'novelty' });
    expect(judge(times(10, 1), [...times(2, 100), ...times(8, 1)]).classification).toBe('Pass');
  });

  it('sparse errors (kayenta#426)', () => {
    expect(judge(times(6, 0), [0, 1, 2, 1, 0, 0])).toMatchObject({ classification: 'High', finding: 'novelty' });
    expect(judge([...times(19, 0), 1], [...times(12, 0), 1, 2, 1, 1, 1, 3, 1, 1])).toMatchObject({ classification: 'High', finding: 'partial' });
  });

  it('several hundred per cent up in some samples (kayenta#633)', () => {
    const found = judge([2, 2.1, 1.9, 2, 2.2, 2], [2, 2.1, 30, 15, 40, 2]);
    expect(found.classification).toBe('High');
    expect(found.deviation).toBeGreaterThan(7);
  });

  it('errors against a baseline without any (kayenta#799)', () => {
    const quiet = times(10, NONE);
    const failing = [NONE, 0.048, NONE, 0.18, 0.089, NONE, 0.098, 0.035, NONE, NONE];
    expect(judge(quiet, failing, { nan: 'replace' })).toMatchObject({ classification: 'High', control: { notNumbers: 10, mean: 0 } });
    expect(judge(quiet, failing, { nan: 'replace' }).deviation).toBeNaN();
  });
});

describe('what is no change', () => {
  it.each([
    ['one spike', times(10, 0), [...times(9, 0), 50]],
    ['the same values', [1, 2, 3], [1, 2, 3]],
    ['one value everywhere', times(3, 7), times(9, 7)],
    ['lower errors', [5, 6, 7, 5, 6], [1, 1, 2, 1, 1]],
  ])('%s', (_, control, experiment) => {
    expect(judge(control, experiment).classification).toBe('Pass');
  });

  it('one that is smaller than asked for', () => {
    const [control, experiment] = [times(12, 100).map((value, index) => value + index), times(12, 130).map((value, index) => value + index)];
    expect(judge(control, experiment).classification).toBe('High');
    expect(judge(control, experiment, { thresholds: { low: 1, high: 1.5 } }).classification).toBe('Pass');
    expect(judge(control, experiment, { measure: 'cles', thresholds: { low: 0.1, high: 0.9 } }).classification).toBe('High');
  });
});

describe('direction', () => {
  const [low, high] = [times(10, 1).map((value, index) => value + index / 10), times(10, 8).map((value, index) => value + index / 10)];

  it('decides which change is bad', () => {
    expect(judge(high, low, { direction: 'decrease' })).toMatchObject({ classification: 'Low' });
    expect(judge(high, low, { direction: 'either' }).classification).toBe('Low');
    expect(judge(low, high, { direction: 'decrease' }).classification).toBe('Pass');
    expect(judge(low, high, { direction: 'either' }).classification).toBe('High');
  });

  it('compares no means of different signs', () => {
    const negative = times(10, -5).map((value, index) => value - index / 10);
    expect(judge(negative, low)).toMatchObject({ classification: 'High', finding: 'shift' });
  });
});

describe('missing data', () => {
  it('is no data, whichever side lacks it, and fails what is critical', () => {
    expect(judge([], [1, 2])).toMatchObject({ classification: 'Nodata', critical: false, reason: 'No samples of the old version.' });
    expect(judge([1, 2], [NONE, Infinity], { critical: true })).toMatchObject({ classification: 'Nodata', critical: true, reason: 'No samples of the new version.' });
    expect(judge([NONE], [NONE]).reason).toBe('No samples of both versions.');
  });

  it('passes only where nothing counts as 0 and nobody requires data', () => {
    expect(judge([], [], { nan: 'replace', dataRequired: false }).classification).toBe('Pass');
    expect(judge([], [], { nan: 'replace' }).classification).toBe('Nodata');
  });
});

describe('critical metrics', () => {
  const [control, experiment] = [times(8, 1).map((value, index) => value + index / 10), times(8, 3).map((value, index) => value + index / 10)];

  it('fail critically past their own threshold only', () => {
    expect(judge(control, experiment, { critical: true, criticalThresholds: { low: 1, high: 2 } })).toMatchObject({ classification: 'High', critical: true });
    expect(judge(control, experiment, { critical: true, criticalThresholds: { low: 1, high: 9 } })).toMatchObject({ classification: 'High', critical: false });
  });
});

describe('outliers', () => {
  const [control, experiment] = [[...times(9, 10).map((value, index) => value + index), 11], [...times(9, 10).map((value, index) => value + index), 900]];

  it('are kept unless a policy sets them aside, and counted then', () => {
    expect(judge(control, experiment).experiment.outliers).toBe(0);
    expect(judge(control, experiment, { outliers: { kind: 'iqr', factor: 3 } }).experiment).toMatchObject({ outliers: 1, samples: 9 });
    expect(judge(control, experiment, { outliers: { kind: 'sigma', k: 2 } }).experiment.outliers).toBe(1);
  });

  it('are never the errors among mostly none', () => {
    expect(judge(times(12, 0), [...times(16, 0), 1, 1, 2, 4], { outliers: { kind: 'iqr', factor: 1.5 } }).experiment.outliers).toBe(0);
  });
});

describe('classifyByMeans', () => {
  const settings = { nan: 'remove', critical: true, dataRequired: true } as const;

  it('compares the means alone', () => {
    expect(classifyByMeans([1, 2], [2, 3], { ...settings, direction: 'either' })).toMatchObject({ classification: 'High', critical: true });
    expect(classifyByMeans([2, 3], [1, 2], { ...settings, direction: 'either' }).classification).toBe('Low');
    expect(classifyByMeans([2, 3], [1, 2], { ...settings, direction: 'increase' }).classification).toBe('Pass');
    expect(classifyByMeans([2], [], { ...settings, direction: 'increase' }).classification).toBe('Nodata');
  });
});
