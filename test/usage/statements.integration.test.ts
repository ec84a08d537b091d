import { sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { PlanStore } from '../../database/plans.ts';
import { statementHash, StatementStore } from '../../database/statements.ts';
import { UsageStore } from '../../database/usage.ts';
import { Plans } from '../../platform/usage/plans.ts';
import { createTestDatabase, type TestDatabase } from '../environment/database.ts';

describe('statements', () => {
  let test: TestDatabase;
  let statements: StatementStore;
  beforeAll(async () => {
    test = await createTestDatabase();
    statements = new StatementStore(test.database);
  });
  afterAll(() => test.drop());

  const hour = (orgId: string, meter: string, at: string, quantity: number) =>
    sql`insert into usage_hours (org_id, meter, hour, quantity) values (${orgId}, ${meter}, ${at}, ${quantity})`.execute(test.database.system);
  const closeAll = async (): Promise<void> => {
    while ((await statements.closeMonthsAcrossOrganisations(10, 'enterprise')) > 0);
  };

  it('closes months in their order, chained by their hashes, and only those that are over', async () => {
    const orgId = await test.organisation();
    await new PlanStore(test.database).setForAnyOrganisation(orgId, 'starter', {}, 'system:test', []);
    await hour(orgId, 'runs', '2026-01-31T23:00:00Z', 5);
    await hour(orgId, 'runs', '2026-02-01T00:00:00Z', 7);
    await hour(orgId, 'signals', '2026-02-11T00:00:00Z', 9);
    await hour(orgId, 'runs', new Date(Date.now() - 60_000).toISOString(), 1_000);
    await closeAll();
    const [february, january] = await statements.list(orgId, 10);
    expect(january).toMatchObject({ month: '2026-01', plan: 'starter', previousHash: null });
    expect(january?.lines.find(({ meter }) => meter === 'runs')).toEqual({ meter: 'runs', unit: 'runs', quantity: 5, soft: 10_000, hard: 20_000 });
    expect(february).toMatchObject({ month: '2026-02', previousHash: january?.hash });
    expect(february?.lines.filter(({ quantity }) => quantity > 0).map(({ meter, quantity }) => [meter, quantity])).toEqual([['runs', 7], ['signals', 9]]);
    for (const statement of [january, february]) if (statement !== undefined) expect(statementHash(statement)).toBe(statement.hash);
    expect(await statements.list(orgId, 10, '2026-02')).toHaveLength(1);
  });

  it('waits for uses that are not folded, and counts what comes later in the month that is open', async () => {
    const orgId = await test.organisation();
    await hour(orgId, 'runs', '2026-03-01T00:00:00Z', 5);
    await sql`insert into usage_events (org_id, meter, key, quantity, at) values (${orgId}, 'runs', 'late', 2, '2026-03-31T23:59:59Z')`.execute(test.database.system);
    await closeAll();
    expect(await statements.find(orgId, '2026-03')).toBeUndefined();
    await new UsageStore(test.database).foldAcrossOrganisations(100);
    await closeAll();
    expect((await statements.find(orgId, '2026-03'))?.lines[0]).toMatchObject({ quantity: 7 });
    await sql`insert into usage_events (org_id, meter, key, quantity, at) values (${orgId}, 'runs', 'later', 3, '2026-03-31T23:59:59Z')`.execute(test.database.system);
    await new UsageStore(test.database).foldAcrossOrganisations(100);
    const view = await new Plans(test.database, 'enterprise').statement({ orgId }, '2026-04');
    expect(view.lines[0]).toMatchObject({ meter: 'runs', quantity: 3 });
    expect((await statements.find(orgId, '2026-03'))?.lines[0]).toMatchObject({ quantity: 7 });
  });

  it('is changed by nobody, its owner included', async () => {
    const orgId = await test.organisation();
    await hour(orgId, 'runs', '2026-05-01T00:00:00Z', 5);
    await closeAll();
    for (const statement of [sql`update statements set plan = 'free' where org_id = ${orgId}`, sql`delete from statements where org_id = ${orgId}`]) {
      await expect(test.database.withOrg(orgId, (tx) => statement.execute(tx))).rejects.toThrow('permission denied');
      await expect(statement.execute(test.database.system)).rejects.toThrow('permission denied');
    }
    const { Client } = (await import('pg')).default;
    const owner = new Client({ connectionString: test.url });
    await owner.connect();
    try {
      await expect(owner.query("update statements set plan = 'free' where org_id = $1", [orgId])).rejects.toThrow('does not change');
      await expect(owner.query('delete from statements where org_id = $1', [orgId])).rejects.toThrow('does not change');
    } finally {
      await owner.end();
    }
  });

  it('closes each month once when several do it', async () => {
    const orgs = await Promise.all(Array.from({ length: 5 }, () => test.organisation()));
    for (const orgId of orgs) await hour(orgId, 'runs', '2026-06-01T00:00:00Z', 5);
    await Promise.all(Array.from({ length: 4 }, closeAll));
    for (const orgId of orgs) expect(await statements.list(orgId, 10)).toHaveLength(1);
  });

  it('shows an open month as it stands and none that has not begun', async () => {
    const orgId = await test.organisation();
    const plans = new Plans(test.database, 'enterprise');
    expect(await plans.statement({ orgId }, new Date().toISOString().slice(0, 7))).toMatchObject({ state: 'open', hash: null, plan: 'enterprise' });
    await expect(plans.statement({ orgId }, '2099-01')).rejects.toMatchObject({ type: 'NotFound' });
  });
});
