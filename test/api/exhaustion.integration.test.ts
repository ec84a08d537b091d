import pg from 'pg';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { problemSchema } from '../../api/problem.ts';
import { startTestApi, type TestApi } from './running-api.ts';

let test: TestApi;
beforeAll(async () => {
  test = await startTestApi({ DATABASE_POOL: '2', HAL9_RATE_LIMIT: '0' });
});
afterAll(() => test.stop());

it('sends away whom it has no connection to PostgreSQL for, in bounded time, and recovers', { timeout: 90_000 }, async () => {
  const key = await test.key(await test.database.organisation());
  const list = () => fetch(`${test.url}/v1/runs`, { headers: { authorization: `Bearer ${key.text}` } });
  expect((await list()).status).toBe(200);
  const holder = new pg.Client({ connectionString: test.database.url });
  await holder.connect();
  try {
    await holder.query('begin');
    await holder.query('lock table runs in access exclusive mode');
    const asked = Array.from({ length: 8 }, list);
    const waiting = async () => Number(/^hal9_database_pool_waiting\{role="app"\} (\d+)$/m.exec(await (await fetch(`${test.url}/metrics`)).text())?.[1]);
    await expect.poll(waiting).toBeGreaterThanOrEqual(6);
    // Those who need no database are answered as ever.
    expect((await fetch(`${test.url}/healthz`)).status).toBe(200);
    const refused = await Promise.race(asked);
    expect([refused.status, Number(refused.headers.get('retry-after'))]).toEqual([503, 1]);
    expect(problemSchema.parse(await refused.json())).toMatchObject({ type: '/problems/DependencyUnavailable', retryable: true });
    await expect.poll(waiting).toBe(0);
    await holder.query('rollback');
    const statuses = (await Promise.all(asked)).map(({ status }) => status);
    expect(statuses.filter((status) => status === 503).length).toBe(6);
    expect(statuses.filter((status) => status === 200).length).toBe(2);
    expect((await list()).status).toBe(200);
  } finally {
    await holder.end();
  }
});
