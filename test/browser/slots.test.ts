import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Slots, type Slot } from '../../activities/browser/slots.ts';

const SECOND_MS = 1000;

beforeEach(() => vi.useFakeTimers());
afterEach(() => vi.useRealTimers());

describe('slots of browser sessions', () => {
  it('go to the organisation that has the fewest, and within one in the order they were asked for', async () => {
    const slots = new Slots(4);
    const given: { name: string; slot: Slot }[] = [];
    const ask = (name: string): void => void slots.take(name.slice(0, 1), 100 * SECOND_MS).then((slot) => slot !== undefined && given.push({ name, slot }));
    for (let n = 1; n <= 50; n += 1) ask(`a${String(n)}`);
    for (const name of ['b1', 'b2', 'b3', 'c1']) ask(name);
    await vi.advanceTimersByTimeAsync(0);
    expect(given.map(({ name }) => name)).toEqual(['a1', 'a2', 'a3', 'a4']);
    // Each session that ends makes room for one.
    for (let ended = 0; ended < 8; ended += 1) {
      given[ended]?.slot.release();
      await vi.advanceTimersByTimeAsync(0);
    }
    // First those who have none; where all have as many, who asked first.
    expect(given.slice(4).map(({ name }) => name)).toEqual(['b1', 'c1', 'a5', 'a6', 'b2', 'b3', 'a7', 'a8']);
    expect(slots.free).toBe(0);
  });

  it('are given back once, and to nobody who has gone', async () => {
    const slots = new Slots(1);
    const first = await slots.take('a', SECOND_MS);
    const late = slots.take('b', SECOND_MS);
    await vi.advanceTimersByTimeAsync(SECOND_MS);
    expect(await late).toBeUndefined();
    first?.release();
    first?.release();
    expect([slots.free, slots.inUse]).toEqual([1, 0]);
    expect(await slots.take('b', 0)).toBeDefined();
  });

  it('keep nobody waiting once they are closed', async () => {
    const slots = new Slots(0);
    const waiting = slots.take('a', SECOND_MS);
    slots.close();
    expect(await waiting).toBeUndefined();
  });
});
