import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { evaluateNab } from '../bench/nab.ts';
import { nabScore } from '../bench/nab/score.ts';

const STANDARD = { tpWeight: 1, fpWeight: 0.11, fnWeight: 1 };
const WINDOWS = [{ first: 500, last: 599 }, { first: 800, last: 899 }];

describe('the scorer', () => {
  const score = (detections: readonly number[]): number => nabScore([{ rows: 1000, windows: WINDOWS, detections }], STANDARD);

  it('gives silence 0 and the earliest detections nearly 100', () => {
    expect(score([])).toBe(0);
    expect(score([500, 800])).toBeCloseTo(100, 10);
    expect(score([500])).toBeCloseTo(50, 10);
  });

  it('counts the earliest in a window, nothing in probation, and takes off for false ones by their distance', () => {
    expect(score([500, 510, 590, 800])).toBe(score([500, 800]));
    expect(score([10, 149])).toBe(0);
    expect(score([599])).toBeGreaterThan(0);
    expect(score([599])).toBeLessThan(score([550]));
    // Before any window: the whole weight; far behind one: the same; close behind one: less.
    expect(score([200])).toBeCloseTo((100 * -0.11) / 4, 10);
    expect(score([200])).toBeLessThan(score([605]));
    expect(nabScore([{ rows: 3000, windows: [{ first: 500, last: 599 }], detections: [2900] }], STANDARD)).toBeCloseTo((100 * -0.11) / 2, 10);
  });
});

const data = process.env['HAL9_TEST_DATA'];
const folder = data === undefined ? undefined : join(data, 'nab');
const present = folder !== undefined && existsSync(folder);
if (!present) console.log('NOT RUN: detection on labelled series; set HAL9_TEST_DATA to the folder that holds nab/');

describe.skipIf(!present)('detection on labelled series', () => {
  it('finds most windows with few false incidents, on files not tuned on too', { timeout: 120_000 }, () => {
    const report = evaluateNab(folder ?? '');
    console.log(JSON.stringify({ ...report, files: undefined }));
    expect(report).toMatchObject({ series: 27, labelledWindows: 38 });
    expect(report.windowsFound).toBeGreaterThanOrEqual(29);
    expect(report.falseIncidents).toBeLessThanOrEqual(24);
    expect(report.heldOut.windowsFound / report.heldOut.labelledWindows).toBeGreaterThanOrEqual(0.7);
    expect(report.standard).toBeGreaterThan(68);
    const silent = Object.entries(report.files).filter(([file]) => file.startsWith('artificialNoAnomaly/'));
    expect(silent.map(([, { falseIncidents }]) => falseIncidents)).toEqual([0, 0, 0, 0, 0]);
  });
});
