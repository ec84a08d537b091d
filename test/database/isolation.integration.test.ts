import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { sql } from 'kysely';
import { createTestDatabase, type TestDatabase } from '../environment/database.ts';

describe('row-level security', () => {
  let test: TestDatabase;
  beforeAll(async () => {
    test = await createTestDatabase();
  });
  afterAll(() => test.drop());

  it('shows a transaction its own organisation only', async () => {
    const [mine, other] = [await test.organisation('mine'), await test.organisation('other')];
    const seen = await test.database.withOrg(mine, (tx) => tx.selectFrom('organisations').select('org_id').execute());
    expect(seen).toEqual([{ org_id: mine }]);
    await expect(
      test.database.withOrg(mine, (tx) => tx.insertInto('lanes').values({ org_id: other, lane: 1, open_batch: null }).execute()),
    ).rejects.toThrow(/row-level security/);
  });

  it('shows nothing without an organisation', async () => {
    const rows = await test.database.app.selectFrom('organisations').select('org_id').execute();
    expect(rows).toEqual([]);
  });

  it('guards every table that has an organisation, for its owner too', async () => {
    const { rows } = await sql<{ relname: string; ok: boolean }>`
      select c.relname, c.relrowsecurity and c.relforcerowsecurity as ok
      from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attname = 'org_id' and not a.attisdropped
      where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and not c.relispartition`.execute(test.database.system);
    expect(rows.length).toBeGreaterThan(10);
    expect(rows.filter((row) => !row.ok)).toEqual([]);
  });
});
