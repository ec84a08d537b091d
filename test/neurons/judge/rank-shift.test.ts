import { describe, expect, it } from 'vitest';
import { brentRoot } from '../../../neurons/judge/brent-root.ts';
import { normalQuantile, normalUpperTail } from '../../../neurons/judge/normal.ts';
import { compareRanks, shiftInterval, wilcoxonDifference } from '../../../neurons/judge/rank-shift.ts';

describe('normalQuantile', () => {
  it.each([
    [0.5, 0],
    [0.975, 1.959963984540054],
    [0.99, 2.3263478740408408],
    [1e-10, -6.361340902404056],
    [0, -Infinity],
    [1, Infinity],
  ])('of %d', (p, expected) => {
    if (Number.isFinite(expected)) expect(normalQuantile(p)).toBeCloseTo(expected, 12);
    else expect(normalQuantile(p)).toBe(expected);
  });

  it('is the inverse of the tail, and of no probability nothing', () => {
    for (const p of [0.01, 0.2, 0.7]) expect(normalUpperTail(-normalQuantile(p))).toBeCloseTo(p, 6);
    expect(normalQuantile(1.1)).toBeNaN();
    expect(normalQuantile(Number.NaN)).toBeNaN();
  });
});

describe('brentRoot', () => {
  it('finds roots of smooth functions and places beside a step', () => {
    expect(brentRoot((x) => x * x * x - 2, 0, 3, 1e-12)).toBeCloseTo(2 ** (1 / 3), 10);
    expect(Math.abs(brentRoot((x) => (x < 0.7 ? 1 : -1), 0, 3, 1e-6) - 0.7)).toBeLessThan(1e-6);
    expect(brentRoot((x) => x - 1, 0, 1, 1e-9)).toBe(1);
  });
});

describe('compareRanks', () => {
  it('counts the pairs, ties half', () => {
    const control = [3, 1, 4, 1, 5, 9, 2, 6];
    const experiment = [2, 7, 1, 8, 2, 8];
    const pairs = experiment.flatMap((later) => control.map((before): number => (later > before ? 1 : later === before ? 0.5 : 0)));
    const found = compareRanks(control, experiment);
    expect(found.u).toBe(pairs.reduce((sum, one) => sum + one));
    expect(found.superiority).toBeCloseTo(found.u / 48, 12);
    expect(found.delta).toBeCloseTo(found.u / 24 - 1, 12);
  });

  it('agrees with the published example of the permeability of the placenta', () => {
    // Hollander and Wolfe, "Nonparametric Statistical Methods", table 4.1: U = 35, one-sided p 0.1272 exactly.
    const found = compareRanks([1.15, 0.88, 0.9, 0.74, 1.21], [0.8, 0.83, 1.89, 1.04, 1.45, 1.38, 1.91, 1.64, 0.73, 1.46]);
    expect(found.u).toBe(35);
    expect(found.pHigher).toBeCloseTo(0.1272, 2);
  });

  it('sees nothing in equal values', () => {
    expect(compareRanks([1, 1], [1, 1, 1])).toMatchObject({ delta: 0, pHigher: 1, pLower: 1 });
  });
});

describe('shiftInterval', () => {
  const control = [5.1, 4.9, 6.2, 5.7, 5.5, 6.1, 5.9, 5.3, 5.6, 5.2];

  it('holds the shift, and moves with it', () => {
    const found = shiftInterval(control, control.map((value) => value + 3), 0.95);
    expect(found.low).toBeLessThan(3);
    expect(found.high).toBeGreaterThan(3);
    expect(found.estimate).toBeCloseTo(3, 3);
    expect(shiftInterval(control, control.map((value) => value + 3), 0.99).low).toBeLessThanOrEqual(found.low);
  });

  it('reaches to the bounds where the samples are too few', () => {
    expect(shiftInterval([1, 2], [5, 7], 0.99)).toMatchObject({ low: 3, high: 6 });
  });

  it('is a point between two constants', () => {
    expect(shiftInterval([1, 1, 1], [10, 10], 0.98)).toEqual({ low: 9, high: 9, estimate: 9 });
    expect(wilcoxonDifference([1], [1], 0, 0)).toBeNaN();
  });
});
