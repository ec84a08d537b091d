import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type pg from 'pg';
import { describe, expect, it } from 'vitest';
import { readCatalog } from '../../activities/privacy/postgres-catalog.ts';
import { eraseStep, rehearse, type TableOutcome } from '../../activities/privacy/postgres-erasure.ts';
import { findRows } from '../../activities/privacy/postgres-rows.ts';
import { scanFor } from '../../activities/privacy/postgres-scan.ts';
import type { Remainder } from '../../platform/privacy/data-source.ts';
import { readAnnotations } from '../../platform/privacy/annotation-file.ts';
import { makeDataMap, reportOf } from '../../platform/privacy/data-map.ts';
import type { Identities } from '../../platform/privacy/identities.ts';
import { withSchema } from './schema-database.ts';

const data = process.env['HAL9_TEST_DATA'];
const sample = data === undefined ? undefined : join(data, 'privacy');
const present = sample !== undefined && existsSync(sample);
if (!present) console.log('NOT RUN: erasure in a published schema; set HAL9_TEST_DATA to the folder that holds privacy/');
const context = { key: Buffer.alloc(32, 1) };

async function mapOf(client: pg.Client, annotations: string) {
  const catalog = await readCatalog(client);
  return { catalog, map: makeDataMap(catalog, readAnnotations(annotations)) };
}

/** Rehearsal, all steps, and the scan; the rehearsal must foretell what is done. */
async function erase(client: pg.Client, annotations: string, identities: Identities): Promise<{ outcomes: TableOutcome[]; left: Remainder[] }> {
  const { catalog, map } = await mapOf(client, annotations);
  expect(reportOf(map).refused).toEqual([]);
  const foretold = await rehearse(client, map, identities, context);
  const outcomes: TableOutcome[] = [];
  for (const step of map.order) outcomes.push(...(await eraseStep(client, map, step, identities, context, 'test')));
  expect(outcomes).toEqual(foretold);
  return { outcomes, left: await scanFor(client, catalog, map, identities) };
}

const changed = (outcomes: readonly TableOutcome[]): Record<string, number> => Object.fromEntries(outcomes.filter((outcome) => outcome.changed > 0).map((outcome) => [outcome.table, outcome.changed]));
const all = async (client: pg.Client, sql: string): Promise<unknown[]> => (await client.query<Record<string, unknown>>({ text: sql })).rows.map((row) => Object.values(row));

