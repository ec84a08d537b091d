import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { PlanStore } from '../../database/plans.ts';
import { RateCounterStore } from '../../database/rate-counters.ts';
import { RateLimits } from '../../platform/usage/rate-limits.ts';
import { SharedCounters } from '../../platform/usage/shared-counters.ts';
import { startTestApi, type TestApi } from './running-api.ts';

/** Two API processes on one database. Nobody serves the operation: its starts are what is counted. */
describe('rate limits of several API processes', () => {
  let test: TestApi;
  let urls: string[];
  beforeAll(async () => {
    test = await startTestApi({ HAL9_OPERATIONS: join(import.meta.dirname, '../fixtures/rated-project'), HAL9_RATE_LIMIT: '1000', HAL9_FAILED_LOGINS: '4' });
    urls = [test.url, `http://127.0.0.1:${(await test.another()).port}`];
  });
  afterAll(() => test.stop());

  const start = (key: string, n: number) => fetch(`${urls[n % 2]}/v1/workflows/rated/runs`, { method: 'POST', headers: { 'authorization': `Bearer ${key}`, 'content-type': 'application/json' }, body: '{"input": {}}' });

  it('count the starts of an operation together, by organisation, and say how they stand', async () => {
    const [mine, other] = [await test.key(await test.database.organisation()), await test.key(await test.database.organisation())];
    const answers: Response[] = [];
    for (let n = 0; n < 8; n += 1) answers.push(await start(mine.text, n));
    expect(answers[0]?.headers.get('ratelimit-policy')).toBe('"key";q=1000;w=1, "operation";q=3;w=600');
    expect(answers[0]?.headers.get('ratelimit')).toMatch(/^"key";r=\d+;t=1, "operation";r=2;t=\d{3}$/);
    const started = answers.filter(({ status }) => status === 201).length;
    // Passed at the most by what the other process let through before the two had told each other.
    expect(started).toBeGreaterThanOrEqual(3);
    expect(started).toBeLessThanOrEqual(5);
    await expect.poll(async () => [(await start(mine.text, 0)).status, (await start(mine.text, 1)).status]).toEqual([429, 429]);
    const refused = await start(mine.text, 1);
    expect(refused.headers.get('ratelimit')).toMatch(/"operation";r=0;t=\d+$/);
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(60);
    expect(await refused.json()).toMatchObject({ type: '/problems/RateLimited', detail: '"rated" may be started 3 times in 600 s' });
    expect((await start(other.text, 0)).status).toBe(201);
    const catalogue = await fetch(`${test.url}/v1/workflows/rated`, { headers: { authorization: `Bearer ${mine.text}` } });
    expect(await catalogue.json()).toMatchObject({ rate: { starts: 3, perSeconds: 600 } });
  });

  it('hold an organisation to the requests of its plan', async () => {
    const key = await test.key(await test.database.organisation());
    const ask = (n: number) => fetch(`${urls[n]}/v1/workflows`, { headers: { authorization: `Bearer ${key.text}` } });
    expect((await ask(0)).status).toBe(200);
    const plans = new PlanStore(test.database.database);
    // None at all: a plan of so many a second would make this a matter of time.
    await plans.setForAnyOrganisation(key.orgId, 'free', { limits: { requestsPerSecond: 0, keyRequestsPerSecond: null } }, 'system:test', []);
    await expect.poll(async () => [(await ask(0)).status, (await ask(1)).status]).toEqual([429, 429]);
    const refused = await ask(1);
    expect([refused.headers.get('ratelimit-policy'), refused.headers.get('retry-after')]).toEqual(['"key";q=1000;w=1, "organisation";q=0;w=1', '1']);
    expect(await refused.json()).toMatchObject({ detail: 'the organisation is over the requests per second of its plan' });
  });

  it('count failed authentications of an address together, and keep no address', async () => {
    const fail = async (n: number) => (await fetch(`${urls[n % 2]}/v1/workflows`, { headers: { authorization: 'Bearer hal9_wrong' } })).status;
    const statuses: number[] = [];
    for (let n = 0; n < 8; n += 1) statuses.push(await fail(n));
    expect(statuses.filter((status) => status === 401).length).toBeLessThanOrEqual(6);
    await expect.poll(async () => [await fail(0), await fail(1)]).toEqual([429, 429]);
    const rows = await test.database.database.systemPool.query<{ key: string }>('select key from rate_counters');
    expect(rows.rows.map(({ key }) => key).filter((key) => key.startsWith('address/'))).toHaveLength(1);
    expect(JSON.stringify(rows.rows)).not.toContain('127.0.0.1');
  });

  it('count deliveries to a webhook, and refused ones of an address, together', async () => {
    const hookId = randomUUID();
    const deliver = async (n: number) => (await fetch(`${urls[n % 2]}/v1/hooks/${hookId}`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{}' })).status;
    const statuses: number[] = [];
    for (let n = 0; n < 8; n += 1) statuses.push(await deliver(n));
    expect(statuses.filter((status) => status === 401).length).toBeLessThanOrEqual(6);
    await expect.poll(async () => [await deliver(0), await deliver(1)]).toEqual([429, 429]);
    const { rows } = await test.database.database.systemPool.query<{ key: string }>('select key from rate_counters');
    expect(rows.map(({ key }) => key)).toEqual(expect.arrayContaining([`hook/${hookId}`, expect.stringMatching(/^refused\//)]));
  });

  it('hold a webhook to its deliveries a second whichever process they come to', async () => {
    const limits = () => new RateLimits({ counters: new SharedCounters(new RateCounterStore(test.database.database), silent), requestsPerKey: 2, failedAuthentications: 0, addressKey: (address) => address, logger: silent });
    // The window is a second, which a slow machine may spend on two statements: then with another webhook.
    await expect
      .poll(async () => {
        const hookId = randomUUID();
        const [one, other] = [limits(), limits()];
        one.takeDelivery(hookId);
        one.takeDelivery(hookId);
        await one.close();
        other.takeDelivery(hookId);
        await other.close();
        return refusal(() => other.takeDelivery(hookId));
      })
      .toMatchObject({ type: 'RateLimited', message: 'this webhook gets more deliveries a second than it may' });
  });
});

const silent = { warn: () => undefined };

function refusal(work: () => void): unknown {
  try {
    work();
    return undefined;
  } catch (error) {
    return error;
  }
}
