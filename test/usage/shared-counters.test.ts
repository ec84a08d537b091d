import { describe, expect, it } from 'vitest';
import { addRateLimits } from '../../api/rate-limit-headers.ts';
import { RateLimits } from '../../platform/usage/rate-limits.ts';
import { SharedCounters } from '../../platform/usage/shared-counters.ts';

const silent = { warn: () => undefined };
const rule = { points: 3, windowMs: 1_000 };

describe('counters of one process', () => {
  it('take so many in a window and no more, and begin anew after it', () => {
    const clock = { now: 0 };
    const counters = new SharedCounters(undefined, silent, () => clock.now);
    expect([1, 2, 3, 4].map(() => counters.take('a', rule))).toEqual([
      { allowed: true, remaining: 2, resetMs: 1_000 }, { allowed: true, remaining: 1, resetMs: 1_000 }, { allowed: true, remaining: 0, resetMs: 1_000 }, { allowed: false, remaining: 0, resetMs: 1_000 },
    ]);
    expect(counters.take('b', rule).allowed).toBe(true);
    clock.now = 400;
    expect(counters.take('a', rule)).toEqual({ allowed: false, remaining: 0, resetMs: 600 });
    expect(counters.standing('a', rule)).toEqual({ allowed: false, remaining: 0, resetMs: 600 });
    clock.now = 1_000;
    expect(counters.take('a', rule)).toEqual({ allowed: true, remaining: 2, resetMs: 1_000 });
  });

  it('goes on alone while the others cannot be heard, and says so once', async () => {
    const warnings: string[] = [];
    const counters = new SharedCounters({ addAcrossOrganisations: () => Promise.reject(new Error('away')), removeEndedAcrossOrganisations: () => Promise.resolve() }, { warn: (_: unknown, text?: string) => void warnings.push(text ?? '') });
    for (let n = 0; n < 3; n += 1) {
      expect(counters.take('a', { points: 3, windowMs: 60_000 }).allowed).toBe(true);
      await counters.close();
    }
    expect(counters.take('a', { points: 3, windowMs: 60_000 }).allowed).toBe(false);
    expect(warnings).toHaveLength(1);
  });
});

describe('rate limits', () => {
  it('are those of the key and of the plan, as the headers of the draft say them', async () => {
    const plan = { plan: 'free' as const, limits: { openRuns: null, apiKeys: null, seats: null, retentionDays: null, requestsPerSecond: 3, keyRequestsPerSecond: 2 } };
    const clock = { now: 0 };
    const limits = new RateLimits({ counters: new SharedCounters(undefined, silent, () => clock.now), requestsPerKey: 5, failedAuthentications: 1, addressKey: (address) => address, plan: () => Promise.resolve(plan), logger: silent, now: () => clock.now });
    // The plan is read behind the first request.
    expect(limits.takeRequest('org', 'one')).toMatchObject({ standings: [{ name: 'key', limit: 5, remaining: 4 }], refused: undefined });
    await Promise.resolve().then(() => Promise.resolve());
    clock.now = 1_000;
    const first = limits.takeRequest('org', 'one');
    expect(first).toMatchObject({ standings: [{ name: 'key', limit: 2, remaining: 1 }, { name: 'organisation', limit: 3, remaining: 2 }], refused: undefined });
    limits.takeRequest('org', 'one');
    expect(limits.takeRequest('org', 'one').refused).toMatchObject({ name: 'key', resetSeconds: 1 });
    expect(limits.takeRequest('org', 'two').refused).toBeUndefined();
    expect(limits.takeRequest('org', 'two').refused).toMatchObject({ name: 'organisation' });
    limits.takeFailedAuthentication('address');
    expect(() => limits.takeFailedAuthentication('address')).toThrow('too many failed authentications');

    const headers = new Map<string, string>();
    const response = { getHeader: (name: string) => headers.get(name), setHeader: (name: string, value: string) => headers.set(name, value) };
    addRateLimits(response, first.standings);
    addRateLimits(response, [{ name: 'operation', limit: 10, windowSeconds: 60, remaining: 0, resetSeconds: 12 }]);
    expect(Object.fromEntries(headers)).toEqual({
      'RateLimit-Policy': '"key";q=2;w=1, "organisation";q=3;w=1, "operation";q=10;w=60',
      'RateLimit': '"key";r=1;t=1, "organisation";r=2;t=1, "operation";r=0;t=12',
    });
  });
});
