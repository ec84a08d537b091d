import { Decrypter, generateIdentity, identityToRecipient } from 'age-encryption';
import { unzipSync, strFromU8 } from 'fflate';
import { sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { encryptTo } from '../../activities/access-export/archive.ts';
import { AccessExportStore } from '../../database/access-exports.ts';
import { AuditLogStore } from '../../database/audit-log.ts';
import type { Caller } from '../../platform/identity/caller.ts';
import { createTestDatabase, type TestDatabase } from '../environment/database.ts';
import { createIngest } from '../signals/ingest-setup.ts';
import { erasureBench, type ErasureBench } from './erasure-bench.ts';
import { withSchema } from './schema-database.ts';

const SHOP = `create table customer (id int primary key, email text, name text); create table orders (id int primary key, customer_id int references customer, note text);
  insert into customer values (1, 'canary-1@example.com', '=HYPERLINK("x")'), (2, 'two@example.com', 'Two'); insert into orders values (1, 1, 'says "hi", <b>twice</b>'), (2, 2, 'for Two')`;
const ANNOTATIONS = 'source: shop\ntables:\n  customer: {columns: {id: {category: user.unique_id}, email: {category: user.contact.email, identity: email, purpose: to write to you}, name: {category: user.name}}}\n  orders: {columns: {id: {category: system}, customer_id: {category: user.unique_id}, note: {category: user.content}}}\n';
const PASSPHRASE = 'correct horse battery staple';

// Coverage makes scrypt, which age does in JavaScript, ten times as slow: ten seconds for a passphrase on two processors.
describe('access exports', { timeout: 300_000 }, () => {
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

  const declare = (caller: Caller, url: string) => bench.declare(caller, url, ANNOTATIONS);
  const ask = (caller: Caller, recipient: { passphrase: string } | { ageRecipient: string }) => bench.exports.request(caller, { identities: { email: ['Canary-1@Example.com'] }, verification: 'signed in', recipient, keepDays: 14 });
  const reached = (caller: Caller, id: string, state: string) => expect.poll(async () => (await bench.exports.get(caller, id)).state, { timeout: 150_000 }).toBe(state);
  const tokenOf = (url: string): string => url.slice(url.lastIndexOf('/') + 1);

  it('hand a person all sources in one archive that only they can open', async () => {
    await withSchema(SHOP, async (_client, url) => {
      const caller = await bench.caller();
      await declare(caller, url);
      const { receiver, ingest } = createIngest(test);
      await receiver.one(caller, { id: '1', source: 's', type: 't', data: { mail: 'canary-1@example.com' } }, { defaultSpecversion: true });
      await receiver.one(caller, { id: '2', source: 's', type: 't', data: { mail: 'two@example.com' } }, { defaultSpecversion: true });
      await ingest.close();
      const { id } = await ask(caller, { passphrase: PASSPHRASE });
      await reached(caller, id, 'ready');
      const ready = await bench.exports.get(caller, id);
      expect(ready.contents).toEqual([{ source: 'shop', table: 'public.customer', records: 1 }, { source: 'shop', table: 'public.orders', records: 1 }, { source: 'hal9', table: 'signals', records: 1 }]);
      // Who it was and the passphrase are forgotten.
      expect(ready.sealed).toBeNull();

      const link = await bench.exports.link(caller, id);
      expect(link.url).toMatch(/^https:\/\/hal9\.example\/access-exports\//);
      const fetched = await bench.exports.follow(tokenOf(link.url));
      expect(fetched.bytes.subarray(0, 21).toString()).toBe('age-encryption.org/v1');
      const wrong = new Decrypter();
      wrong.addPassphrase('something else entirely');
      await expect(wrong.decrypt(fetched.bytes)).rejects.toThrow();
      const decrypter = new Decrypter();
      decrypter.addPassphrase(PASSPHRASE);
      const files = Object.fromEntries(Object.entries(unzipSync(await decrypter.decrypt(fetched.bytes))).map(([name, bytes]) => [name, strFromU8(bytes)]));
      expect(Object.keys(files).toSorted()).toEqual(['hal9/signals.csv', 'hal9/signals.json', 'index.html', 'shop/public.customer.csv', 'shop/public.customer.json', 'shop/public.orders.csv', 'shop/public.orders.json']);
      expect(JSON.parse(files['shop/public.customer.json'] ?? '')).toEqual([{ id: 1, email: 'canary-1@example.com', name: '=HYPERLINK("x")' }]);
      // A spreadsheet is told no formula, and quotes are doubled.
      expect(files['shop/public.customer.csv']).toBe('id,email,name\r\n1,canary-1@example.com,"\'=HYPERLINK(""x"")"\r\n');
      expect(files['index.html']).toContain('&#60;b&#62;twice');
      expect(files['index.html']).toContain('to write to you');
      expect(Object.values(files).join()).not.toContain('two@example.com');
      expect((await bench.exports.get(caller, id)).downloads).toBe(1);
      const log = new AuditLogStore(bench.database);
      await expect.poll(async () => (await log.list(caller.orgId, { resource: id }, 10)).map(({ entry }) => entry.action).toSorted()).toEqual(['access-export.download', 'access-export.link', 'access-export.ready', 'access-export.request']);

      // Changed, of another organisation, or expired: there is nothing.
      const other = await bench.caller();
      await expect(bench.exports.get(other, id)).rejects.toThrow('no such export');
      await expect(bench.exports.link(other, id)).rejects.toThrow('no such export');
      await expect(bench.exports.follow(`${tokenOf(link.url)}x`)).rejects.toMatchObject({ type: 'NotFound' });
      await expect(bench.exports.follow(bench.keys.sign('access-export', { orgId: other.orgId, id }, new Date(Date.now() + 60_000)))).rejects.toMatchObject({ type: 'NotFound' });
      await expect(bench.exports.follow(bench.keys.sign('access-export', { orgId: caller.orgId, id }, new Date(Date.now() - 1)))).rejects.toMatchObject({ type: 'NotFound' });
      await bench.database.withOrg(caller.orgId, (tx) => sql`update access_exports set expires_at = now() where id = ${id}`.execute(tx));
      await expect(bench.exports.follow(tokenOf(link.url))).rejects.toMatchObject({ type: 'NotFound' });
      await expect(bench.exports.link(caller, id)).rejects.toMatchObject({ type: 'Conflict' });
      await expect(bench.exports.resume(caller, id)).rejects.toThrow('the export is ready');
    });
  });

  it('wait for a source that does not answer, say so, and go on', async () => {
    await withSchema(SHOP, async (_client, url) => {
      const caller = await bench.caller();
      const source = await declare(caller, 'postgres://nobody:x@127.0.0.1:1/none');
      const { id } = await ask(caller, { passphrase: PASSPHRASE });
      await reached(caller, id, 'blocked');
      expect((await bench.exports.get(caller, id)).reasons).toEqual(['shop: the connection was refused']);
      await bench.sources.change(caller, source.id, { address: `${url}?sslmode=disable` });
      await bench.exports.resume(caller, id);
      await reached(caller, id, 'ready');
      // An erasure of the person takes the copy along.
      const erasure = await bench.erasures.request(caller, { identities: { email: ['canary-1@example.com'] }, verification: 'signed in' });
      await bench.reached(caller, erasure.id, 'complete');
      expect(await new AccessExportStore(bench.database).find(caller.orgId, id)).toMatchObject({ state: 'expired', blob: null });
    });
  });

  it('are encrypted to a public key of the person', async () => {
    const identity = await generateIdentity();
    const decrypter = new Decrypter();
    decrypter.addIdentity(identity);
    expect(await decrypter.decrypt(await encryptTo({ ageRecipient: await identityToRecipient(identity) }, Buffer.from('theirs')), 'text')).toBe('theirs');
  });
});
