import { spawn } from 'node:child_process';
import { randomBytes, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { join } from 'node:path';
import { sql } from 'kysely';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readCatalog } from '../../activities/privacy/postgres-catalog.ts';
import { scanFor } from '../../activities/privacy/postgres-scan.ts';
import { verifyReceipt } from '../../clients/privacy/verify-receipt.ts';
import { AuditLogStore } from '../../database/audit-log.ts';
import { ErasureStore, type ErasureRecord } from '../../database/erasures.ts';
import type { Caller } from '../../platform/identity/caller.ts';
import { actOf } from '../../platform/audit/act.ts';
import { makeDataMap } from '../../platform/privacy/data-map.ts';
import { subjectHashes } from '../../platform/privacy/identities.ts';
import { HalError } from '../../schemas/errors.ts';
import { formatWorkflowId } from '../../schemas/names/workflow-id.ts';
import { createTestDatabase, type TestDatabase } from '../environment/database.ts';
import { erasureBench, type ErasureBench } from './erasure-bench.ts';
import { withSchema } from './schema-database.ts';

const SHOP = `create table customer (id int primary key, email text, name text); create table orders (id int primary key, customer_id int references customer, note text); create table log (line text);
  insert into customer values (1, 'canary-1@example.com', 'One'), (2, 'two@example.com', 'Two'); insert into orders values (1, 1, 'for One'), (2, 2, 'for Two')`;
const ANNOTATIONS = 'source: shop\ntables:\n  customer: {columns: {id: {category: user.unique_id}, email: {category: user.contact.email, identity: email}, name: {category: user.name}}}\n  orders: {columns: {id: {category: system}, customer_id: {category: user.unique_id}, note: {category: user.content}}}\n';
const CANARY = { identities: { email: ['Canary-1@Example.com '] }, verification: 'signed in' };
const rows = async (client: pg.Client): Promise<unknown[]> => (await client.query<Record<string, unknown>>('select c.email, c.name, o.note from customer c join orders o on o.id = c.id order by c.id')).rows.map((row) => Object.values(row));
const ONE = ['canary-1@example.com', 'One', 'for One'];
const TWO = ['two@example.com', 'Two', 'for Two'];

