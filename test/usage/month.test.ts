import { describe, expect, it } from 'vitest';
import { csvOf } from '../../api/csv.ts';
import { monthNamed, monthOf, projected } from '../../platform/usage/month.ts';
import { METERS } from '../../schemas/usage/meters.ts';
import { entitlementsOf, PLAN_LIMITS, PLAN_NAMES, PLANS } from '../../schemas/usage/plans.ts';

describe('months', () => {
  it('begin and end in UTC', () => {
    expect(monthOf(new Date('2026-12-31T23:59:59.999Z'))).toEqual({ name: '2026-12', from: new Date('2026-12-01T00:00:00Z'), to: new Date('2027-01-01T00:00:00Z') });
    expect(monthNamed('2028-02')).toEqual(monthOf(new Date('2028-02-29T12:00:00Z')));
  });

  it('are projected straight on', () => {
    const month = monthNamed('2026-09');
    expect(projected(10, month, new Date('2026-09-16T00:00:00Z'))).toBe(20);
    expect(projected(10, month, new Date('2026-10-05T00:00:00Z'))).toBe(10);
    expect(projected(1, month, new Date('2026-09-01T00:00:01Z'))).toBe(720);
  });
});

describe('plans', () => {
  it('never give less than the one before, and warn before they refuse', () => {
    const rank = (value: number | null): number => value ?? Infinity;
    for (const [index, name] of PLAN_NAMES.entries()) {
      const [plan, before] = [PLANS[name], PLANS[PLAN_NAMES[Math.max(0, index - 1)] ?? 'free']];
      for (const meter of METERS) {
        expect(rank(plan.quotas[meter].hard)).toBeGreaterThanOrEqual(rank(before.quotas[meter].hard));
        expect(rank(plan.quotas[meter].soft)).toBeLessThanOrEqual(rank(plan.quotas[meter].hard));
      }
      for (const limit of PLAN_LIMITS) expect(rank(plan.limits[limit])).toBeGreaterThanOrEqual(rank(before.limits[limit]));
    }
    expect(Object.values(PLANS.enterprise.limits).every((limit) => limit === null)).toBe(true);
  });

  it('are the base of what was agreed', () => {
    const own = entitlementsOf('free', { quotas: { runs: { hard: null } }, limits: { seats: 50 } });
    expect(own.quotas.runs).toEqual({ soft: 800, hard: null });
    expect(own.limits).toEqual({ ...PLANS.free.limits, seats: 50 });
    expect(PLANS.free.quotas.runs.hard).toBe(1_000);
  });
});

describe('CSV', () => {
  it('quotes what needs it and starts no formula', () => {
    expect(csvOf([['a', 1, null], ['x,"y"\n', -2, '=1+1']])).toBe('a,1,\r\n"x,""y""\n",-2,\'=1+1\r\n');
  });
});
