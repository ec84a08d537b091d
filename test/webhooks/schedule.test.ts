import { describe, expect, it } from 'vitest';
import { circuitPause, nextWait } from '../../platform/webhooks/schedule.ts';

describe('the retry schedule', () => {
  it('is that of Standard Webhooks and ends', () => {
    expect([1, 2, 3, 4, 5, 6, 7, 8, 9, 10].map((attempts) => nextWait(attempts))).toEqual([5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400, undefined]);
  });

  it('waits longer where the endpoint asks for it, never shorter', () => {
    expect(nextWait(1, 60)).toBe(60);
    expect(nextWait(2, 60)).toBe(300);
    expect(nextWait(10, 60)).toBeUndefined();
  });
});

describe('the circuit', () => {
  it('opens after five failures and waits ever longer, half an hour at most', () => {
    expect([0, 4, 5, 6, 7, 11, 500].map(circuitPause)).toEqual([0, 0, 30, 60, 120, 1800, 1800]);
  });
});
