import { randomBytes } from 'node:crypto';
import type pg from 'pg';
import { afterAll, describe, expect, it } from 'vitest';
import { PostgresDataSource } from '../../activities/privacy/postgres-data-source.ts';
import { Egress } from '../../platform/connections/egress.ts';
import type { ChangedTable, SubjectInquiry } from '../../platform/privacy/data-source.ts';
import { withSchema } from './schema-database.ts';

const egress = new Egress({ allowPrivate: true });
afterAll(() => egress.close());

const inquiry: SubjectInquiry = { orgId: '0190d1c3-0000-7000-8000-000000000001', requestId: '0190d1c3-0000-7000-8000-000000000002', identities: { email: ['ada@example.com'] }, subjects: [], maskKey: randomBytes(32), holds: [], signal: new AbortController().signal };
const sourceAt = (url: string, annotations: string): PostgresDataSource => new PostgresDataSource({ id: 'x', name: 's', kind: 'postgres', address: `${url}?sslmode=disable`, annotations }, egress);
const all = async (client: pg.Client, sql: string): Promise<unknown[][]> => (await client.query<Record<string, unknown>>(sql)).rows.map((row) => Object.values(row));

/** Plans, erases, looks again; what was foretold must be what was done. */
async function forget(source: PostgresDataSource): Promise<Record<string, number>> {
  const plan = await source.plan(inquiry);
  expect(plan.refusals).toEqual([]);
  const changed: Record<string, number> = {};
  await source.erase(inquiry, (tables: readonly ChangedTable[]) => {
    for (const { table, changed: rows } of tables) if (rows > 0) changed[table] = (changed[table] ?? 0) + rows;
    return Promise.resolve();
  });
  expect(changed).toEqual(Object.fromEntries(plan.tables.filter(({ method, rows }) => method !== 'none' && rows > 0).map(({ table, rows }) => [table, rows])));
  expect((await source.rescan(inquiry)).filter(({ kept }) => kept === null)).toEqual([]);
  return changed;
}

