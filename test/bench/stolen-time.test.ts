import { describe, expect, it } from 'vitest';
import { parseProcessorTime, stolenPercent } from './stolen-time.ts';

describe('stolen processor time', () => {
  it('is the share of what was wanted, idle and waiting for disks left out', () => {
    const before = parseProcessorTime('cpu  1000 10 200 50000 300 5 15 70 0 0\ncpu0 1 2 3 4 5 6 7 8 0 0\n');
    expect(before).toEqual({ wanted: 1300, stolen: 70 });
    const after = parseProcessorTime('cpu  1060 10 220 60000 900 5 15 190 0 0\ncpu0 1 2 3 4 5 6 7 8 0 0\n');
    expect(stolenPercent(before, after)).toBe(60);
    expect(stolenPercent(after, after)).toBe(0);
  });
});
