import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Caller } from '../../platform/identity/caller.ts';
import { HalError } from '../../schemas/errors.ts';
import { createTestDatabase, type TestDatabase } from '../environment/database.ts';
import { findPostgresPrograms, POSTGRES_PROGRAMS_MISSING } from '../environment/postgres-programs.ts';
import { erasureBench, type ErasureBench } from './erasure-bench.ts';
import { withSchema } from './schema-database.ts';

const programs = await findPostgresPrograms();
if (programs === undefined && process.env['CI'] !== undefined) throw new Error(POSTGRES_PROGRAMS_MISSING);
if (programs === undefined) process.stderr.write(`${POSTGRES_PROGRAMS_MISSING}\n`);

const run = promisify(execFile);
const SHOP = `create table customer (id int primary key, email text, name text); create table orders (id int primary key, customer_id int references customer, note text); create table visit (email text primary key, at date);
  insert into customer values (1, 'Canary-1@example.com', 'One'), (2, 'two@example.com', 'Two'); insert into orders values (1, 1, 'for One'), (2, 2, 'for Two'); insert into visit values ('canary-1@example.com', '2026-01-01'), ('two@example.com', '2026-01-01')`;
const ANNOTATIONS = 'source: shop\ntables:\n  customer: {columns: {id: {category: user.unique_id}, email: {category: user.contact.email, identity: email}, name: {category: user.name}}}\n  orders: {columns: {id: {category: system}, customer_id: {category: user.unique_id}, note: {category: user.content}}}\n  visit: {columns: {email: {category: user.contact.email, identity: email}, at: {category: system}}}\n';
const names = async (client: pg.Client): Promise<unknown[]> => (await client.query<{ v: string }>("select concat_ws('/', c.email, c.name, o.note) as v from customer c join orders o on o.customer_id = c.id or o.id = c.id order by c.id")).rows.map(({ v }) => v);

describe.skipIf(programs === undefined)('replay-erasures', () => {
  let test: TestDatabase;
  let bench: ErasureBench;
  let folder: string;
  beforeAll(async () => {
    test = await createTestDatabase();
    bench = await erasureBench(test);
    folder = await mkdtemp(join(tmpdir(), 'hal9-replay-'));
  });
  afterAll(async () => {
    await bench.stop();
    await test.drop();
    await rm(folder, { recursive: true, force: true });
  });

  /** The command, as an operator runs it. */
  const replay = async (...args: string[]): Promise<{ code: number; outcome: unknown; stderr: string }> => {
    const ended = await run(process.execPath, [join(import.meta.dirname, '../../deploy/local/replay-erasures.ts'), 'replay-erasures', '--json', ...args], { env: { ...process.env, ...bench.settings } }).then(
      ({ stdout, stderr }) => ({ code: 0, stdout, stderr }),
      (error: unknown) => {
        if (!(error instanceof Error && 'stdout' in error && 'stderr' in error && 'code' in error)) throw error;
        return { code: Number(error.code), stdout: String(error.stdout), stderr: String(error.stderr) };
      },
    );
    return { code: ended.code, outcome: ended.stdout === '' ? undefined : JSON.parse(ended.stdout), stderr: ended.stderr };
  };
  const erased = async (caller: Caller, email: string): Promise<string> => {
    const { id } = await bench.erasures.request(caller, { identities: { email: [email] }, verification: 'signed in' });
    await bench.reached(caller, id, 'complete');
    return id;
  };

  it('erases again whom a restored backup brought back, and nobody else', async () => {
    await withSchema(SHOP, async (client, url) => {
      const caller = await bench.caller();
      const source = await bench.declare(caller, url, ANNOTATIONS);
      const backup = await programs?.dump(url, ['--clean', '--if-exists', '--no-owner']);
      const id = await erased(caller, 'canary-1@example.com');
      expect((await names(client))[1]).toBe('two@example.com/Two/for Two');
      expect(await programs?.dump(url)).not.toMatch(/canary/i);
      await programs?.restore(url, backup ?? '');
      expect(await programs?.dump(url)).toMatch(/canary/i);
      const { code, outcome, stderr } = await replay();
      expect(outcome, stderr).toEqual({ restored: 0, erasures: 1, keysDestroyed: 0, back: 1, rows: 3, reasons: [] });
      expect([code, stderr.toLowerCase().includes('canary')]).toEqual([0, false]);
      expect(await programs?.dump(url)).not.toMatch(/canary/i);
      expect((await names(client))[1]).toBe('two@example.com/Two/for Two');
      expect((await client.query('select from visit')).rowCount).toBe(1);

      // HAL9's own database is older than the erasure: the receipt knows more than the ledger.
      await expect.poll(() => bench.erasures.receipt(caller, id).catch((error: unknown) => (error instanceof HalError ? error.type : String(error)))).toMatch(/^ey/);
      await writeFile(join(folder, 'receipt.json'), JSON.stringify({ receipt: await bench.erasures.receipt(caller, id) }));
      await writeFile(join(folder, 'other.json'), randomBytes(20).toString('hex'));
      await test.database.withOrg(caller.orgId, async (tx) => {
        await tx.deleteFrom('erasure_tables').where('erasure_id', '=', id).execute();
        await tx.updateTable('erasures').set({ state: 'erasing', finished_at: null }).where('id', '=', id).execute();
      });
      await programs?.restore(url, backup ?? '');
      const again = await replay('--receipts', folder);
      expect(again.outcome, again.stderr).toMatchObject({ restored: 1, erasures: 1, back: 1, rows: 3, reasons: [] });
      expect(again.stderr).toContain('other.json is passed over: the file is no receipt of an erasure');
      expect(await programs?.dump(url)).not.toMatch(/canary/i);
      expect((await bench.erasures.get(caller, id)).erasure.state).toBe('complete');
      await bench.sources.remove(caller, source.id);
    });
  }, 180_000);

  it('says where it could not look and what refuses, and fails', async () => {
    await withSchema(SHOP, async (client, url) => {
      const caller = await bench.caller();
      await bench.declare(caller, url, ANNOTATIONS);
      await erased(caller, 'canary-1@example.com');
      await bench.sources.create(caller, { name: 'away', kind: 'postgres', address: 'postgres://nobody:x@127.0.0.1:1/none?sslmode=disable', annotations: ANNOTATIONS });
      // Somebody is back where a trigger refuses.
      await client.query(`update customer set email = 'canary-1@example.com' where id = 1; create function no() returns trigger language plpgsql as $$ begin raise exception 'no'; end $$; create trigger no before update on customer for each row execute function no()`);
      const { code, outcome } = await replay();
      expect([code, outcome]).toEqual([1, expect.objectContaining({ back: 1, reasons: expect.arrayContaining([expect.stringMatching(/^away: the connection was refused/), expect.stringMatching(/^shop: a trigger refuses the erasure/)]) })]);
    });
  }, 180_000);
});
