import type pg from 'pg';
import { describe, expect, it } from 'vitest';
import { HeldPeople } from '../../activities/retention/held-people.ts';
import { countExpired, sweep, type Sweep } from '../../activities/retention/sweep.ts';
import { readCatalog } from '../../activities/privacy/postgres-catalog.ts';
import type { LegalHold } from '../../database/legal-holds.ts';
import { KeyRing } from '../../platform/keys/key-ring.ts';
import { readAnnotations } from '../../platform/privacy/annotation-file.ts';
import { makeDataMap } from '../../platform/privacy/data-map.ts';
import { subjectHashes } from '../../platform/privacy/identities.ts';
import { planRetention } from '../../platform/privacy/retention-plan.ts';
import { withSchema } from './schema-database.ts';

const ORG = '0190d1c3-0000-7000-8000-000000000001';
const NOW = new Date('2026-06-01T00:00:00Z');
const keys = new KeyRing([{ id: 't', key: Buffer.alloc(32, 7) }]);

/** What a dry run counts, and what the real one then deletes and drops. */
async function run(client: pg.Client, annotations: string, holds: readonly LegalHold[] = []) {
  const map = makeDataMap(await readCatalog(client), readAnnotations(annotations));
  const plan = planRetention(map, 'shop', holds, NOW);
  const people = new HeldPeople({ client, map, source: 'shop', orgId: ORG, keys, holds: () => Promise.resolve(holds) });
  const held = () => people.rows();
  const counts = await countExpired({ client, map, tables: plan.tables, held });
  const deleted: Record<string, number> = {};
  const dropped: string[] = [];
  for (const expiring of plan.tables) {
    const count: Sweep['count'] = (rows, partition) => {
      deleted[expiring.table.id] = (deleted[expiring.table.id] ?? 0) + rows;
      if (partition !== undefined) dropped.push(partition);
    };
    await sweep({ client, map, tables: plan.tables, held, share: 1, signal: new AbortController().signal, count }, expiring);
  }
  const due = Object.fromEntries([...counts].filter(([, { due: rows }]) => rows > 0).map(([table, { due: rows }]) => [table, rows]));
  return { counts, due, deleted, dropped, order: plan.tables.map(({ table }) => table.id), kept: plan.kept.map(({ table, why }) => `${table}: ${why}`) };
}

const hold = (draft: Partial<LegalHold>): LegalHold => ({ id: 'h', subjects: null, source: null, table: null, reason: 'case 7', until: null, createdAt: NOW, createdBy: 'x', releasedAt: null, restrictionId: null, ...draft });
const all = async (client: pg.Client, sql: string): Promise<unknown[]> => (await client.query<{ v: unknown }>(sql)).rows.map(({ v }) => v);

