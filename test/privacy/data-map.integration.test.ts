import { describe, expect, it } from 'vitest';
import type { DataMapReport } from '../../platform/privacy/data-map.ts';
import { mapOf } from './schema-database.ts';

/** Code, table and column of what was found, by severity. */
const found = (report: DataMapReport, code: string): string[] => report.findings.filter((finding) => finding.code === code).map(({ severity, table, column }) => [severity, table, column].filter((part) => part !== null).join(' '));
const treatment = (report: DataMapReport, table: string) => report.erasure.flatMap(({ tables }) => tables).find((one) => one.table === table);
const place = (report: DataMapReport, table: string): number => {
  const at = report.erasureOrder.indexOf(table);
  if (at < 0) throw new Error(`${table} is not in the order`);
  return at;
};

const CUSTOMER = 'create table customer (id int primary key, email text not null, name text);';
const ANNOTATED = 'source: shop\ntables:\n  customer: {columns: {id: {category: user.unique_id}, email: {category: user.contact.email, identity: email}, name: {category: user.name}}}\n';

describe('a data map', () => {
  it('passes from identities to rows, and erases what was found before what it was found through', async () => {
    const report = await mapOf(
      `${CUSTOMER} create table orders (id int primary key, customer_id int not null references customer, note text); create table item (order_id int references orders, line int, what text, primary key (order_id, line));`,
      `${ANNOTATED}  orders: {columns: {id: {category: system.operations}, customer_id: {category: user.unique_id}, note: {category: user.content}}}\n  item: {columns: {order_id: {category: system}, line: {category: system}, what: {category: user.behavior}}}\n`,
    );
    expect(report.ok).toBe(true);
    expect(report.traversal.map(({ step, table }) => [step, table])).toEqual([[1, 'public.customer'], [2, 'public.orders'], [3, 'public.item']]);
    expect(report.erasureOrder).toEqual(['public.item', 'public.orders', 'public.customer']);
    expect(treatment(report, 'public.customer')).toMatchObject({ method: 'mask', mask: [{ column: 'email', masking: { strategy: 'constant', value: 'erased' } }, { column: 'name', masking: { strategy: 'null' } }], keep: [{ column: 'id' }] });
    // The reference may not be null, and the row it names holds nothing personal any more.
    expect(treatment(report, 'public.orders')).toMatchObject({ method: 'mask', mask: [{ column: 'note' }], keep: [{ column: 'customer_id' }] });
  });

  it('erases tables whose rows are found through each other together', async () => {
    const report = await mapOf(
      `${CUSTOMER} create table address (id int primary key, customer_id int references customer, street text); alter table customer add column main_address int references address;`,
      `${ANNOTATED.replace('name: {', 'main_address: {references: address.id, direction: both, category: system}, name: {')}  address: {columns: {id: {category: system}, customer_id: {category: user.unique_id}, street: {category: user.contact.address.street}}}\n`,
    );
    expect(report.ok).toBe(true);
    expect(report.cycles).toEqual([['public.address', 'public.customer']]);
    expect(report.erasure).toMatchObject([{ step: 1, together: 'their rows are found through each other' }]);
    expect(report.erasureOrder).toEqual(['public.address', 'public.customer']);
  });

  it('deletes rows that hold each other in one transaction, children of a delete first', async () => {
    const report = await mapOf(
      `create table person (email text primary key, team int); create table team (id int primary key, lead text not null references person); alter table person add foreign key (team) references team; create table visit (id int primary key, who text not null references person, at timestamptz);`,
      `source: s\ntables:\n  person: {columns: {email: {category: user.contact.email, identity: email}, team: {category: system}}}\n  team: {columns: {id: {category: system}, lead: {category: user.unique_id}}}\n  visit: {columns: {id: {category: system}, who: {category: user.contact.email}, at: {category: user.behavior}}}\n`,
    );
    expect(report.ok).toBe(true);
    for (const table of ['public.person', 'public.team', 'public.visit']) expect(treatment(report, table)?.method).toBe('delete');
    expect(place(report, 'public.visit')).toBeLessThan(place(report, 'public.person'));
    expect(report.erasure.find(({ tables }) => tables.some(({ table }) => table === 'public.team'))).toMatchObject({ together: 'their rows hold each other' });
    expect(found(report, 'personal-key')).toEqual(['note public.person email']);
  });

  it('follows a reference within a table only where people say so', async () => {
    const sql = `create table customer (id int primary key, email text, name text, invited_by int references customer);`;
    const bare = await mapOf(sql, ANNOTATED);
    expect(found(bare, 'self-reference')).toEqual(['note public.customer invited_by']);
    expect(bare.cycles).toEqual([]);
    const said = await mapOf(sql, ANNOTATED.replace('name: {', 'invited_by: {references: customer.id, direction: from, category: system}, name: {'));
    expect(said.cycles).toEqual([['public.customer']]);
    expect(said.erasureOrder).toEqual(['public.customer']);
    expect(said.traversal).toMatchObject([{ from: [{ table: 'public.customer', on: 'public.customer.id = public.customer.invited_by', by: 'both' }] }]);
  });

  it('makes one way of the columns of a composite key, and completes a part of one', async () => {
    const sql = `create table account (tenant int, no int, email text, primary key (tenant, no)); create table booking (id int primary key, tenant int, account_no int, what text, foreign key (tenant, account_no) references account);`;
    const account = '- name: account\n        fields:\n          - {name: tenant, data_categories: [system]}\n          - {name: no, data_categories: [user.unique_id]}\n          - {name: email, data_categories: [user.contact.email], fides_meta: {identity: email}}\n';
    const booking = (tenant: string): string => `      - name: booking\n        fields:\n          - {name: id, data_categories: [system]}\n          - {name: tenant, data_categories: [system]${tenant}}\n          - {name: account_no, data_categories: [user.unique_id], fides_meta: {references: [{dataset: d, field: account.no, direction: from}]}}\n          - {name: what, data_categories: [user.behavior]}\n`;
    const fides = (tenant: string): string => `dataset:\n  - fides_key: d\n    collections:\n      ${account}${booking(tenant)}`;
    const whole = await mapOf(sql, fides(', fides_meta: {references: [{dataset: d, field: account.tenant, direction: from}]}'));
    const on = 'public.account.tenant = public.booking.tenant and public.account.no = public.booking.account_no';
    expect(whole.traversal[1]).toMatchObject({ table: 'public.booking', from: [{ on, by: 'both' }] });
    expect(found(whole, 'partial-reference')).toEqual([]);
    const part = await mapOf(sql, fides(''));
    expect(part.traversal[1]?.from).toMatchObject([{ on }]);
    expect(found(part, 'partial-reference')).toEqual(['warning public.booking account_no']);
    // Without a foreign key the target's key says that the two belong together.
    const loose = await mapOf(sql.replace(', foreign key (tenant, account_no) references account', ''), fides(', fides_meta: {references: [{dataset: d, field: account.tenant, direction: from}]}'));
    expect(loose.traversal[1]?.from).toMatchObject([{ on: expect.stringContaining(' and '), by: 'annotation' }]);
  });

  it('reads identities out of JSON, deletes rows whose text key holds one, and refuses members of what has none', async () => {
    const annotations = (column: string): string => `source: s\ntables:\n  event: {columns: {key: {category: user}, key.email: {category: user.contact.email, identity: email}, body: {category: user.content}, body.user.mail: {category: user.contact.email, identity: email}, ${column}: {category: user}}}\n`;
    const report = await mapOf('create table event (key text primary key, body jsonb, n int);', annotations('n'));
    expect(report.seeds).toEqual([{ identity: 'email', table: 'public.event', column: 'key.email' }, { identity: 'email', table: 'public.event', column: 'body.user.mail' }]);
    expect(treatment(report, 'public.event')?.method).toBe('delete');
    expect(found(await mapOf('create table event (key text primary key, body jsonb, n int);', annotations('n.deep')), 'not-a-document')).toEqual(['refusal public.event n.deep']);
  });

  it('takes a partitioned table as one, and refuses one of its partitions alone', async () => {
    const sql = `${CUSTOMER} create table event (id int, at date, customer_id int references customer, ip inet, primary key (id, at)) partition by range (at); create table event_2025 partition of event for values from ('2025-01-01') to ('2026-01-01'); create table event_2026 partition of event for values from ('2026-01-01') to ('2027-01-01') partition by list (id); create table event_2026_1 partition of event_2026 for values in (1);`;
    const event = (name: string): string => `${ANNOTATED}  ${name}: {columns: {id: {category: system}, at: {category: system}, customer_id: {category: user.unique_id}, ip: {category: user.device.ip_address}}}\n`;
    const report = await mapOf(sql, event('event'));
    expect(report.ok).toBe(true);
    expect(report.erasureOrder).toEqual(['public.event', 'public.customer']);
    expect(found(report, 'partitioned')).toEqual(['note public.event']);
    expect(found(report, 'unannotated-table')).toEqual([]);
    expect(found(await mapOf(sql, event('event_2026_1')), 'partition')).toEqual(['refusal public.event_2026_1']);
  });

  it('erases a view through its tables, refreshes a materialized one, and refuses one over tables nobody annotated', async () => {
    const sql = `${CUSTOMER} create view names as select name from customer; create view loud as select upper(name) from names; create materialized view stats as select email, count(*) from customer group by 1; create table other (id int, name text);create view others as select * from other`;
    const report = await mapOf(sql, `${ANNOTATED}  loud: {columns: {upper: {category: user.name}}}\n`);
    expect(report.ok).toBe(true);
    expect(report.refresh).toEqual(['public.stats']);
    expect(found(report, 'view')).toEqual(['note public.loud', 'note public.names']);
    expect(found(await mapOf(sql, `${ANNOTATED}  others: {columns: {name: {category: user.name}}}\n`), 'view')).toContain('refusal public.others');
  });

  it('handles a table without a key, and names what changed since it was annotated', async () => {
    const report = await mapOf(
      'create table visit (email varchar(20), at timestamp, renamed text);',
      'dataset:\n  - fides_key: d\n    collections:\n      - name: visit\n        fields:\n          - {name: email, data_categories: [user.contact.email], fides_meta: {identity: email, data_type: integer, length: 40, primary_key: true}}\n          - {name: gone, data_categories: [user.name]}\n      - name: vanished\n        fields: []\n',
    );
    expect(report.ok).toBe(false);
    expect(found(report, 'no-key')).toEqual(['warning public.visit']);
    expect(found(report, 'missing-column')).toEqual(['refusal public.visit gone']);
    expect(found(report, 'missing-table')).toEqual(['refusal vanished']);
    expect(found(report, 'unannotated-column')).toEqual(['warning public.visit at', 'warning public.visit renamed']);
    expect(found(report, 'type-differs')).toEqual(['warning public.visit email']);
    expect(found(report, 'length-differs')).toEqual(['warning public.visit email']);
    expect(report.refused.every(({ reason }) => reason.length > 20)).toBe(true);
  });

  it('knows quoted names, dots in names, and tables of one name in several schemas', async () => {
    const sql = `create schema "Sales EU"; create schema b; create table "Sales EU"."Order.Line" ("E-Mail" text primary key, "a.b" text); create table b.person (email text); create table person (email text, nick text);create table b.only (email text); create schema c; create table c.only (email text);`;
    const report = await mapOf(sql, `source: s\ntables:\n  Sales EU.Order.Line: {columns: {E-Mail: {category: user.contact.email, identity: email}, a.b: {category: user.name}}}\n  PERSON: {columns: {Email: {category: user.contact.email, identity: email}, nick: {category: user.name}}}\n  b.person: {columns: {email: {category: user.contact.email, identity: email}}}\n`);
    expect(report.ok).toBe(true);
    expect(report.erasureOrder).toEqual(['"Sales EU"."Order.Line"', 'b.person', 'public.person']);
    expect(report.seeds[0]).toEqual({ identity: 'email', table: '"Sales EU"."Order.Line"', column: 'E-Mail' });
    expect(found(await mapOf(sql, 'source: s\ntables:\n  only: {columns: {email: {category: user.contact.email, identity: email}}}\n'), 'ambiguous-table')).toEqual(['refusal only']);
  });

  it('refuses references into nothing, and data of people that no identity leads to', async () => {
    const report = await mapOf(
      `${CUSTOMER} create table note (id int primary key, about int, body text); create table island (id int primary key, name text); create table ledger (id int primary key, sum int)`,
      'dataset:\n  - fides_key: d\n    collections:\n      - name: customer\n        fields:\n          - {name: id}\n          - {name: email, data_categories: [user.contact.email], fides_meta: {identity: email}}\n          - {name: name, data_categories: [user.name]}\n'
        + '      - name: note\n        fields:\n          - {name: id}\n          - {name: about, fides_meta: {references: [{dataset: d, field: client.id, direction: from}, {dataset: crm, field: people.id}]}}\n          - {name: body, data_categories: [user.content]}\n'
        + '      - name: island\n        fields: [{name: id}, {name: name, data_categories: [user.name]}]\n      - name: ledger\n        fields: [{name: id}, {name: sum, data_categories: [system.operations]}]\n',
    );
    expect(found(report, 'reference-to-nowhere')).toEqual(['refusal public.note about']);
    expect(found(report, 'reference-to-other-dataset')).toEqual(['refusal public.note about']);
    expect(found(report, 'unreachable')).toEqual(['refusal public.island name', 'refusal public.note body', 'note public.ledger']);
    expect((await mapOf(CUSTOMER, 'source: s\ntables:\n  customer: {columns: {email: {category: user.contact.email}}}\n')).refused.map(({ code }) => code)).toContain('no-identity');
  });

  it('keeps away from rows of others: it follows no foreign key into a table with people of its own', async () => {
    const report = await mapOf(
      `create table staff (id int primary key, email text); create table ticket (id int primary key, email text, body text, staff_id int references staff);`,
      'source: s\ntables:\n  staff: {columns: {id: {category: user.unique_id}, email: {category: user.contact.email, identity: email}}}\n  ticket: {columns: {id: {category: system}, email: {category: user.contact.email, identity: email}, body: {category: user.content}, staff_id: {category: system}}}\n',
    );
    expect(found(report, 'reference-not-followed')).toEqual(['warning public.ticket staff_id']);
    expect(report.traversal.every(({ from }) => from.length === 0)).toBe(true);
  });

  it('goes up a foreign key to data of people, and not down again to those who share it', async () => {
    const report = await mapOf(
      `create table household (id int primary key, street text); ${CUSTOMER} alter table customer add household_id int references household; create table pet (id int primary key, household_id int references household, name text);`,
      `${ANNOTATED.replace('name: {', 'household_id: {category: system}, name: {')}  household: {columns: {id: {category: system}, street: {category: user.contact.address.street}}}\n  pet: {columns: {id: {category: system}, household_id: {category: system}, name: {category: system}}}\n`,
    );
    expect(report.traversal.map(({ table }) => table)).toEqual(['public.customer', 'public.household']);
    expect(found(report, 'reference-inferred')).toEqual(['note public.customer household_id']);
    expect(report.erasureOrder).toEqual(['public.household', 'public.customer']);
  });

  it('refuses deletes that would take or meet rows nobody annotated', async () => {
    const person = 'create table person (email text primary key);';
    const annotations = 'source: s\ntables:\n  person: {columns: {email: {category: user.contact.email, identity: email}}}\n';
    expect(found(await mapOf(`${person} create table log (id int primary key, who text references person on delete cascade);`, annotations), 'cascade')).toEqual(['refusal public.log who']);
    expect(found(await mapOf(`${person} create table log (id int primary key, who text references person);`, annotations), 'held-by-reference')).toEqual(['refusal public.log who']);
    const cut = await mapOf(`${person} create table log (id int primary key, who text references person on delete set null);`, annotations);
    expect(found(cut, 'link-cut')).toEqual(['warning public.log who']);
    expect(cut.ok).toBe(true);
  });

  it('empties or deletes rows that point at deleted ones, unless they must be kept', async () => {
    const sql = `create table person (email text primary key); create table invoice (no int primary key, who text REFS references person);`;
    const annotations = (erase: string): string => `source: s\ntables:\n  person: {columns: {email: {category: user.contact.email, identity: email}}}\n  invoice: {${erase}columns: {no: {category: system}, who: {category: system}}}\n`;
    const emptied = await mapOf(sql.replace('REFS', ''), annotations(''));
    expect(treatment(emptied, 'public.invoice')).toMatchObject({ method: 'mask', mask: [{ column: 'who', masking: { strategy: 'null' } }] });
    expect(treatment(await mapOf(sql.replace('REFS', 'not null'), annotations('')), 'public.invoice')?.method).toBe('delete');
    const kept = await mapOf(sql.replace('REFS', 'not null'), annotations('erase: keep, keepBecause: tax law asks for ten years, '));
    expect(found(kept, 'kept-row-needs-deleted')).toEqual(['refusal public.invoice who']);
    expect(found(await mapOf(sql.replace('REFS', ''), annotations('erase: keep, ')), 'kept-without-reason')).toEqual(['refusal public.invoice']);
  });

  it('refuses what cannot be masked, and says so of strategies that do not fit', async () => {
    const sql = `create type mood as enum ('a', 'b'); create table person (id int primary key, email text, code int not null unique, short varchar(4) not null, mood mood not null, born date, spare text unique not null, no bigint generated always as identity unique, low text generated always as (lower(email)) stored);`;
    const report = await mapOf(sql, `source: s\ntables:\n  person: {columns: {id: {category: user.unique_id}, email: {category: user.contact.email, identity: email, masking: {strategy: date-shift}}, code: {category: user.unique_id}, short: {category: user.name}, mood: {category: user.demographic}, born: {category: user.demographic, masking: hash}, spare: {category: user.name}, no: {category: user.unique_id}, low: {category: user.contact.email}}}\n`);
    expect(found(report, 'cannot-be-masked')).toEqual(['email', 'code', 'mood', 'born', 'no'].map((column) => `refusal public.person ${column}`));
    expect(treatment(report, 'public.person')?.mask).toEqual([{ column: 'short', categories: ['user.name'], masking: { strategy: 'constant', value: 'eras' } }, { column: 'spare', categories: ['user.name'], masking: { strategy: 'hmac' } }]);
    expect(found(report, 'generated')).toEqual(['note public.person low']);
  });

  it('heeds the order people ask for, and refuses one that contradicts itself', async () => {
    const sql = 'create table a (email text, n int primary key); create table b (email text, n int primary key);';
    const annotations = (a: string, b: string): string => `dataset:\n  - fides_key: d\n    collections:\n      - name: a\n        fides_meta: {erase_after: [${a}]}\n        fields: [{name: email, data_categories: [user.contact.email], fides_meta: {identity: email}}, {name: n}]\n      - name: b\n        fides_meta: {erase_after: [${b}]}\n        fields: [{name: email, data_categories: [user.contact.email], fides_meta: {identity: email}}, {name: n}]\n`;
    expect((await mapOf(sql, annotations('d.b', ''))).erasureOrder).toEqual(['public.b', 'public.a']);
    expect((await mapOf(sql, annotations('d.b', 'd.a'))).refused.map(({ code }) => code)).toEqual(['order-contradicts-itself']);
    expect((await mapOf(sql, annotations('d.zzz', ''))).refused.map(({ code }) => code)).toEqual(['order-after-nowhere']);
  });

  it('suggests categories by names and by what the values look like, and knows copies and triggers', async () => {
    const report = await mapOf(
      `${CUSTOMER} create table customer_old (like customer); create table config (id int primary key, target text, "firstName" text, kind text); insert into config values (1, 'a@example.com'), (2, 'b@example.com'), (3, null); create function f() returns trigger language plpgsql as $$ begin return new; end $$; create trigger t after update on customer for each row execute function f(); alter table customer enable row level security;`,
      ANNOTATED,
    );
    expect(report.suggestions.filter(({ table }) => table === 'public.config')).toEqual([
      { table: 'public.config', column: 'target', category: 'user.contact.email', because: '2 of 2 values hold an e-mail address' },
      { table: 'public.config', column: 'firstName', category: 'user.name', because: 'its name' },
    ]);
    expect(found(report, 'copy')).toEqual(['warning public.customer_old']);
    expect(found(report, 'trigger')).toEqual(['warning public.customer']);
    expect(found(report, 'row-security')).toEqual(['warning public.customer']);
  });

  it('warns of identities that their category would keep', async () => {
    expect(found(await mapOf(CUSTOMER, 'source: s\ntables:\n  customer: {columns: {id: {category: system}, email: {category: system.operations, identity: email}, name: {category: user.name}}}\n'), 'identity-not-personal')).toEqual(['warning public.customer email']);
  });
});
