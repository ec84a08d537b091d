import { describe, expect, it } from 'vitest';
import { cutoffOf } from '../../platform/privacy/retention-plan.ts';

const before = (keep: string, now: string): string => cutoffOf(keep, new Date(now)).toISOString();

describe('the cutoff of a retention policy', () => {
  it('counts calendar years, months, weeks and days back, in UTC', () => {
    expect(before('P6Y', '2026-03-15T10:20:30Z')).toBe('2020-03-15T10:20:30.000Z');
    expect(before('P1Y2M', '2026-01-31T00:00:00Z')).toBe('2024-11-30T00:00:00.000Z');
    expect(before('P2W3D', '2026-03-01T00:00:00Z')).toBe('2026-02-12T00:00:00.000Z');
  });

  it('takes the last day of a month that is shorter', () => {
    expect(before('P1M', '2026-03-31T12:00:00Z')).toBe('2026-02-28T12:00:00.000Z');
    expect(before('P1Y', '2024-02-29T00:00:00Z')).toBe('2023-02-28T00:00:00.000Z');
  });
});