describe('erasure in a database', () => {
  it('reaches every row of a person along references, masks what it may, and touches nobody else', async () => {
    const annotations = 'source: s\ntables:\n  customer: {columns: {id: {category: user.unique_id}, email: {category: user.contact.email, identity: email, masking: hmac}, name: {category: user.name}, parent: {references: customer.id, direction: from, category: system}}}\n  note: {columns: {id: {category: system}, customer_id: {category: user.unique_id}, doc: {category: system}, doc.contact.mail: {category: user.contact.email}, born: {category: user.demographic, masking: {strategy: generalise, unit: year}}}}\n  event: {columns: {id: {category: system}, at: {category: system}, note_id: {category: system}, ip: {category: user.device.ip_address}}}\n';
    const sql = `create table customer (id int primary key, email text not null unique, name text, parent int references customer);
      create table note (id int primary key, customer_id int references customer, doc jsonb, born date);
      create table event (id int, at date, note_id int references note, ip inet, primary key (id, at)) partition by range (at);
      create table event_1 partition of event for values from ('2025-01-01') to ('2026-01-01'); create table event_2 partition of event for values from ('2026-01-01') to ('2027-01-01');
      insert into customer values (1, 'A@example.com', 'A', null), (2, 'b@example.com', 'B', null), (3, 'a2@example.com', 'A too', 1), (4, 'a3@example.com', 'A three', 3);
      insert into note values (1, 1, '{"contact": {"mail": "a@example.com"}, "n": 1}', '1980-05-05'), (2, 2, '{"contact": {"mail": "b@example.com"}}', '1990-09-09'), (3, 4, null, null);
      insert into event values (1, '2025-05-05', 1, '10.0.0.1'), (2, '2026-05-05', 1, '10.0.0.1'), (3, '2026-05-05', 2, '10.0.0.2')`;
    await withSchema(sql, async (client) => {
      const others = `select * from customer where id = 2 union all select id, doc::text, born::text, 0 from note where id = 2 union all select id, at::text, ip::text, 0 from event where id = 3`;
      const before = await all(client, others);
      const { outcomes, left } = await erase(client, annotations, { email: ['a@example.com'] });
      expect(changed(outcomes)).toEqual({ 'public.customer': 3, 'public.note': 2, 'public.event': 2 });
      expect(left).toEqual([]);
      expect(await all(client, others)).toEqual(before);
      expect(await all(client, 'select doc, born::text, customer_id from note where id = 1')).toEqual([[{ contact: { mail: null }, n: 1 }, '1980-01-01', null]]);
      expect(await all(client, 'select count(*)::int from event where ip is not null')).toEqual([[1]]);
      // Nobody is found any more: a repetition changes nothing.
      expect(changed((await erase(client, annotations, { email: ['a@example.com'] })).outcomes)).toEqual({});
    });
  });

  it('goes on where it was cut off, whatever step it was', async () => {
    const annotations = 'source: s\ntables:\n  c: {columns: {id: {category: user.unique_id}, email: {category: user.contact.email, identity: email}, address_id: {references: a.id, direction: to, category: system}}}\n  a: {columns: {id: {category: system}, street: {category: user.contact.address.street}}}\n  o: {columns: {id: {category: system}, c_id: {category: user.unique_id}, note: {category: user.content}}}\n';
    const sql = `create table a (id int primary key, street text); create table c (id int primary key, email text, address_id int references a); create table o (id int primary key, c_id int references c, note text);
      insert into a values (1, 'S'); insert into c values (1, 'a@example.com', 1); insert into o values (1, 1, 'N')`;
    for (const done of [0, 1, 2]) {
      await withSchema(sql, async (client) => {
        const { map } = await mapOf(client, annotations);
        for (const step of map.order.slice(0, done)) await eraseStep(client, map, step, { email: ['a@example.com'] }, context, 'x');
        await erase(client, annotations, { email: ['a@example.com'] });
        expect(await all(client, 'select street, email, note from a, c, o')).toEqual([[null, null, null]]);
      });
    }
  });

  it('deletes rows that hold each other, and keys with people in them, also inside JSON', async () => {
    const annotations = 'source: s\ntables:\n  person: {columns: {email: {category: user.contact.email, identity: email}, team: {category: system}}}\n  team: {columns: {id: {category: system}, lead: {category: user.unique_id}}}\n  seen: {columns: {key: {category: user.contact.email}, key.mail: {category: user.contact.email, identity: email}, at: {category: system}}}\n  bare: {columns: {mail: {category: user.contact.email, identity: email}, n: {category: system}}, erase: delete}\n';
    const sql = `create table person (email text primary key, team int not null); create table team (id int primary key, lead text not null references person deferrable initially deferred);
      begin; insert into team values (1, 'a@example.com'), (2, 'b@example.com'); insert into person values ('a@example.com', 1), ('b@example.com', 2); commit;
      alter table person add foreign key (team) references team;
      create table seen (key text primary key, at int); insert into seen values ('{"mail": "a@example.com"}', 1), ('{"mail": "b@example.com"}', 2), ('plain', 3);
      create table bare (mail text, n int); insert into bare values ('a@example.com', 1), ('a@example.com', 1), ('b@example.com', 1);`;
    await withSchema(sql, async (client) => {
      const { outcomes, left } = await erase(client, annotations, { email: ['a@example.com'] });
      expect(changed(outcomes)).toEqual({ 'public.person': 1, 'public.team': 1, 'public.seen': 1, 'public.bare': 2 });
      expect(left).toEqual([]);
      expect(await all(client, 'select email from person')).toEqual([['b@example.com']]);
      expect(await all(client, 'select key from seen order by at')).toEqual([['{"mail": "b@example.com"}'], ['plain']]);
    });
  });

  it('keeps a row that rows of others point at, and says so', async () => {
    const annotations = 'source: s\ntables:\n  c: {columns: {id: {category: user.unique_id}, email: {category: user.contact.email, identity: email}, address_id: {references: a.id, direction: to, category: system}}}\n  a: {columns: {id: {category: system}, street: {category: user.contact.address.street}}}\n';
    await withSchema(`create table a (id int primary key, street text); create table c (id int primary key, email text, address_id int); insert into a values (1, 'shared'), (2, 'own'); insert into c values (1, 'a@example.com', 1), (2, 'b@example.com', 1), (3, 'a@example.com', 2)`, async (client) => {
      const { outcomes } = await erase(client, annotations, { email: ['a@example.com'] });
      expect(outcomes.find(({ table }) => table === 'public.a')).toMatchObject({ found: 1, changed: 1, shared: 1 });
      expect(await all(client, 'select street from a order by id')).toEqual([['shared'], [null]]);
    });
  });

  it('refuses before anything is destroyed what a constraint, a trigger or a cascade would not stand', async () => {
    const person = 'source: s\ntables:\n  person: {columns: {id: {category: user.unique_id}, email: {category: user.contact.email, identity: email, masking: {strategy: constant, value: gone}}}}\n  z: {columns: {id: {category: system}, person_id: {category: user.unique_id}, note: {category: user.content}}}\n';
    const table = `create table person (id int primary key, email text EXTRA); create table z (id int primary key, person_id int references person, note text); insert into person values (1, 'a@example.com'); insert into z values (1, 1, 'N');`;
    for (const [extra, after, reason] of [
      ["check (email like '%@%')", '', 'a constraint refuses the erasure: public.person, person_email_check: SQLSTATE 23514'],
      ['', `create function no() returns trigger language plpgsql as $$ begin raise exception 'secret a@example.com'; end $$; create trigger no before update on person for each row execute function no();`, 'a trigger refuses the erasure: SQLSTATE P0001'],
    ] as const) {
      await withSchema(table.replace('EXTRA', extra) + after, async (client) => {
        const { map } = await mapOf(client, person);
        await expect(rehearse(client, map, { email: ['a@example.com'] }, context)).rejects.toThrow(reason);
        expect(await all(client, 'select email, note from person, z')).toEqual([['a@example.com', 'N']]);
      });
    }
    const cascade = 'source: s\ntables:\n  p: {columns: {email: {category: user.contact.email, identity: email}}}\n  q: {columns: {id: {category: user.unique_id}, who: {category: system}, mail: {category: user.contact.email, identity: email}}}\n';
    await withSchema(`create table p (email text primary key); create table q (id int primary key, who text references p on delete cascade, mail text); insert into p values ('a@example.com'); insert into q values (1, 'a@example.com', 'b@example.com')`, async (client) => {
      const { map } = await mapOf(client, cascade);
      await expect(rehearse(client, map, { email: ['a@example.com'] }, context)).rejects.toThrow('1 rows of public.q that are not the person\'s would be deleted with rows of public.p');
    });
  });

  it('finds an identity where nobody annotated anything, and knows what was allowed to stay', async () => {
    const annotations = 'source: s\ntables:\n  c: {columns: {id: {category: user.unique_id}, email: {category: user.contact.email, identity: email}}}\n  ledger: {erase: keep, keepBecause: ten years by tax law, columns: {id: {category: system}, payer: {category: user.contact.email, identity: email}}}\n';
    await withSchema(`create table c (id int primary key, email text); create table ledger (id int primary key, payer text); create table log (line text, doc jsonb, raw bytea, words tsvector); insert into c values (1, 'a@example.com'); insert into ledger values (1, 'a@example.com');
      insert into log values ('from <A@EXAMPLE.COM>', null, null, null), ('ok', '{"x": ["a@example.com"]}', 'x a@example.com y'::bytea, to_tsvector('mail a@example.com'))`, async (client) => {
      const { left } = await erase(client, annotations, { email: ['a@example.com'] });
      expect(left).toEqual([
        { table: 'public.ledger', column: 'payer', rows: 1, kept: 'ten years by tax law' },
        ...['line', 'doc', 'raw', 'words'].map((column) => ({ table: 'public.log', column, rows: 1, kept: null })),
      ]);
    });
  });

  it.skipIf(!present)('finds in the published schema the rows its description names', async () => {
    const sql = await readFile(join(sample ?? '', 'postgres_sample.sql'), 'utf8');
    const annotations = await readFile(join(sample ?? '', 'postgres_example_test_dataset.yml'), 'utf8');
    await withSchema(sql, async (client) => {
      const { map } = await mapOf(client, annotations);
      await client.query('begin transaction isolation level repeatable read');
      const found = async (email: string): Promise<Record<string, number>> => {
        const { rows, shared } = await findRows(client, map, { email: [email] });
        return Object.fromEntries([...map.traversal.reached].map(({ table }) => [table.replace('public.', ''), (rows.get(table)?.size ?? 0) + (shared.get(table) ?? 0)]));
      };
      expect(await found('customer-1@example.com')).toMatchObject({ customer: 1, payment_card: 1, orders: 3, login: 6, visit: 1, service_request: 1, employee: 0 });
      expect(await found('jane@example.com')).toMatchObject({ customer: 1, orders: 1, login: 1, order_item: 0, visit: 0 });
      expect(await found('customer-3@example.com')).toMatchObject({ customer: 0, service_request: 2, orders: 0 });
      await client.query('rollback');
      const { outcomes, left } = await erase(client, annotations, { email: ['jane@example.com'] });
      expect(changed(outcomes)).toEqual({ 'public.customer': 1, 'public.login': 1, 'public.orders': 1, 'public.payment_card': 1, 'public.address': 1 });
      expect(left).toEqual([]);
      expect(await all(client, `select email, name from customer where id = 3 union all select ccn::text, name from payment_card where id = 'pay_ccc-ccc'`)).toEqual([[null, null], [null, null]]);
    });
  });
});