describe('a hard schema', () => {
  it('with tables that lead to each other in a circle is erased along all of it', async () => {
    await withSchema(
      `create table customer (id int primary key, email text, main_address int); create table address (id int primary key, customer_id int references customer, street text); alter table customer add foreign key (main_address) references address;
       insert into customer values (1, 'ada@example.com', null), (2, 'bob@example.com', null); insert into address values (10, 1, 'Main'), (11, 1, 'Other'), (20, 2, 'Bobs'); update customer set main_address = id * 10`,
      async (client, url) => {
        const changed = await forget(sourceAt(url, 'source: s\ntables:\n  customer: {columns: {id: {category: user.unique_id}, email: {category: user.contact.email, identity: email}, main_address: {category: system, references: address.id, direction: both}}}\n  address: {columns: {id: {category: system}, customer_id: {category: user.unique_id}, street: {category: user.contact.address.street}}}\n'));
        expect(changed).toEqual({ 'public.customer': 1, 'public.address': 2 });
        expect(await all(client, 'select id, email from customer order by 1')).toEqual([[1, null], [2, 'bob@example.com']]);
        expect(await all(client, 'select id, street from address order by 1')).toEqual([[10, null], [11, null], [20, 'Bobs']]);
      },
    );
  });

  it('with composite keys is followed by whole keys, never by a part that others share', async () => {
    await withSchema(
      `create table account (tenant int, no int, email text, primary key (tenant, no)); create table booking (tenant int, no int, day date, what text, primary key (tenant, no, day), foreign key (tenant, no) references account);
       insert into account values (1, 1, 'ada@example.com'), (1, 2, 'bob@example.com'), (2, 1, 'eve@example.com'); insert into booking select tenant, no, '2026-01-01', 'by ' || email from account`,
      async (client, url) => {
        const changed = await forget(sourceAt(url, 'source: s\ntables:\n  account: {columns: {tenant: {category: system}, no: {category: user.unique_id}, email: {category: user.contact.email, identity: email}}}\n  booking: {columns: {tenant: {category: system}, no: {category: user.unique_id}, day: {category: system}, what: {category: user.behavior}}}\n'));
        expect(changed).toEqual({ 'public.account': 1, 'public.booking': 1 });
        expect(await all(client, 'select what from booking order by tenant, no')).toEqual([[null], ['by bob@example.com'], ['by eve@example.com']]);
      },
    );
  });

  it('with JSON in text keys, partitions, views and no key at all is erased row by row', async () => {
    await withSchema(
      `create table event (key text, at date, primary key (key, at)) partition by range (at); create table event_1 partition of event for values from ('2025-01-01') to ('2026-01-01'); create table event_2 partition of event for values from ('2026-01-01') to ('2027-01-01');
       create table visit (email text, page text); create view pages as select page from visit; create materialized view copies as select email, count(*) from visit group by 1;
       insert into event select '{"user": {"mail": "' || mail || '@example.com"}, "n": ' || n || '}', date '2025-06-01' + n * 300 from unnest(array['ada', 'bob']) mail, generate_series(0, 1) n; insert into event values ('no JSON', '2025-05-05');
       insert into visit values ('Ada@Example.com', '/a'), ('Ada@Example.com', '/a'), ('bob@example.com', '/b'); refresh materialized view copies`,
      async (client, url) => {
        const changed = await forget(sourceAt(url, 'source: s\ntables:\n  event: {columns: {key: {category: user}, key.user.mail: {category: user.contact.email, identity: email}, at: {category: system}}}\n  visit: {columns: {email: {category: user.contact.email, identity: email}, page: {category: user.behavior}}}\n'));
        expect(changed).toEqual({ 'public.event': 2, 'public.visit': 2 });
        expect(await all(client, 'select count(*)::int from event')).toEqual([[3]]);
        expect(await all(client, 'select email from copies order by 1')).toEqual([['bob@example.com'], [null]]);
        expect(await all(client, 'select page from pages order by 1')).toEqual([['/b'], [null], [null]]);
      },
    );
  });

  it('that changed since is refused with the reason before anything is destroyed, also between plan and erasure', async () => {
    const annotations = 'source: s\ntables:\n  customer: {columns: {id: {category: user.unique_id}, email: {category: user.contact.email, identity: email}, name: {category: user.name}}}\n  orders: {columns: {id: {category: system}, customer_id: {category: user.unique_id}, note: {category: user.content}}}\n';
    const sql = `create table customer (id int primary key, email text, name text); create table orders (id int primary key, customer_id int references customer, note text); insert into customer values (1, 'ada@example.com', 'Ada'); insert into orders values (1, 1, 'N')`;
    const untouched = [['ada@example.com', 'N']];
    for (const [change, reason] of [
      ['alter table customer rename name to full_name', 'public.customer name: s annotates it, and the table has no such column'],
      ['alter table orders rename to purchases', 'orders: s annotates it, and the database has no such table'],
    ] as const) {
      await withSchema(sql, async (client, url) => {
        const source = sourceAt(url, annotations);
        expect((await source.plan(inquiry)).refusals).toEqual([]);
        await client.query(change);
        expect((await source.plan(inquiry)).refusals.join()).toContain(reason);
        await expect(source.erase(inquiry, () => Promise.resolve())).rejects.toThrow(reason);
        expect(await all(client, `select c.email, o.note from customer c, ${change.includes('purchases') ? 'purchases' : 'orders'} o`)).toEqual(untouched);
      });
    }
    // A lock that lasts longer than one waits for is no loss either.
    await withSchema(sql, async (client, url) => {
      await client.query('begin; lock table orders in access exclusive mode');
      const erased = sourceAt(url, annotations).erase(inquiry, () => Promise.resolve());
      erased.catch(() => undefined); // awaited below
      await expect.poll(async () => all(client, "select count(*)::int from pg_locks where not granted and relation = 'orders'::regclass")).toEqual([[1]]);
      await client.query('alter table orders drop column note; commit');
      await expect(erased).rejects.toThrow('SQLSTATE 42703');
      expect(await all(client, 'select email, name from customer')).toEqual([['ada@example.com', 'Ada']]);
    });
  });
});
