import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type pg from 'pg';

/** One person of a bench: every value of theirs that says who they are holds one of the canaries. */
export interface Subject {
  readonly n: number;
  readonly email: string;
  /** Lower case; occur nowhere else. */
  readonly canaries: readonly string[];
}

/** Rows that belong to one person, by table, as their erasure counts them. */
export const ROWS: Readonly<Record<string, number>> = { 'public.customer': 1, 'public.address': 2, 'public.payment_card': 1, 'public.login': 3, 'public.orders': 2, 'public.visit': 1, 'public.service_request': 1, 'public.report': 1 };

/** The first of a schema's own ids stays below. */
const FIRST = 1_000;

export function subjectOf(n: number): Subject {
  const token = createHash('sha256').update(`subject ${n}`).digest('hex').slice(0, 14);
  return { n, email: `canary${token}@example.com`, canaries: [`canary${token}`, cardOf(n)] };
}

function cardOf(n: number): string {
  return `77${String(100_000_000_000 + n * 7_919)}`;
}

/** The tables and their annotations: of the published schema where its files are (HAL9_TEST_DATA), else of one like it. */
export async function shopSchema(): Promise<{ sql: string; annotations: string; tables: number }> {
  const data = process.env['HAL9_TEST_DATA'];
  if (data !== undefined) {
    const sql = await readFile(join(data, 'privacy', 'postgres_sample.sql'), 'utf8');
    const annotations = await readFile(join(data, 'privacy', 'postgres_example_test_dataset.yml'), 'utf8');
    // The published one says that the e-mail address of a request is nobody's, which keeps it.
    const fields = annotations.split('      - name: service_request');
    return { sql, annotations: [fields[0], (fields[1] ?? '').replace('- name: email\n            data_categories: [system.operations]', '- name: email\n            data_categories: [user.contact.email]')].join('      - name: service_request'), tables: 15 };
  }
  return { sql: OWN_TABLES, annotations: OWN_ANNOTATIONS, tables: 10 };
}

/** So many people beside whoever is there. */
export async function fillSubjects(client: pg.Client, count: number): Promise<void> {
  for (let from = 0; from < count; from += 1_000) {
    const some = Array.from({ length: Math.min(1_000, count - from) }, (_, n) => subjectOf(from + n));
    const [ids, words, cards] = [some.map(({ n }) => FIRST + n), some.map(({ canaries }) => canaries[0]), some.map(({ n }) => cardOf(n))];
    const each = (statement: string): Promise<unknown> => client.query(statement.replace('OF', 'from unnest($1::int[], $2::text[], $3::bigint[]) s (id, word, card)'), [ids, words, cards]);
    // Both parameters are used in each.
    const all = 'where word is not null and card is not null';
    await each(`insert into address (id, house, street, city, state, zip) select id * 2 + half, id % 200, word || ' street', 'Town of ' || word, 'NY', '1' || word OF, generate_series(0, 1) half ${all}`);
    await each(`insert into customer (id, email, name, created, address_id) select id, word || '@example.com', 'Name ' || word, '2024-01-01', id * 2 OF ${all}`);
    await each(`insert into payment_card (id, name, ccn, code, preferred, customer_id, billing_address_id) select 'pay_' || id, 'Card of ' || word, card, id % 900, true, id, id * 2 + 1 OF ${all}`);
    await each(`insert into orders (id, customer_id, shipping_address_id, payment_card_id) select 'ord_' || id || '_' || half, id, id * 2 + half, 'pay_' || id OF, generate_series(0, 1) half ${all}`);
    await each(`insert into order_item (order_id, item_no, product_id, quantity) select 'ord_' || id || '_' || half, 1, 1 + id % 6, 1 OF, generate_series(0, 1) half ${all}`);
    await each(`insert into login (id, customer_id, time) select id * 3 + place, id, timestamp '2024-01-01' + make_interval(mins => id + place) OF, generate_series(0, 2) place ${all}`);
    await each(`insert into visit (email, last_visit) select word || '@example.com', '2024-02-02' OF ${all}`);
    await each(`insert into service_request (id, email, alt_email, opened, closed, employee_id) select 'ser_' || id, word || '@example.com', 'alt.' || word || '@example.com', '2024-03-03', null, 1 OF ${all}`);
    await each(`insert into report (id, email, name, year, month, total_visits) select id, word || '@example.com', 'monthly', 2024, 3, 7 OF ${all}`);
  }
}

