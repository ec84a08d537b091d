import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { measured, type ProcessorTime } from '../../workers/core/processor-time.ts';

/** Keeps the thread busy for so much processor time, whatever else the machine does. */
function burn(milliseconds: number): void {
  const used = (): number => {
    const { user, system } = process.threadCpuUsage();
    return (user + system) / 1000;
  };
  const until = used() + milliseconds;
  while (used() < until);
}

describe('processor time', () => {
  it('is counted for the work whose code runs, across what it awaits, and for nobody else', async () => {
    const times: Record<string, ProcessorTime> = {};
    const work = (name: string, burned: number) =>
      measured(async (time) => {
        times[name] = time;
        for (let step = 0; step < 4; step += 1) {
          burn(burned);
          await delay(1);
          await Promise.resolve().then(() => burn(burned));
        }
      });
    const unmeasured = async (): Promise<void> => {
      for (let step = 0; step < 20; step += 1) {
        await delay(1);
        burn(10);
      }
    };
    await Promise.all([work('much', 10), unmeasured(), work('little', 2), work('none', 0)]);
    expect(times['much']?.microseconds).toBeGreaterThanOrEqual(80_000);
    expect(times['little']?.microseconds).toBeGreaterThanOrEqual(16_000);
    // 200 ms were burned beside them by what nobody measures.
    expect(times['much']?.microseconds).toBeLessThan(130_000);
    expect(times['little']?.microseconds).toBeLessThan(66_000);
    expect(times['none']?.microseconds).toBeLessThan(50_000);
  });

  it('is counted again after it rested, and for work that fails', async () => {
    await measured(async () => delay(1));
    let time: ProcessorTime | undefined;
    const failing = measured(async (own) => {
      time = own;
      burn(5);
      await delay(1);
      burn(5);
      throw new Error('on purpose');
    });
    await expect(failing).rejects.toThrow('on purpose');
    expect(time?.microseconds).toBeGreaterThanOrEqual(10_000);
  });

  it('of work inside other work is its own', async () => {
    const times: Record<string, ProcessorTime> = {};
    await measured(async (outer) => {
      times['outer'] = outer;
      await measured(async (inner) => {
        times['inner'] = inner;
        burn(30);
      });
      burn(5);
    });
    expect(times['inner']?.microseconds).toBeGreaterThanOrEqual(30_000);
    expect(times['outer']?.microseconds).toBeGreaterThanOrEqual(5_000);
    expect(times['outer']?.microseconds).toBeLessThan(30_000);
  });
});