describe('retention', () => {
  it('deletes what has expired and no more, as many rows as the dry run counted', async () => {
    const annotations = 'source: shop\ntables:\n  visit: {retention: {keep: P1Y, since: at}, columns: {id: {category: system}, at: {category: system}, mail: {category: user.contact.email, identity: email}}}\n  seen: {retention: {keep: P30D, since: day}, columns: {day: {category: system}, mail: {category: user.contact.email, identity: email}}}\n';
    await withSchema(
      `create table visit (id int primary key, at timestamptz, mail text); create table seen (day date, mail text);
       insert into visit select n, timestamptz '2026-06-01Z' - make_interval(days => n), 'm' || n from generate_series(0, 999) n; insert into visit values (5000, null, 'x'), (5001, '2025-06-01Z', 'exactly a year');
       insert into seen values ('2026-05-02', 'stays'), ('2026-05-01', 'goes'), ('2026-05-01', 'goes')`,
      async (client) => {
        const { due, deleted } = await run(client, annotations);
        expect(due).toEqual({ 'public.visit': 634, 'public.seen': 2 });
        expect(deleted).toEqual(due);
        expect(await all(client, 'select count(*)::int as v from visit where at < $$2025-06-01Z$$')).toEqual([0]);
        expect(await all(client, 'select count(*)::int as v from visit')).toEqual([368]);
        expect((await run(client, annotations)).due).toEqual({});
      },
    );
  });

  it('takes rows that point at others first, and keeps what rows that stay point at', async () => {
    const annotations = 'source: shop\ntables:\n  orders: {retention: {keep: P1Y, since: at}, columns: {id: {category: system}, at: {category: system}}}\n  line: {retention: {keep: P2Y, since: at}, columns: {order_id: {category: system}, at: {category: system}}}\n';
    await withSchema(
      `create table orders (id int primary key, at timestamptz); create table line (order_id int references orders, at timestamptz); create table refund (id int, order_id int references orders on delete cascade);
       insert into orders select n, '2023-01-01Z' from generate_series(1, 5) n; insert into line values (1, '2023-01-01Z'), (2, '2026-01-01Z'), (4, null); insert into refund values (1, 3)`,
      async (client) => {
        const { counts, due, deleted, order } = await run(client, annotations);
        expect(order).toEqual(['public.line', 'public.orders']);
        // 2 and 4 have lines that stay, 3 a refund that a cascade would take along.
        expect(due).toEqual({ 'public.line': 1, 'public.orders': 2 });
        expect(counts.get('public.orders')).toEqual({ due: 2, held: 0, referenced: 3 });
        expect(deleted).toEqual(due);
        expect(await all(client, 'select id as v from orders order by 1')).toEqual([2, 3, 4]);
      },
    );
  });

  it('takes chains and circles of rows of one table, but not above one that stays', async () => {
    const annotations = 'source: shop\ntables:\n  post: {retention: {keep: P1Y, since: at}, columns: {id: {category: system}, at: {category: system}, answers: {category: system}}}\n';
    await withSchema(
      `create table post (id int primary key, at timestamptz, answers int references post);
       insert into post values (1, '2020-01-01Z', null), (2, '2020-01-01Z', 1), (3, '2020-01-01Z', 2), (10, '2020-01-01Z', null), (11, '2020-01-01Z', 10), (12, '2026-05-01Z', 11), (20, '2020-01-01Z', null), (21, '2020-01-01Z', 20); update post set answers = 21 where id = 20`,
      async (client) => {
        const { due, deleted, counts } = await run(client, annotations);
        expect(due).toEqual({ 'public.post': 5 });
        expect(counts.get('public.post')).toMatchObject({ referenced: 2 });
        expect(deleted).toEqual(due);
        expect(await all(client, 'select id as v from post order by 1')).toEqual([10, 11, 12]);
      },
    );
  });

  it('drops partitions that have expired as a whole, and deletes from the others', async () => {
    const annotations = 'source: shop\ntables:\n  event: {retention: {keep: P1Y, since: at}, columns: {id: {category: system}, at: {category: system}, mail: {category: user.contact.email, identity: email}}}\n';
    const sql = `create table event (id int, at timestamptz not null, mail text) partition by range (at);
       create table event_2023 partition of event for values from ('2023-01-01Z') to ('2024-01-01Z') partition by list (id); create table event_2023_1 partition of event_2023 default;
       create table event_2024 partition of event for values from ('2024-01-01Z') to ('2025-01-01Z'); create table event_2025 partition of event for values from ('2025-01-01Z') to ('2026-01-01Z'); create table event_rest partition of event default;
       insert into event select n, timestamptz '2023-02-01Z' + make_interval(days => n), 'm' || n || '@example.com' from generate_series(0, 1100) n`;
    await withSchema(sql, async (client) => {
      const { due, deleted, dropped } = await run(client, annotations);
      expect(dropped).toEqual(['public.event_2023', 'public.event_2024']);
      expect(due).toEqual({ 'public.event': 851 });
      expect(deleted).toEqual(due);
      expect(await all(client, "select count(*)::int as v from event where at < '2025-06-01Z'")).toEqual([0]);
      expect(await all(client, 'select count(*)::int as v from event')).toEqual([250]);
    });
    // A view that reads a partition keeps it from being dropped, and its rows go one by one.
    await withSchema(`${sql}; create view of_2024 as select * from event_2024`, async (client) => {
      const { due, deleted, dropped } = await run(client, annotations);
      expect(dropped).toEqual(['public.event_2023']);
      expect(deleted).toEqual(due);
    });
    // So do rows of somebody under a hold.
    await withSchema(sql, async (client) => {
      const { due, deleted, dropped, counts } = await run(client, annotations, [hold({ subjects: subjectHashes(keys, ORG, { email: ['M3@example.com'] }) })]);
      expect(dropped).toEqual(['public.event_2024']);
      expect(counts.get('public.event')).toEqual({ due: 850, held: 1, referenced: 0 });
      expect(deleted).toEqual(due);
      expect(await all(client, "select mail as v from event where at < '2025-01-01Z'")).toEqual(['m3@example.com']);
    });
  });

  it('keeps rows of people under a hold along the references, and tables under one', async () => {
    const annotations = 'source: shop\ntables:\n  customer: {retention: {keep: P1Y, since: at}, columns: {id: {category: user.unique_id}, mail: {category: user.contact.email, identity: email}, at: {category: system}}}\n  orders: {retention: {keep: P1Y, since: at}, columns: {id: {category: system}, customer_id: {category: user.unique_id}, at: {category: system}}}\n  log: {retention: {keep: P1Y, since: at}, columns: {at: {category: system}}}\n';
    await withSchema(
      `create table customer (id int primary key, mail text, at date); create table orders (id int primary key, customer_id int references customer, at date); create table log (at date);
       insert into customer values (1, 'ada@example.com', '2020-01-01'), (2, 'bob@example.com', '2020-01-01'); insert into orders values (1, 1, '2020-01-01'), (2, 2, '2020-01-01'); insert into log values ('2020-01-01')`,
      async (client) => {
        const { due, deleted, counts, kept } = await run(client, annotations, [hold({ subjects: subjectHashes(keys, ORG, { email: ['ada@example.com'] }) }), hold({ id: 'h2', source: 'shop', table: 'log', reason: 'audit' })]);
        expect(kept).toEqual(['public.log: legal hold h2: audit']);
        expect(due).toEqual({ 'public.customer': 1, 'public.orders': 1 });
        expect(counts.get('public.orders')).toEqual({ due: 1, held: 1, referenced: 0 });
        expect(deleted).toEqual(due);
        expect(await all(client, 'select customer_id as v from orders')).toEqual([1]);
      },
    );
  });

  it('says of policies that cannot be carried out why', async () => {
    const annotations = 'source: shop\ntables:\n  a: {retention: {keep: P1Y, since: gone}, columns: {id: {category: system}}}\n  b: {retention: {keep: P1Y, since: id}, columns: {id: {category: system}}}\n  c: {retention: {keep: P1Y, since: at}, columns: {id: {category: system}}}\n  d: {retention: {keep: P1Y, since: at}, columns: {id: {category: system}}}\n';
    await withSchema('create table a (id int); create table b (id int); create table c (id int primary key, at date, d int); create table d (id int primary key, at date, c int references c); alter table c add foreign key (d) references d', async (client) => {
      const { kept, order } = await run(client, annotations);
      expect(order).toEqual([]);
      expect(kept).toEqual([
        'public.a: the policy counts from gone, and the table has no such column: it was renamed or dropped since',
        'public.b: the policy counts from id, which is integer and no time',
        expect.stringContaining('public.c: its rows and rows of other tables with a policy hold each other'),
        expect.stringContaining('public.d: its rows and rows of other tables with a policy hold each other'),
      ]);
    });
  });
});
