import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { sql } from 'kysely';
import type { Tx } from '../../database/database.ts';
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

  it('begins a transaction and names its organisation in one round trip', async () => {
    const org = await test.organisation('trips');
    const statements: string[] = [];
    const client = await test.database.appPool.connect();
    const query = client.query.bind(client);
    Object.assign(client, { query: (...given: Parameters<typeof query>) => (statements.push(String(given[0])), query(...given)) });
    client.release();
    // The pool hands out the client that came back last.
    await test.database.withOrg(org, (tx) => tx.selectFrom('organisations').select('org_id').execute());
    expect(statements).toEqual([`begin; set local hal9.org = '${org}'`, expect.stringMatching(/^select/), 'commit']);
    Object.assign(client, { query });
  });

  it('keeps organisations apart where one transaction is opened within another', async () => {
    const [outer, inner] = [await test.organisation('outer'), await test.organisation('inner')];
    const read = (tx: Tx) => tx.selectFrom('organisations').select('org_id').execute();
    const seen = await test.database.withOrg(outer, async (tx) => [
      await test.database.withOrg(inner, read),
      // Begun inside, and of no organisation.
      await test.database.app.transaction().execute(read),
      await read(tx),
    ]);
    expect(seen).toEqual([[{ org_id: inner }], [], [{ org_id: outer }]]);
  });

  it('leaves nothing behind: neither the work nor the organisation of a transaction that failed', async () => {
    const org = await test.organisation('failed');
    const failing = test.database.withOrg(org, async (tx) => {
      await tx.insertInto('lanes').values({ org_id: org, lane: 7, open_batch: null }).execute();
      throw new Error('on purpose');
    });
    await expect(failing).rejects.toThrow('on purpose');
    expect(await test.database.withOrg(org, (tx) => tx.selectFrom('lanes').select('lane').execute())).toEqual([]);
    expect(await test.database.app.selectFrom('organisations').select('org_id').execute()).toEqual([]);
    await expect(test.database.withOrg("x'; drop table lanes; --", () => Promise.resolve())).rejects.toThrow('not a UUID');
  });

  it('is whole again after its connections were cut', async () => {
    const org = await test.organisation('cut');
    const cut = test.database.withOrg(org, async (tx) => {
      await sql`select pg_terminate_backend(pg_backend_pid())`.execute(tx);
    });
    await expect(cut).rejects.toThrow(/terminat/);
    expect(await test.database.withOrg(org, (tx) => tx.selectFrom('organisations').select('org_id').execute())).toEqual([{ org_id: org }]);
  });

  it('sends a statement with the begin and the end of its transaction, which are as strict', async () => {
    const [org, other] = [await test.organisation('flight'), await test.organisation('elsewhere')];
    const lane = (of: string, number: number) => test.database.oneFlight<{ lane: number }>(org, { text: 'insert into lanes (org_id, lane) values ($1, $2) returning lane', values: [of, number] });
    await expect(lane(org, 1)).resolves.toEqual([{ lane: 1 }]);
    const flights = await Promise.allSettled([lane(other, 2), lane(org, 1), ...[3, 4, 5, 6].map((number) => lane(org, number))]);
    expect(flights.map((flight) => (flight.status === 'fulfilled' ? flight.value : String(flight.reason)))).toEqual([
      expect.stringMatching(/row-level security/), expect.stringMatching(/duplicate key/), ...[3, 4, 5, 6].map((number) => [{ lane: number }]),
    ]);
    await expect(test.database.oneFlight(org, { text: 'select pg_terminate_backend(pg_backend_pid())' })).rejects.toThrow(/terminat/);
    await expect(test.database.oneFlight(org, { text: 'select pg_sleep(9)' }, { statementMs: 50 })).rejects.toThrow(/statement timeout/);
    expect(await test.database.oneFlight(org, { text: 'select org_id, lane from lanes order by lane' })).toEqual([1, 3, 4, 5, 6].map((number) => ({ org_id: org, lane: number })));
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
