import { describe, expect, it } from 'vitest';
import type { ProcessReading } from '../../activities/host/process-table.ts';
import { ProcessorUse } from '../../workers/host/processor-use.ts';

const SECOND = 1000;

function process(pid: number, cpuTicks: number, startTicks = 1): ProcessReading {
  return { pid, parentPid: 1, name: `p${pid}`, state: 'R', cpuTicks, startTicks, memoryBytes: 0 };
}

/** Plays readings a second apart; each entry is the ticks that every process used in that second. */
function played(seconds: readonly Readonly<Record<number, number>>[]): ProcessorUse {
  const use = new ProcessorUse();
  const total: Record<number, number> = {};
  for (const pid of Object.keys(seconds[0] ?? {})) total[Number(pid)] = 0;
  const observe = (at: number): void => use.observe(Object.entries(total).map(([pid, ticks]) => process(Number(pid), ticks)), at);
  observe(0);
  for (const [index, used] of seconds.entries()) {
    for (const [pid, ticks] of Object.entries(used)) total[Number(pid)] = (total[Number(pid)] ?? 0) + ticks;
    observe((index + 1) * SECOND);
  }
  return use;
}

describe('use of processors', () => {
  it('is a mean over five seconds: a hog that an overloaded machine lets run in bursts still leads', () => {
    // The hog (1) gets 1.5 cores every other second and nothing in between; others take turns in each single second.
    const use = played([{ 1: 150, 2: 10, 3: 80 }, { 1: 0, 2: 80, 3: 10 }, { 1: 150, 2: 10, 3: 80 }, { 1: 0, 2: 80, 3: 10 }, { 1: 150, 2: 10, 3: 80 }, { 1: 0, 2: 80, 3: 10 }]);
    expect(use.used(1)).toBeCloseTo(0.6, 5);
    expect(use.used(1)).toBeGreaterThan(Math.max(use.used(2), use.used(3)));
  });

  it('counts what threads wait for, over the same window', () => {
    const use = new ProcessorUse();
    for (let second = 0; second <= 5; second += 1) {
      use.observe([process(1, second * 10)], second * SECOND);
      use.noteRunnable(1, second % 2 === 0 ? 2 : 1);
    }
    expect(use.used(1)).toBeCloseTo(0.1, 5);
    // The look at 0 s is out of the window: 1, 2, 1, 2, 1.
    expect(use.cores(1)).toBeCloseTo(1.4, 5);
  });

  it('forgets what lies further back, and a peak of one look does not last', () => {
    const use = played([{ 1: 200 }, ...Array.from({ length: 5 }, () => ({ 1: 0 }))]);
    expect(use.used(1)).toBe(0);
  });

  it('starts anew with another process under the same pid, and knows nothing of one seen once', () => {
    const use = new ProcessorUse();
    use.observe([process(1, 500, 10)], 0);
    use.observe([process(1, 900, 10)], SECOND);
    expect(use.used(1)).toBeCloseTo(4, 5);
    use.observe([process(1, 50, 99)], 2 * SECOND);
    expect(use.used(1)).toBe(0);
    use.observe([process(1, 150, 99)], 3 * SECOND);
    expect(use.used(1)).toBeCloseTo(1, 5);
    use.observe([], 4 * SECOND);
    expect(use.used(1)).toBe(0);
    expect(use.cores(2)).toBe(0);
  });

  it('heeds uneven intervals: a look that came late counts for as long as it took', () => {
    const use = new ProcessorUse();
    use.observe([process(1, 0)], 0);
    use.observe([process(1, 100)], 4 * SECOND);
    expect(use.used(1)).toBeCloseTo(0.25, 5);
  });
});