/** Which rows are of none of these people, by table; the rest of the schema is nobody's. */
export function othersOf(subjects: readonly Subject[]): Readonly<Record<string, string>> {
  const ids = `array[${subjects.map(({ n }) => FIRST + n).join(', ')}]::int[]`;
  const mails = `array[${subjects.map(({ email }) => `'${email}'`).join(', ')}]::text[]`;
  const not = (id: string): string => `(${id} <> all (${ids})) is not false`;
  // References are emptied with the rest, so rows are told apart by their own ids.
  const within = (prefix: string): string => `nullif(regexp_replace(id, '^${prefix}_(\\d+)(_.*)?$|.*', '\\1'), '')::int`;
  return {
    customer: not('id'),
    address: not('id / 2'),
    payment_card: not(within('pay')),
    orders: not(within('ord')),
    login: not('id / 3'),
    visit: `(email <> all (${mails})) is not false`,
    service_request: not(within('ser')),
    report: not('id'),
  };
}

const OWN_TABLES = `create table product (id int primary key, name text); insert into product select n, 'cookie ' || n from generate_series(1, 6) n;
create table address (id int primary key, house int, street varchar(100), city varchar(100), state varchar(100), zip varchar(100));
create table customer (id int primary key, email varchar(100), name varchar(100), created timestamp, address_id bigint);
create table payment_card (id varchar(100) primary key, name varchar(100), ccn bigint, code smallint, preferred boolean, customer_id int, billing_address_id bigint);
create table orders (id varchar(100) primary key, customer_id int, shipping_address_id bigint, payment_card_id varchar(100));
create table order_item (order_id varchar(100), item_no smallint, product_id int, quantity smallint, primary key (order_id, item_no));
create table visit (email varchar(100), last_visit timestamp, primary key (email, last_visit));
create table login (id int primary key, customer_id int, time timestamp);
create table service_request (id varchar(100) primary key, email varchar(100), alt_email varchar(100), opened date, closed date, employee_id int);
create table report (id int primary key, email varchar(100), name varchar(100), year int, month int, total_visits int);
`;

const OWN_ANNOTATIONS = `source: shop
tables:
  address: {columns: {id: {category: system}, house: {category: user.contact.address.street}, street: {category: user.contact.address.street}, city: {category: user.contact.address.city}, state: {category: user.contact.address.state}, zip: {category: user.contact.address.postal_code}}}
  customer: {columns: {id: {category: user.unique_id}, email: {category: user.contact.email, identity: email}, name: {category: user.name}, created: {category: system}, address_id: {category: system, references: address.id, direction: to}}}
  payment_card: {columns: {id: {category: system}, name: {category: user.financial}, ccn: {category: user.financial.bank_account}, code: {category: user.financial}, preferred: {category: user}, customer_id: {category: user.unique_id, references: customer.id, direction: from}, billing_address_id: {category: system, references: address.id, direction: to}}}
  orders: {columns: {id: {category: system}, customer_id: {category: user.unique_id, references: customer.id, direction: from}, shipping_address_id: {category: system, references: address.id, direction: to}, payment_card_id: {category: system}}}
  order_item: {columns: {order_id: {category: system, references: orders.id, direction: from}, item_no: {category: system}, product_id: {category: system}, quantity: {category: system}}}
  product: {columns: {id: {category: system}, name: {category: system}}}
  visit: {columns: {email: {category: user.contact.email, identity: email}, last_visit: {category: system}}}
  login: {columns: {id: {category: system}, customer_id: {category: user.unique_id, references: customer.id, direction: from}, time: {category: user.sensor}}}
  service_request: {columns: {id: {category: system}, email: {category: user.contact.email, identity: email}, alt_email: {category: user.contact.email, identity: email}, opened: {category: system}, closed: {category: system}, employee_id: {category: system}}}
  report: {columns: {id: {category: system}, email: {category: user.contact.email, identity: email}, name: {category: system}, year: {category: system}, month: {category: system}, total_visits: {category: system}}}
`;
