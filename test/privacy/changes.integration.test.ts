import { sql } from 'kysely';
import type pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { AuditLogStore } from '../../database/audit-log.ts';
import { PrivacyChangeStore, type PrivacyChangeRecord } from '../../database/privacy-changes.ts';
import { Consents } from '../../platform/consent/consents.ts';
import type { Caller } from '../../platform/identity/caller.ts';
import { PrivacyTasks } from '../../platform/privacy/tasks.ts';
import { formatWorkflowId } from '../../schemas/names/workflow-id.ts';
import type { Correction } from '../../schemas/privacy/change.ts';
import { createTestDatabase, type TestDatabase } from '../environment/database.ts';
import { erasureBench, type ErasureBench } from './erasure-bench.ts';
import { withSchema } from './schema-database.ts';

const SHOP = `create table customer (id int primary key, email text unique, name varchar(20), born date, news boolean, blocked boolean not null default false, extra jsonb);
  create table orders (id int primary key, customer_id int references customer, mail text, label text);
  insert into customer values (1, 'canary-1@example.com', 'Onne', '1990-01-02', true, false, '{"names": [{"nick": "Onne", "age": 7}]}'), (2, 'two@example.com', 'Two', '1991-01-02', true, false, '{"names": [{"nick": "Two", "age": 8}]}');
  insert into orders values (1, 1, 'canary-1@example.com', 'for Onne'), (2, 1, 'CANARY-1@example.com', 'for Onne'), (3, 2, 'two@example.com', 'for Two')`;
const ANNOTATIONS = `source: shop
tables:
  customer:
    columns:
      id: {category: user.unique_id}
      email: {category: user.contact.email, identity: email}
      name: {category: user.name}
      born: {category: user.date_of_birth}
      news: {category: system.operations, consent: {purpose: newsletter}}
      blocked: {category: system.operations, restriction: {}}
      extra.names.nick: {category: user.name}
      extra.names.age: {category: user.age}
  orders:
    columns:
      id: {category: system}
      customer_id: {category: user.unique_id}
      mail: {category: user.contact.email}
      label: {category: user.content}
`;
const WHO = { identities: { email: [' Canary-1@Example.com'] }, verification: 'signed in, showed a passport' };
const customers = async (client: pg.Client): Promise<unknown[]> => (await client.query<{ row: Record<string, unknown> }>('select to_jsonb(c) as row from customer c order by id')).rows.map(({ row }) => row);
const TWO = { id: 2, email: 'two@example.com', name: 'Two', born: '1991-01-02', news: true, blocked: false, extra: { names: [{ nick: 'Two', age: 8 }] } };
const ONE = { id: 1, email: 'canary-1@example.com', name: 'Onne', born: '1990-01-02', news: true, blocked: false, extra: { names: [{ nick: 'Onne', age: 7 }] } };

