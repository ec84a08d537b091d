import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Budgets, type SpendRequest } from '../../platform/budgets/budgets.ts';
import { systemCaller } from '../../platform/identity/caller.ts';
import { createTestDatabase, type TestDatabase } from '../environment/database.ts';

describe('budgets', () => {
  let test: TestDatabase;
  let budgets: Budgets;
  beforeAll(async () => {
    test = await createTestDatabase();
    budgets = new Budgets(test.database);
  });
  afterAll(() => test.drop());

  const request = (change: Partial<SpendRequest> = {}): SpendRequest => ({
    batchId: randomUUID(),
    neuronId: randomUUID(),
    perCascade: {},
    worst: { calls: 1, tokens: 100, usd: '0.010000001' },
    seconds: 60,
    ...change,
  });
  const period = async (orgId: string, name: 'day' | 'month') => (await budgets.view({ orgId })).find((budget) => budget.period === name);

  it('does not overshoot by a billionth of a dollar under 1,000 concurrent reservations', async () => {
    const caller = systemCaller(await test.organisation(), 'test');
    // Room for exactly 317 of them.
    await budgets.replace(caller, { day: { usd: 3.170000317 } });
    const results = await Promise.all(Array.from({ length: 1000 }, () => budgets.reserve(caller.orgId, request())));
    const reserved = results.filter((result) => result.kind === 'reserved');
    expect(reserved).toHaveLength(317);
    expect(results.filter((result) => result.kind === 'refused').every((result) => result.reason === "the organisation's budget of the day is used up")).toBe(true);
    expect((await period(caller.orgId, 'day'))?.used?.reserved).toEqual({ calls: 317, tokens: 31_700, usd: '3.170000317' });

    // Settled with half: as many find room as fit exactly.
    await Promise.all(reserved.map((result) => budgets.settle(caller.orgId, result.id, { calls: 1, tokens: 50, usd: '0.005000000' })));
    expect((await period(caller.orgId, 'day'))?.used).toEqual({ reserved: { calls: 0, tokens: 0, usd: '0.000000000' }, spent: { calls: 317, tokens: 15_850, usd: '1.585000000' } });
    const again = await Promise.all(Array.from({ length: 400 }, () => budgets.reserve(caller.orgId, request())));
    expect(again.filter((result) => result.kind === 'reserved')).toHaveLength(158);
  });

  it.each([
    ['calls', { calls: 3 }, 3],
    ['tokens', { tokens: 250 }, 2],
    ['usd', { usd: 0.05 }, 4],
  ] as const)('limits %s of the month', async (_name, limit, room) => {
    const caller = systemCaller(await test.organisation(), 'test');
    await budgets.replace(caller, { month: limit });
    const results = await Promise.all(Array.from({ length: 20 }, () => budgets.reserve(caller.orgId, request())));
    expect(results.filter((result) => result.kind === 'reserved')).toHaveLength(room);
  });

  it('limits a cascade and a neuron in it, and takes from all accounts or none', async () => {
    const caller = systemCaller(await test.organisation(), 'test');
    await budgets.replace(caller, { cascade: { calls: 5 } });
    const batchId = randomUUID();
    const [first, second] = [randomUUID(), randomUUID()];
    const take = (neuronId: string, calls: number) => budgets.reserve(caller.orgId, request({ batchId, neuronId, perCascade: { calls } }));
    const results = await Promise.all(Array.from({ length: 10 }, () => take(first, 3)));
    expect(results.filter((result) => result.kind === 'reserved')).toHaveLength(3);
    expect(results.find((result) => result.kind === 'refused')).toMatchObject({ reason: "the neuron's budget in this cascade is used up" });
    const others = await Promise.all(Array.from({ length: 10 }, () => take(second, 9)));
    expect(others.filter((result) => result.kind === 'reserved')).toHaveLength(2);
    expect(others.find((result) => result.kind === 'refused')).toMatchObject({ reason: 'the budget of this cascade is used up' });
    expect((await period(caller.orgId, 'day'))?.used?.reserved.calls).toBe(5);
  });

  it('keeps to the limit of the installation, which no organisation sets', async () => {
    const caller = systemCaller(await test.organisation(), 'test');
    await budgets.replace(caller, { month: { usd: 100 } });
    const bounded = new Budgets(test.database, 0.025);
    const results = await Promise.all(Array.from({ length: 10 }, () => bounded.reserve(caller.orgId, request())));
    expect(results.filter((result) => result.kind === 'reserved')).toHaveLength(2);
    expect(results.find((result) => result.kind === 'refused')).toMatchObject({ reason: "the installation's limit of this month is used up" });
  });

  it('releases and settles once', async () => {
    const caller = systemCaller(await test.organisation(), 'test');
    await budgets.replace(caller, { day: { calls: 1 } });
    const first = await budgets.reserve(caller.orgId, request());
    if (first.kind !== 'reserved') throw new Error('no room');
    await budgets.release(caller.orgId, first.id);
    expect(await budgets.settle(caller.orgId, first.id, { calls: 1, tokens: 1, usd: '1' })).toBe(false);
    const second = await budgets.reserve(caller.orgId, request());
    expect(second.kind).toBe('reserved');
    expect((await budgets.reserve(caller.orgId, request())).kind).toBe('refused');
  });

  it('books reservations of crashed callers in full once their time is up', async () => {
    const caller = systemCaller(await test.organisation(), 'test');
    await budgets.reserve(caller.orgId, request({ seconds: -60.5 + 0.6 }));
    expect((await period(caller.orgId, 'month'))?.used?.reserved.calls).toBe(1);
    await sleep(300);
    expect((await period(caller.orgId, 'month'))?.used).toEqual({ reserved: { calls: 0, tokens: 0, usd: '0.000000000' }, spent: { calls: 1, tokens: 100, usd: '0.010000001' } });
  });

  it('is each organisation\'s own', async () => {
    const [one, other] = [systemCaller(await test.organisation(), 'test'), systemCaller(await test.organisation(), 'test')];
    await budgets.replace(one, { day: { calls: 0 } });
    expect((await budgets.reserve(one.orgId, request())).kind).toBe('refused');
    expect((await budgets.reserve(other.orgId, request())).kind).toBe('reserved');
    await budgets.replace(one, {});
    expect((await budgets.reserve(one.orgId, request())).kind).toBe('reserved');
  });
});
