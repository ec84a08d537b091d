import { randomUUID } from 'node:crypto';
import fc from 'fast-check';
import { sql } from 'kysely';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { BudgetStore } from '../../database/budgets.ts';
import { Database } from '../../database/database.ts';
import { RunStore, type RunRow } from '../../database/runs.ts';
import { recordUsage } from '../../database/usage-events.ts';
import { UsageStorageStore } from '../../database/usage-storage.ts';
import { UsageStore } from '../../database/usage.ts';
import { METERS, type Meter } from '../../schemas/usage/meters.ts';
import { storageSampler } from '../../workers/dispatcher/usage.ts';
import { createTestDatabase, type TestDatabase } from '../environment/database.ts';
import { callerOf, createIngest, ndjson, signalOf } from '../signals/ingest-setup.ts';

const DAY = 86_400_000;

describe('metering', () => {
  let test: TestDatabase;
  let usage: UsageStore;
  beforeAll(async () => {
    test = await createTestDatabase();
    usage = new UsageStore(test.database);
  });
  afterAll(() => test.drop());

  const record = (orgId: string, meter: Meter, key: string, quantity: number): Promise<void> =>
    test.database.withOrg(orgId, (tx) => recordUsage(tx, { orgId, meter, key, quantity }));
  const totals = (orgId: string) => usage.totals(orgId, new Date(Date.now() - DAY), new Date(Date.now() + DAY));
  const foldAll = async (limit = 5_000): Promise<number> => {
    let sum = 0;
    for (let folded = await usage.foldAcrossOrganisations(limit); folded > 0; folded = await usage.foldAcrossOrganisations(limit)) sum += folded;
    return sum;
  };
  const hours = async (orgId: string): Promise<number> => {
    const { rows } = await sql<{ sum: number }>`select coalesce(sum(quantity), 0)::bigint as sum from usage_hours where org_id = ${orgId}`.execute(test.database.system);
    return rows[0]?.sum ?? 0;
  };

  it('counts each use once, whatever is repeated and whenever it is folded', async () => {
    const use = fc.record({ meter: fc.constantFrom(...METERS.filter((meter) => meter !== 'signals' && meter !== 'tokens')), key: fc.integer({ min: 0, max: 15 }), quantity: fc.integer({ min: 0, max: 1_000_000 }) });
    const step = fc.oneof({ weight: 4, arbitrary: use }, { weight: 1, arbitrary: fc.constant('fold' as const) });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 40 }), fc.integer({ min: 1, max: 7 }), async (steps, limit) => {
        const orgId = await test.organisation();
        const expected = new Map<string, { meter: Meter; quantity: number }>();
        for (const entry of steps) {
          if (entry === 'fold') {
            await usage.foldAcrossOrganisations(limit);
            continue;
          }
          await record(orgId, entry.meter, String(entry.key), entry.quantity);
          const name = `${entry.meter}/${entry.key}`;
          if (!expected.has(name)) expected.set(name, entry);
        }
        const sums = Object.fromEntries(METERS.map((meter) => [meter, [...expected.values()].filter((entry) => entry.meter === meter).reduce((sum, entry) => sum + entry.quantity, 0)]));
        expect(await totals(orgId)).toEqual(sums);
        await foldAll(limit);
        expect(await totals(orgId)).toEqual(sums);
      }),
      { numRuns: 25 },
    );
  });

  it('counts once while several fold at once', async () => {
    const orgId = await test.organisation();
    await test.database.withOrg(orgId, (tx) =>
      sql`insert into usage_events (org_id, meter, key, quantity) select ${orgId}, case when n % 2 = 0 then 'runs' else 'signals' end, n::text, n from generate_series(1, 3000) n`.execute(tx),
    );
    const folded = await Promise.all(Array.from({ length: 6 }, () => foldAll(100)));
    expect(folded.reduce((sum, count) => sum + count, 0)).toBe(3000);
    expect(await hours(orgId)).toBe((3000 * 3001) / 2);
    const { rows } = await sql<{ meter: string; rows: number }>`select meter, count(*)::int as rows from usage_events where org_id = ${orgId} group by meter`.execute(test.database.system);
    expect(rows).toEqual([{ meter: 'runs', rows: 1500 }]);
  });

  it('counts once when the folding process is killed halfway', async () => {
    const orgId = await test.organisation();
    await record(orgId, 'runs', 'before', 1);
    await foldAll();
    for (const key of ['a', 'b', 'c']) await record(orgId, 'runs', key, 1);
    const [blocker, killer] = [new pg.Client({ connectionString: test.url }), new pg.Client({ connectionString: test.url })];
    await Promise.all([blocker.connect(), killer.connect()]);
    const folder = new Database({ url: test.url, poolSize: 1, applicationName: 'doomed-folder' });
    try {
      // The fold has taken its uses and waits for the hour when it is killed.
      await blocker.query('begin');
      await blocker.query('lock table usage_hours in share mode');
      const doomed = new UsageStore(folder).foldAcrossOrganisations(100).then(() => 'folded', () => 'killed');
      await expect
        .poll(async () => (await killer.query<{ n: number }>("select count(*)::int as n from pg_stat_activity where application_name = 'doomed-folder' and wait_event_type = 'Lock'")).rows[0]?.n)
        .toBe(1);
      await killer.query("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'doomed-folder'");
      expect(await doomed).toBe('killed');
      await blocker.query('rollback');
    } finally {
      await Promise.all([blocker.end(), killer.end()]);
      await folder.close();
    }
    expect(await hours(orgId)).toBe(1);
    expect(await totals(orgId)).toMatchObject({ runs: 4 });
    await foldAll();
    expect(await hours(orgId)).toBe(4);
    for (const key of ['a', 'b', 'c']) await record(orgId, 'runs', key, 1);
    await foldAll();
    expect(await hours(orgId)).toBe(4);
  });

  it('forgets keys after a week and not before', async () => {
    const orgId = await test.organisation();
    await record(orgId, 'browser-seconds', 'old', 5);
    await record(orgId, 'browser-seconds', 'new', 7);
    await foldAll();
    await sql`update usage_events set folded_at = now() - interval '8 days' where org_id = ${orgId} and key = 'old'`.execute(test.database.system);
    expect(await usage.forgetKeysAcrossOrganisations(100)).toBe(1);
    const { rows } = await sql<{ key: string }>`select key from usage_events where org_id = ${orgId}`.execute(test.database.system);
    expect(rows).toEqual([{ key: 'new' }]);
    expect(await totals(orgId)).toMatchObject({ 'browser-seconds': 12 });
  });

  it('counts signals with their commit: new ones, not duplicates, not replays', async () => {
    const orgId = await test.organisation();
    const { ingest, receiver, store } = createIngest(test);
    const lines = Array.from({ length: 250 }, () => JSON.stringify(signalOf()));
    await receiver.stream(callerOf(orgId), ndjson([...lines, lines[0] ?? '']));
    await receiver.stream(callerOf(orgId), ndjson(lines));
    const one = signalOf();
    await receiver.one(callerOf(orgId), one, { defaultSpecversion: false });
    await receiver.one(callerOf(orgId), one, { defaultSpecversion: false });
    await store.commit({ orgId, rows: [receiver.prepareOne(callerOf(orgId), one, { defaultSpecversion: false })], traceparent: undefined, duplicates: 'refresh' });
    await ingest.close();
    expect(await totals(orgId)).toMatchObject({ signals: 251 });
    await foldAll();
    expect(await totals(orgId)).toMatchObject({ signals: 251 });
  });

  it('counts a run when its row appears, not its cascades, not a rebuilt read model', async () => {
    const orgId = await test.organisation();
    const runs = new RunStore(test.database);
    const row = (fields: Partial<RunRow>): RunRow => ({
      orgId, runId: `greet~${randomUUID()}`, operation: 'greet', origin: 'api', status: 'running', tags: [], actor: null, requestId: null, traceparent: null,
      startedAt: new Date(), closedAt: null, failure: null, ...fields,
    });
    const known = [row({}), row({ origin: 'decision' }), row({ operation: 'cascade', origin: 'dispatcher' }), row({ startedAt: new Date(Date.now() - 30 * DAY) })];
    await runs.recordOfAllOrganisations(known);
    await runs.recordOfAllOrganisations(known.map((entry) => ({ ...entry, status: 'completed', closedAt: new Date() })));
    expect(await totals(orgId)).toMatchObject({ runs: 2 });
    await foldAll();
    await sql`delete from runs where org_id = ${orgId}`.execute(test.database.system);
    await runs.recordOfAllOrganisations(known);
    expect(await totals(orgId)).toMatchObject({ runs: 2 });
  });

  it('counts the tokens a call really used with its settlement', async () => {
    const orgId = await test.organisation();
    const budgets = new BudgetStore(test.database);
    const account = { account: 'day/2026-01-01', limits: { calls: null, tokens: null, usd: null } };
    const [used, released] = [randomUUID(), randomUUID()];
    for (const id of [used, released]) await budgets.reserve(orgId, id, [account], { calls: 1, tokens: 500, usd: '1' }, 60);
    await budgets.settle(orgId, used, { calls: 1, tokens: 123, usd: '0.1' });
    await budgets.settle(orgId, used, { calls: 1, tokens: 123, usd: '0.1' });
    await budgets.settle(orgId, released, { calls: 0, tokens: 0, usd: '0' });
    expect(await totals(orgId)).toMatchObject({ tokens: 123 });
  });

  it('samples what an organisation stores once an hour', async () => {
    const orgId = await test.organisation();
    const storage = new UsageStorageStore(test.database);
    const { ingest, receiver } = createIngest(test);
    await receiver.stream(callerOf(orgId), ndjson(Array.from({ length: 200 }, () => JSON.stringify(signalOf({ data: { text: 'x'.repeat(1000) } })))));
    await ingest.close();
    expect(await storage.tableBytes(orgId)).toBeGreaterThan(200_000);
    const sampler = storageSampler(storage, { storedBytes: (asked) => Promise.resolve(asked === orgId ? 1_000_000 : 0) });
    await sampler.run(new AbortController().signal);
    await sampler.run(new AbortController().signal);
    const { 'storage-byte-hours': bytes } = await totals(orgId);
    expect(bytes).toBeGreaterThan(1_200_000);
    expect(bytes).toBeLessThan(2_000_000);
  });

  it('shows series by hour, day and month', async () => {
    const orgId = await test.organisation();
    await sql`insert into usage_hours (org_id, meter, hour, quantity) values
      (${orgId}, 'runs', '2026-01-31T22:00:00Z', 1), (${orgId}, 'runs', '2026-01-31T23:00:00Z', 2), (${orgId}, 'runs', '2026-02-01T00:00:00Z', 4), (${orgId}, 'tokens', '2026-02-01T00:00:00Z', 9)`.execute(test.database.system);
    const span = { from: new Date('2026-01-01T00:00:00Z'), to: new Date('2026-03-01T00:00:00Z') };
    expect(await usage.series(orgId, { ...span, step: 'month', meter: 'runs' })).toEqual([
      { meter: 'runs', start: new Date('2026-01-01T00:00:00Z'), quantity: 3 },
      { meter: 'runs', start: new Date('2026-02-01T00:00:00Z'), quantity: 4 },
    ]);
    expect(await usage.series(orgId, { ...span, step: 'day' })).toHaveLength(3);
    expect(await usage.series(orgId, { ...span, step: 'hour' })).toHaveLength(4);
    const all = await usage.totalsAcrossOrganisations(span.from, span.to);
    expect(all.get(orgId)).toMatchObject({ runs: 7, tokens: 9 });
  });
});