describe('changes of a person\'s data', () => {
  let test: TestDatabase;
  let bench: ErasureBench;
  let tasks: PrivacyTasks;
  beforeAll(async () => {
    test = await createTestDatabase();
    bench = await erasureBench(test);
    tasks = new PrivacyTasks({ database: test.database, keys: bench.keys, erasures: bench.erasures, changes: bench.changes });
  });
  afterAll(async () => {
    await bench.stop();
    await test.drop();
  });

  const reached = async (caller: Caller, id: string, state: PrivacyChangeRecord['state']): Promise<PrivacyChangeRecord> => {
    await expect.poll(async () => (await bench.changes.get(caller, id)).change.state).toBe(state);
    return (await bench.changes.get(caller, id)).change;
  };
  const because = (caller: Caller, id: string) => expect.poll(async () => (await bench.changes.get(caller, id)).change.reasons.join('\n'));
  const declare = (caller: Caller, url: string, annotations = ANNOTATIONS) => bench.declare(caller, url, annotations);
  const rectify = (caller: Caller, ...corrections: Correction[]) => bench.changes.request(caller, { ...WHO, change: { kind: 'rectification', corrections } });
  const restrict = (caller: Caller, state: 'on' | 'off') => bench.changes.request(caller, { ...WHO, change: { kind: 'restriction', state } });
  /** Everything that was put into the history, decoded. */
  const historyOf = async (caller: Caller, id: string): Promise<string> => {
    const { events } = await bench.client.workflow.getHandle(formatWorkflowId({ orgId: caller.orgId, operation: 'privacy-change', uuid: id })).fetchHistory();
    const payloads = (events ?? []).flatMap(({ activityTaskScheduledEventAttributes: a, activityTaskCompletedEventAttributes: b, workflowExecutionStartedEventAttributes: c, workflowExecutionCompletedEventAttributes: d }) => [...(a?.input?.payloads ?? []), ...(b?.result?.payloads ?? []), ...(c?.input?.payloads ?? []), ...(d?.result?.payloads ?? [])]);
    return ((await bench.client.options.loadedDataConverter.payloadCodecs[0]?.decode(payloads)) ?? []).map(({ data }) => Buffer.from(data ?? []).toString('utf8')).join('\n');
  };

  describe('rectification', () => {
    it('corrects every field of a category that is the person\'s, their identity too, reads again, and tells nobody who or what', async () => {
      await withSchema(SHOP, async (client, url) => {
        const caller = await bench.caller();
        await declare(caller, url);
        const { id } = await rectify(
          caller,
          { category: 'user.name', value: 'Canary Uno' },
          { category: 'user.contact.email', value: 'canary.uno@example.com' },
          { category: 'user.date_of_birth', value: '1990-12-1' },
          { category: 'user.age', value: '35' },
          { category: 'user.content', value: 'for Canary Uno', was: 'for onne' },
        );
        const done = await reached(caller, id, 'complete');
        expect(await customers(client)).toEqual([{ ...ONE, email: 'canary.uno@example.com', name: 'Canary Uno', born: '1990-12-01', extra: { names: [{ nick: 'Canary Uno', age: 35 }] } }, TWO]);
        expect((await client.query<{ mail: string; label: string }>('select mail, label from orders order by id')).rows).toEqual([{ mail: 'canary.uno@example.com', label: 'for Canary Uno' }, { mail: 'canary.uno@example.com', label: 'for Canary Uno' }, { mail: 'two@example.com', label: 'for Two' }]);
        expect((await bench.changes.get(caller, id)).tables).toEqual([{ source: 'shop', table: 'public.customer', rows: 1, changed: 1 }, { source: 'shop', table: 'public.orders', rows: 2, changed: 2 }]);
        expect(done).toMatchObject({ sealed: null, topics: ['user.age', 'user.contact.email', 'user.content', 'user.date_of_birth', 'user.name'], wanted: 'corrected', reasons: [] });
        const history = await historyOf(caller, id);
        expect(history).toContain(id);
        expect(history.toLowerCase()).not.toContain('canary');
        const log = new AuditLogStore(bench.database);
        await expect.poll(async () => (await log.list(caller.orgId, { resource: id }, 10)).map(({ entry }) => entry.action).toSorted()).toEqual(['privacy-change.complete', 'privacy-change.request']);
        expect(JSON.stringify(await log.list(caller.orgId, { resource: id }, 10)).toLowerCase()).not.toContain('canary');
        // The old identity finds nobody any more; asking again changes nothing.
        const again = await rectify(caller, { category: 'user.name', value: 'Somebody Else' });
        await reached(caller, again.id, 'complete');
        expect((await bench.changes.get(caller, again.id)).tables).toEqual([]);
        expect((await customers(client))[1]).toEqual(TWO);
        await expect(bench.changes.resume(caller, id)).rejects.toThrow('the change is complete');
        await expect(bench.changes.get(await bench.caller(), id)).rejects.toThrow('no such change');
      });
    });

    it('changes nothing before it is clear what was wrong, and says who must act', async () => {
      await withSchema(`${SHOP}; update orders set label = 'for Uno' where id = 2`, async (client, url) => {
        const caller = await bench.caller();
        const { id } = await rectify(caller, { category: 'user.content', value: 'for Canary' });
        await because(caller, id).toContain('no source is declared');
        const source = await declare(caller, url, ANNOTATIONS.replace('label: {category: user.content}', 'label: {category: user.content.other}'));
        await bench.changes.resume(caller, id);
        await because(caller, id).toBe('no source has a field of the category user.content: annotate it where it is kept');
        await bench.sources.change(caller, source.id, { annotations: ANNOTATIONS });
        await bench.changes.resume(caller, id);
        await because(caller, id).toBe('shop: public.orders label holds several different values of the person: say which was wrong (`was`)');
        expect((await client.query('select 1 from orders where label = $1', ['for Canary'])).rowCount).toBe(0);
        // One that says it overtakes nothing, and waits for nothing of another category.
        const taken = await rectify(caller, { category: 'user.contact.email', value: 'two@example.com', table: 'customer' });
        await because(caller, taken.id).toContain('rows of somebody else hold the new value already');
        const long = await rectify(caller, { category: 'user.name', value: 'x'.repeat(21) });
        await because(caller, long.id).toContain('public.customer name: it holds no more than 20 characters');
        const key = await rectify(caller, { category: 'user.unique_id', value: '7' });
        await because(caller, key.id).toContain('public.customer id: it is a key that other rows go by');
        const misfit = await rectify(caller, { category: 'user.date_of_birth', value: 'Tuesday' });
        await because(caller, misfit.id).toMatch(/^shop: a corrected value does not fit: SQLSTATE 22/);
        expect(await customers(client)).toEqual([ONE, TWO]);
        // A later one takes the place of what could not be done.
        const right = await rectify(caller, { category: 'user.name', value: 'Uno' });
        await reached(caller, right.id, 'complete');
        expect(await bench.changes.get(caller, long.id)).toMatchObject({ change: { state: 'superseded', sealed: null } });
        await client.query("update orders set label = 'for Uno' where customer_id = 1");
        await bench.changes.resume(caller, id);
        await reached(caller, id, 'complete');
        expect((await client.query('select 1 from orders where label = $1', ['for Canary'])).rowCount).toBe(2);
      });
    });

    it('heeds legal holds, fields that are never written, and rows shared with others', async () => {
      const shared = 'create table address (id int primary key, street text); alter table customer add column address_id int references address; insert into address values (1, $$Old Street$$); update customer set address_id = 1';
      await withSchema(`${SHOP}; ${shared}`, async (client, url) => {
        const caller = await bench.caller();
        const source = await declare(caller, url, `${ANNOTATIONS.replace('born: {category: user.date_of_birth}', 'born: {category: user.date_of_birth, readOnly: true}').replace('      news:', '      address_id: {category: system, references: address.id, direction: to}\n      news:')}  address:\n    columns: {id: {category: system}, street: {category: user.contact.address.street}}\n`);
        const hold = await bench.holds.place(caller, { identities: { email: ['canary-1@example.com'] }, reason: 'case 7' });
        const born = await rectify(caller, { category: 'user.date_of_birth', value: '1990-12-01' });
        await because(caller, born.id).toBe(`a legal hold protects the person (${hold.id}: case 7): whoever placed it must release it`);
        await bench.holds.release(caller, hold.id);
        await bench.changes.resume(caller, born.id);
        await because(caller, born.id).toBe('shop: public.customer born: it is annotated as readOnly: whoever writes it must correct it');
        await client.query("update customer set born = '1990-12-01' where id = 1");
        await bench.changes.resume(caller, born.id);
        await reached(caller, born.id, 'complete');
        // Somebody else lives there too.
        const street = await rectify(caller, { category: 'user.contact.address.street', value: 'New Street' });
        await because(caller, street.id).toContain('shop: 1 rows of public.address still hold something else in street: rows of others point at them too');
        expect((await client.query('select street from address')).rows).toEqual([{ street: 'Old Street' }]);
        await client.query("insert into address values (2, 'New Street'); update customer set address_id = 2 where id = 1");
        await bench.changes.resume(caller, street.id);
        await reached(caller, street.id, 'complete');
        const held = await bench.holds.place(caller, { source: 'shop', table: 'orders', reason: 'tax audit' });
        const label = await rectify(caller, { category: 'user.content', value: 'other' });
        await because(caller, label.id).toContain(`a legal hold protects the table (${held.id}: tax audit)`);
        await bench.sources.change(caller, source.id, { address: 'postgres://nobody:x@127.0.0.1:1/none?sslmode=disable' });
        await bench.changes.resume(caller, label.id);
        await because(caller, label.id).toContain('shop: the connection was refused');
      });
    });

    it('has people do by hand what no program reaches, with the values, and ends when they have', async () => {
      const caller = await bench.caller();
      await bench.sources.create(caller, { name: 'paper', kind: 'manual', address: 'manual:the archive', annotations: 'source: paper\ntasks:\n  folder: {instructions: Shred the folder., rectify: Write the right name on the folder.}\n' });
      const { id } = await rectify(caller, { category: 'user.name', value: 'Canary Uno' });
      await because(caller, id).toContain('paper: folder: somebody must do it by ');
      const [task] = await tasks.list(caller, 10);
      expect(task).toMatchObject({ changeId: id, erasureId: null, instructions: 'Write the right name on the folder.', state: 'open' });
      expect(await tasks.take(caller, task?.id ?? '')).toMatchObject({ identities: WHO.identities, change: { kind: 'rectification', corrections: [{ category: 'user.name', value: 'Canary Uno' }] } });
      await tasks.end(caller, task?.id ?? '', { outcome: 'refused', note: 'the folder is lost' });
      await because(caller, id).toContain('refused by whoever was to do it');
      await tasks.end(caller, task?.id ?? '', { outcome: 'done', note: 'found it' });
      await reached(caller, id, 'complete');
      expect((await tasks.list(caller, 10)).length).toBe(1);
      await expect(tasks.take(caller, task?.id ?? '')).rejects.toThrow('the task is done');
    });

    it('goes on after the loss of its run, and is forgotten with the person', async () => {
      await withSchema(SHOP, async (client, url) => {
        const caller = await bench.caller();
        const { id } = await rectify(caller, { category: 'user.name', value: 'Canary Uno' });
        await reached(caller, id, 'blocked');
        const handle = bench.client.workflow.getHandle(formatWorkflowId({ orgId: caller.orgId, operation: 'privacy-change', uuid: id }));
        await handle.terminate('lost');
        await declare(caller, url);
        await bench.database.withOrg(caller.orgId, (tx) => sql`update privacy_changes set requested_at = requested_at - interval '1 minute' where id = ${id}`.execute(tx));
        await expect.poll(async () => (await bench.changes.reviveAcrossOrganisations(new Date(0))).revived).toBeGreaterThan(0);
        await reached(caller, id, 'complete');
        expect((await customers(client))[0]).toMatchObject({ name: 'Canary Uno' });
        const open = await rectify(caller, { category: 'user.name', value: 'x'.repeat(21) });
        await reached(caller, open.id, 'blocked');
        const erasure = await bench.erasures.request(caller, WHO);
        await bench.reached(caller, erasure.id, 'complete');
        expect(await new PrivacyChangeStore(bench.database).find(caller.orgId, open.id)).toMatchObject({ state: 'superseded', sealed: null });
      });
    });
  });

  describe('restriction', () => {
    it('marks the person in every source, keeps them from being erased, and is lifted again', async () => {
      await withSchema(SHOP, async (client, url) => {
        const caller = await bench.caller();
        const source = await declare(caller, url, ANNOTATIONS.replace(', restriction: {}', ''));
        const on = await restrict(caller, 'on');
        await because(caller, on.id).toBe('shop: 3 records of the person, and nothing here says that processing is restricted: annotate a field with `restriction`, or declare a manual source for it');
        await bench.sources.change(caller, source.id, { annotations: ANNOTATIONS });
        await bench.changes.resume(caller, on.id);
        await reached(caller, on.id, 'complete');
        expect(await customers(client)).toEqual([{ ...ONE, blocked: true }, TWO]);
        // It holds by itself, and ends with its lifting only.
        const [hold] = await bench.holds.list(caller, 10);
        expect(hold).toMatchObject({ restrictionId: on.id, releasedAt: null });
        await expect(bench.holds.release(caller, hold?.id ?? '')).rejects.toThrow('lift the restriction');
        const erasure = await bench.erasures.request(caller, WHO);
        await expect.poll(async () => (await bench.erasures.get(caller, erasure.id)).erasure.reasons.join()).toContain('processing is restricted, Art. 18 GDPR');
        // What was contested may be corrected meanwhile.
        const corrected = await rectify(caller, { category: 'user.name', value: 'Uno' });
        await reached(caller, corrected.id, 'complete');
        const off = await restrict(caller, 'off');
        await reached(caller, off.id, 'complete');
        expect((await customers(client))[0]).toMatchObject({ blocked: false, name: 'Uno' });
        expect((await bench.holds.list(caller, 10))[0]?.releasedAt).toBeInstanceOf(Date);
        await bench.erasures.resume(caller, erasure.id);
        await bench.reached(caller, erasure.id, 'complete');
      });
    });
  });

  describe('consent', () => {
    it('is recorded and carried into every field that keeps it; what was decided last is what stays', async () => {
      await withSchema(SHOP, async (client, url) => {
        const caller = await bench.caller();
        await declare(caller, url);
        const consents = new Consents({ database: test.database, keys: bench.keys, changes: bench.changes });
        const decide = (state: 'given' | 'withdrawn', purpose = 'newsletter') => consents.record(caller, { subject: 'customer-1', purpose, state, legalBasis: 'consent', textVersion: '2026-01', source: 'account-page', identities: WHO.identities });
        const withdrawn = await decide('withdrawn');
        await reached(caller, withdrawn.changeId ?? '', 'complete');
        expect(await customers(client)).toEqual([{ ...ONE, news: false }, TWO]);
        expect(await consents.consentFor(caller.orgId, 'customer-1', 'newsletter')).toMatchObject({ state: 'withdrawn' });
        const [given, last] = [await decide('given'), await decide('withdrawn')];
        await reached(caller, last.changeId ?? '', 'complete');
        expect(['complete', 'superseded']).toContain((await bench.changes.get(caller, given.changeId ?? '')).change.state);
        expect((await customers(client))[0]).toMatchObject({ news: false });
        const unknown = await decide('withdrawn', 'profiling');
        await because(caller, unknown.changeId ?? '').toBe('no source has a field that keeps the consent profiling: annotate it where it is kept');
        expect((await consents.record(caller, { subject: 'customer-1', purpose: 'newsletter', state: 'given', legalBasis: 'consent', textVersion: '2026-01', source: 'account-page' })).changeId).toBeNull();
      });
    });
  });
});