describe('erasure', () => {
  let test: TestDatabase;
  let bench: ErasureBench;
  beforeAll(async () => {
    test = await createTestDatabase();
    bench = await erasureBench(test);
  });
  afterAll(async () => {
    await bench.stop();
    await test.drop();
  });

  const reached = (caller: Caller, id: string, state: ErasureRecord['state']) => bench.reached(caller, id, state);
  const declare = (caller: Caller, url: string, annotations = ANNOTATIONS) => bench.declare(caller, url, annotations);
  const receiptOf = async (caller: Caller, id: string): Promise<string> => {
    await expect.poll(() => bench.erasures.receipt(caller, id).catch((error: unknown) => (error instanceof HalError ? error.type : String(error)))).toMatch(/^ey/);
    return bench.erasures.receipt(caller, id);
  };

  it('forgets a person, names nobody on the way, and hands out a receipt that is right offline', async () => {
    await withSchema(SHOP, async (client, url) => {
      const caller = await bench.caller();
      await declare(caller, url);
      const { id } = await bench.erasures.request(caller, CANARY);
      const erasure = await reached(caller, id, 'complete');
      expect(await rows(client)).toEqual([[null, null, null], TWO]);
      expect((await bench.erasures.get(caller, id)).tables).toEqual([
        { source: 'shop', table: 'public.customer', method: 'mask', why: 'data of people', rows: 1, shared: 0 },
        { source: 'shop', table: 'public.orders', method: 'mask', why: 'data of people', rows: 1, shared: 0 },
      ]);
      expect(erasure.subjects).toEqual(subjectHashes(bench.keys, caller.orgId, { email: ['canary-1@example.com'] }));
      // Who it was is gone from HAL9's own database, and was never in the history.
      expect(await new ErasureStore(bench.database).sealedSubject(caller.orgId, id)).toBeUndefined();
      const own = new pg.Client({ connectionString: test.url });
      await own.connect();
      const catalog = await readCatalog(own);
      expect(await scanFor(own, catalog, makeDataMap(catalog, { format: 'hal9', tables: [] }), { email: ['canary-1'] })).toEqual([]);
      await own.end();
      const history = await bench.client.workflow.getHandle(formatWorkflowId({ orgId: caller.orgId, operation: 'erasure', uuid: id })).fetchHistory();
      const decoded = await bench.client.options.loadedDataConverter.payloadCodecs[0]?.decode((history.events ?? []).flatMap(({ activityTaskScheduledEventAttributes: a, activityTaskCompletedEventAttributes: b, workflowExecutionStartedEventAttributes: c }) => [...(a?.input?.payloads ?? []), ...(b?.result?.payloads ?? []), ...(c?.input?.payloads ?? [])]));
      const text = (decoded ?? []).map(({ data }) => Buffer.from(data ?? []).toString('utf8')).join('\n');
      expect(text).toContain(id);
      expect(text.toLowerCase()).not.toContain('canary');

      const receipt = await receiptOf(caller, id);
      const key = bench.logKey(caller.orgId);
      expect(await verifyReceipt(receipt, key)).toMatchObject({ ok: true, statement: { erasureId: id, tables: [{ rows: 1 }, { rows: 1 }], left: 0 } });
      // Another key, another statement, another organisation: none is right.
      const [header = '', payload = '', signature = ''] = receipt.split('.');
      const changed = Buffer.from(Buffer.from(payload, 'base64url').toString().replace('"rows":1', '"rows":9')).toString('base64url');
      expect(await verifyReceipt(`${header}.${changed}.${signature}`, key)).toMatchObject({ ok: false, problem: 'signature' });
      expect(await verifyReceipt(receipt, bench.logKey(randomUUID()))).toMatchObject({ ok: false, problem: 'other-organisation' });
      expect(await verifyReceipt('a.b.c', key)).toMatchObject({ ok: false, problem: 'unreadable' });
      // Asking again finds nobody, and is complete.
      const again = await bench.erasures.request(caller, CANARY);
      await reached(caller, again.id, 'complete');
      expect((await bench.erasures.get(caller, again.id)).tables).toEqual([]);
      await expect(bench.erasures.resume(caller, id)).rejects.toThrow('the erasure is complete');
    });
  });

  it('takes in another pass what a system wrote while it was erased', async () => {
    // A mail to the person comes while another is masked, twice.
    const busy = `${SHOP}; create table coming (more int); insert into coming values (2); create table mail (id int generated always as identity primary key, address text); insert into mail (address) values ('canary-1@example.com');
      create function write_late() returns trigger language plpgsql as $$ begin update coming set more = more - 1 where more > 0; if found then insert into mail (address) values ('canary-1@example.com'); end if; return new; end $$;
      create trigger late after update on mail for each row execute function write_late()`;
    await withSchema(busy, async (client, url) => {
      const caller = await bench.caller();
      await declare(caller, url, `${ANNOTATIONS}  mail: {columns: {id: {category: system}, address: {category: user.contact.email, identity: email}}}\n`);
      const { id } = await bench.erasures.request(caller, CANARY);
      const states = new Set<string>();
      await expect.poll(async () => {
        const { state } = (await bench.erasures.get(caller, id)).erasure;
        states.add(state);
        return state;
      }).toBe('complete');
      expect(states).not.toContain('blocked');
      expect((await client.query('select address from mail')).rows).toEqual([{ address: null }, { address: null }, { address: null }]);
    });
  });

  it('is not complete while anything names the person, says where, and goes on when it was mended', async () => {
    await withSchema(`${SHOP}; insert into log values ('mail from CANARY-1@example.com')`, async (client, url) => {
      const caller = await bench.caller();
      await declare(caller, url);
      const { id } = await bench.erasures.request(caller, CANARY);
      const blocked = await reached(caller, id, 'blocked');
      expect(blocked.reasons).toEqual(['shop: 1 rows of public.log still name the person in line: annotate the column, or erase it by hand']);
      await expect(bench.erasures.receipt(caller, id)).rejects.toThrow('there is no receipt');
      await client.query('delete from log');
      await bench.erasures.resume(caller, id);
      await reached(caller, id, 'complete');
      expect((await bench.erasures.get(caller, id)).tables.map((table) => table.rows)).toEqual([1, 1]);
    });
  });

  it('heeds holds: of a person until released, of a table for good', async () => {
    await withSchema(SHOP, async (client, url) => {
      const caller = await bench.caller();
      await declare(caller, url);
      const hold = await bench.holds.place(caller, { identities: { email: ['canary-1@example.com'] }, reason: 'case 7' });
      await bench.holds.place(caller, { source: 'shop', table: 'orders', reason: 'tax audit' });
      const { id } = await bench.erasures.request(caller, CANARY);
      const blocked = await reached(caller, id, 'blocked');
      expect(blocked.reasons).toEqual([`a legal hold protects the person (${hold.id}: case 7): whoever placed it must release it`]);
      expect(await rows(client)).toEqual([ONE, TWO]);
      await bench.holds.release(caller, hold.id);
      await bench.erasures.resume(caller, id);
      await reached(caller, id, 'complete');
      expect(await rows(client)).toEqual([[null, null, 'for One'], TWO]);
      expect((await bench.erasures.get(caller, id)).tables[1]).toMatchObject({ table: 'public.orders', method: 'none', why: expect.stringContaining('tax audit') });
    });
  });

  it('asks people where the policy says so, and destroys nothing without them', async () => {
    await withSchema(SHOP, async (client, url) => {
      const caller = await bench.caller();
      await declare(caller, url);
      await bench.erasures.setPolicy(caller, { approvals: 1, deadlineDays: 30, remindDays: [], connection: null });
      const asked = async (): Promise<string> => {
        await expect.poll(async () => (await bench.approvals.list(caller, { state: 'open' }, 10)).length).toBe(1);
        return (await bench.approvals.list(caller, { state: 'open' }, 10))[0]?.id ?? '';
      };
      const refused = await bench.erasures.request(caller, CANARY);
      await reached(caller, refused.id, 'waiting');
      await bench.approvals.answer(caller, await asked(), { approved: false });
      await reached(caller, refused.id, 'denied');
      expect(await rows(client)).toEqual([ONE, TWO]);
      const agreed = await bench.erasures.request(caller, CANARY);
      await bench.approvals.answer({ ...caller, actor: { kind: 'system', id: 'somebody-else' } }, await asked(), { approved: true });
      await reached(caller, agreed.id, 'complete');
      expect(await rows(client)).toEqual([[null, null, null], TWO]);
    });
  });

  it('says what is wrong with a source before anything is destroyed: drift, a refusing trigger, nobody to look up, no answer', async () => {
    const caller = await bench.caller();
    const none = await bench.erasures.request(caller, CANARY);
    expect((await reached(caller, none.id, 'blocked')).reasons[0]).toContain('no source is declared');
    await withSchema(SHOP, async (client, url) => {
      const source = await declare(caller, url, ANNOTATIONS.replace('name: {', 'gone: {category: user.name}, name: {'));
      await bench.erasures.resume(caller, none.id);
      await expect.poll(async () => (await bench.erasures.get(caller, none.id)).erasure.reasons[0]).toContain('shop: public.customer gone: shop annotates it, and the table has no such column');
      await bench.sources.change(caller, source.id, { annotations: ANNOTATIONS.replace('identity: email', 'identity: phone') });
      await bench.erasures.resume(caller, none.id);
      await expect.poll(async () => (await bench.erasures.get(caller, none.id)).erasure.reasons[0]).toContain('no source looks people up by email');
      await bench.sources.change(caller, source.id, { annotations: ANNOTATIONS, address: 'postgres://nobody:x@127.0.0.1:1/none?sslmode=disable' });
      await bench.erasures.resume(caller, none.id);
      await expect.poll(async () => (await bench.erasures.get(caller, none.id)).erasure.reasons[0]).toContain('shop: the connection was refused');
      await client.query(`create function no() returns trigger language plpgsql as $$ begin raise exception 'no'; end $$; create trigger no before update on customer for each row execute function no()`);
      await bench.sources.change(caller, source.id, { address: `${url}?sslmode=disable` });
      await bench.erasures.resume(caller, none.id);
      await expect.poll(async () => (await bench.erasures.get(caller, none.id)).erasure.reasons[0]).toContain('a trigger refuses the erasure');
      expect(await rows(client)).toEqual([ONE, TWO]);
      await client.query('drop trigger no on customer');
      await bench.erasures.resume(caller, none.id);
      await reached(caller, none.id, 'complete');
    });
  });

  it('reminds people when the deadline has come', async () => {
    const caller = await bench.caller();
    const id = randomUUID();
    const sealed = bench.keys.seal(caller.orgId, 'erasure-subjects', JSON.stringify({ identities: { email: ['x@example.com'] }, maskKey: randomBytes(32).toString('base64') }), id);
    await new ErasureStore(bench.database).insert(caller.orgId, { id, subjects: [], verification: 'test', requestedBy: 'test:test', dueAt: new Date() }, sealed, actOf(caller, 'erasure.request', { kind: 'erasure', id }));
    await bench.erasures.resume(caller, id);
    const log = new AuditLogStore(bench.database);
    await expect.poll(async () => (await log.list(caller.orgId, { action: 'erasure.remind', resource: id }, 5)).map(({ entry }) => entry.details['days'])).toContain(0);
  });

  it('goes on after the death of whoever asked for it, after the loss of its run, and without a receipt', async () => {
    await withSchema(SHOP, async (client, url) => {
      const caller = await bench.caller();
      await declare(caller, url);
      // Killed between the row and the run.
      const dying = spawn(process.execPath, [join(import.meta.dirname, 'dying-request.ts'), test.url, bench.masterKeys, caller.orgId, JSON.stringify(CANARY.identities)], { stdio: 'inherit' });
      const [, signal] = await once(dying, 'exit');
      expect(signal).toBe('SIGKILL');
      const [lost] = await bench.erasures.list(caller, 10);
      expect(lost).toMatchObject({ state: 'requested', finishedAt: null });
      const id = lost?.id ?? '';
      await bench.database.withOrg(caller.orgId, (tx) => sql`update erasures set requested_at = requested_at - interval '1 minute' where id = ${id}`.execute(tx));
      const hold = await bench.holds.place(caller, { identities: CANARY.identities, reason: 'keeps it open' });
      expect((await bench.erasures.reviveAcrossOrganisations(new Date(0))).revived).toBeGreaterThan(0);
      await reached(caller, id, 'blocked');
      // Its run is there: it is left alone.
      const handle = bench.client.workflow.getHandle(formatWorkflowId({ orgId: caller.orgId, operation: 'erasure', uuid: id }));
      const first = (await handle.describe()).runId;
      await bench.erasures.reviveAcrossOrganisations(new Date(0));
      expect((await handle.describe()).runId).toBe(first);
      // Its run is lost: it begins again under the same id.
      await handle.terminate('lost');
      await bench.holds.release(caller, hold.id);
      await expect.poll(async () => (await bench.erasures.reviveAcrossOrganisations(new Date(0))).revived).toBeGreaterThan(0);
      await reached(caller, id, 'complete');
      expect((await handle.describe()).runId).not.toBe(first);
      expect(await rows(client)).toEqual([[null, null, null], TWO]);
      const receipt = await receiptOf(caller, id);
      // It ended, and the process died before the receipt was written.
      await expect.poll(async () => (await handle.describe()).status.name).toBe('COMPLETED');
      await bench.database.withOrg(caller.orgId, (tx) => sql`update erasures set receipt = null where id = ${id}`.execute(tx));
      await expect.poll(async () => (await bench.erasures.reviveAcrossOrganisations(new Date(0))).revived).toBeGreaterThan(0);
      expect(await verifyReceipt(await receiptOf(caller, id), bench.logKey(caller.orgId))).toMatchObject({ ok: true, statement: { erasureId: id } });
      expect(await verifyReceipt(receipt, bench.logKey(caller.orgId))).toMatchObject({ ok: true });
    });
  });

  it('refuses addresses that name files or options, and never shows one again', async () => {
    const caller = await bench.caller();
    for (const address of ['postgres://h/d', 'postgres://u:p@h/', 'postgres://u:p@h/d?sslrootcert=/etc/passwd', 'postgres://u:p@h/d?sslmode=maybe']) {
      await expect(bench.sources.create(caller, { name: 'bad', kind: 'postgres', address, annotations: ANNOTATIONS })).rejects.toThrow('the address cannot be used');
    }
    const made = await bench.sources.create(caller, { name: 'shop', kind: 'postgres', address: 'postgres://u:s3cret@db.example:5433/shop', annotations: ANNOTATIONS });
    expect(JSON.stringify([made, await bench.sources.list(caller, 10)])).not.toContain('s3cret');
    expect(made).toMatchObject({ host: 'db.example', database: 'shop', version: 1 });
    await expect(bench.sources.create(caller, { name: 'shop', kind: 'postgres', address: 'postgres://u:p@h/d', annotations: ANNOTATIONS })).rejects.toThrow('already');
    await expect(bench.sources.change(caller, made.id, { version: 7 })).rejects.toThrow('version 1');
    await bench.sources.remove(caller, made.id);
    await expect(bench.sources.get(caller, made.id)).rejects.toThrow('no such source');
  });
});
