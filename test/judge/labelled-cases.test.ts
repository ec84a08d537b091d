import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { judgeCases, readLabelledCases } from './labelled-cases.ts';

const data = process.env['HAL9_TEST_DATA'];
const file = join(data ?? '', 'canary/cases.json');
const present = data !== undefined && existsSync(file);
if (!present) console.log('NOT RUN: labelled canary comparisons; set HAL9_TEST_DATA to the folder that holds canary/cases.json');
const folder = mkdtempSync(join(tmpdir(), 'hal9-judge-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe.skipIf(!present)('the labelled comparisons', () => {
  it('are all judged as labelled', async () => {
    const cases = await readLabelledCases(file);
    expect(judgeCases(cases)).toEqual({ total: cases.length, right: cases.length, wrong: [] });
    expect(cases.length).toBeGreaterThan(0);
  });

  it('are named when they come out otherwise', async () => {
    const opposite = readFileSync(file, 'utf8').replaceAll('"expected": "High"', '"expected": "Low"').replaceAll('"summaryScore": 50.0', '"summaryScore": 51.0');
    const changed = join(folder, 'opposite.json');
    writeFileSync(changed, opposite);
    const { wrong, right, total } = judgeCases(await readLabelledCases(changed));
    expect(wrong.length).toBeGreaterThan(4);
    expect(right).toBe(total - wrong.length);
    expect(wrong[0]).toMatchObject({ expected: 'Low', found: { classification: 'High' } });
  });
});

describe('a file of cases', () => {
  const written = (content: unknown): string => {
    const path = join(folder, 'cases.json');
    writeFileSync(path, JSON.stringify(content));
    return path;
  };

  it('may hold every step of an interval', async () => {
    const x = [8, 9.5, 7, 11];
    const y = [4, 5, 6.5, 3];
    const steps = { Mumin: { value: 0.5, absTolerance: 1e-9 }, Mumax: { value: 8, absTolerance: 1e-9 }, ZqLower: { value: 1.959964, absTolerance: 1e-6 }, ZqUpper: -1.959964 };
    const cases = await readLabelledCases(written([
      { n: 1, name: 'steps', kind: 'mannWhitneyIntermediate', x, y, expected: steps },
      { n: 2, name: 'difference', kind: 'wilcoxonDiff', x, y, expected: [{ mu: 0.5, quantile: 0, value: 2.0329, absTolerance: 1e-3 }] },
      { n: 3, name: 'no such step', kind: 'mannWhitneyIntermediate', x, y, expected: { Other: 1 } },
    ]));
    const { wrong } = judgeCases(cases);
    expect(wrong.map(({ n }) => n)).toEqual([3]);
  });

  it('is refused with the place that is wrong', async () => {
    await expect(readLabelledCases(written([{ n: 1, name: 'x', kind: 'score', groupWeights: {}, metrics: [], expected: {} }]))).rejects.toThrow('0/expected/summaryScore');
  });
});
