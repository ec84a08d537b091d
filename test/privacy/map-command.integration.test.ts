import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const COMMAND = join(import.meta.dirname, '../../deploy/local/privacy-map.ts');
const data = process.env['HAL9_TEST_DATA'];
const sample = data === undefined ? undefined : join(data, 'privacy');
const present = sample !== undefined && existsSync(sample);
if (!present) console.log('NOT RUN: the data map of a published schema; set HAL9_TEST_DATA to the folder that holds privacy/');

interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

function map(args: readonly string[]): Promise<Outcome> {
  return new Promise((settle) => {
    execFile(process.execPath, [COMMAND, ...args], { maxBuffer: 64 * 1024 * 1024, timeout: 120_000 }, (error, stdout, stderr) => settle({ code: error === null ? 0 : Number(error.code), stdout, stderr }));
  });
}

describe('the command privacy map', () => {
  let folder = '';
  const file = async (name: string, content: string): Promise<string> => {
    await writeFile(join(folder, name), content);
    return join(folder, name);
  };
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'hal9-map-'));
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  it('loads a dump with roles and rows of its own, passes over what is not about tables, and leaves nothing behind', async () => {
    const sql = await file(
      'dump.sql',
      '\\restrict x\nset client_encoding = \'UTF8\';\ncreate extension if not exists citext;\ncreate table public.person (email citext primary key, nick text);\nalter table public.person owner to "Shop Owner";\ngrant select on public.person to reporting;\ncopy public.person (email, nick) from stdin;\na@example.com\tA\n\\.\ncreate event trigger e on ddl_command_end execute function f();\n\\unrestrict x\n',
    );
    const dataset = await file('person.yml', 'source: s\ntables:\n  person: {columns: {email: {category: user.contact.email, identity: email}}}\n');
    const before = (await readdir(tmpdir())).filter((name) => name.startsWith('hal9-scratch-'));
    const { code, stdout, stderr } = await map(['map', '--sql', sql, '--dataset', dataset, '--json']);
    expect(stderr).toBe('');
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ ok: true, erasureOrder: ['public.person'], passedOver: [{ line: 5, reason: 'permission denied for schema public' }, { line: 10, statement: 'create event trigger e on ddl_command_end execute function f()' }] });
    expect((await readdir(tmpdir())).filter((name) => name.startsWith('hal9-scratch-') && !before.includes(name))).toEqual([]);
  });

  it('says on which line the SQL fails, and lets it reach neither files nor programs', async () => {
    const dataset = await file('any.yml', 'source: s\ntables: {}\n');
    const broken = await map(['map', '--sql', await file('broken.sql', 'create table a (id int);\n\ncreate table b (id nosuchtype);\n'), '--dataset', dataset, '--json']);
    expect(broken.code).toBe(2);
    expect(JSON.parse(broken.stdout)).toMatchObject({ ok: false, refused: [{ code: 'unusable', reason: expect.stringContaining('line 3: type "nosuchtype" does not exist') }] });
    for (const reach of [`copy (select 1) to program 'id'`, `select pg_read_file('/etc/passwd')`]) {
      expect(await map(['map', '--sql', await file('reach.sql', reach), '--dataset', dataset])).toMatchObject({ code: 2, stdout: '', stderr: expect.stringContaining('permission denied') });
    }
  });

  it('explains itself, and refuses annotations it cannot read', async () => {
    expect(await map(['map', '--sql', 'x'])).toMatchObject({ code: 2, stderr: expect.stringContaining('Usage:') });
    expect(await map(['map', '--sql', '/nowhere.sql', '--dataset', '/nowhere.yml'])).toMatchObject({ code: 2, stderr: expect.stringContaining('/nowhere.yml') });
    const sql = await file('one.sql', 'select 1;');
    for (const [text, reason] of [['a: [', 'not YAML'], ['', 'are empty'], ['source: s\ntables: {t: {columns: {c: {categry: x}}}}', '/tables/t/columns/c'], ['dataset: []', '/dataset']] as const) {
      expect(await map(['map', '--sql', sql, '--dataset', await file('bad.yml', text)]), text).toMatchObject({ code: 2, stderr: expect.stringContaining(reason) });
    }
  });

  it.skipIf(!present)('maps a published schema of fifteen tables', async () => {
    const { code, stdout } = await map(['map', '--sql', join(sample ?? '', 'postgres_sample.sql'), '--dataset', join(sample ?? '', 'postgres_example_test_dataset.yml'), '--json']);
    expect(code).toBe(0);
    const report = JSON.parse(stdout) as { traversal: { table: string; step: number; from: { table: string }[] }[]; erasureOrder: string[]; erasure: { tables: { table: string; mask: { column: string }[] }[] }[]; findings: { code: string; table: string }[] };
    expect(report.traversal).toHaveLength(11);
    // What was found is erased before what it was found through.
    for (const { table, from } of report.traversal) for (const { table: through } of from) expect(report.erasureOrder.indexOf(table)).toBeLessThan(report.erasureOrder.indexOf(through));
    const masked = report.erasure.flatMap(({ tables }) => tables).flatMap(({ table, mask }) => mask.map(({ column }) => `${table}.${column}`));
    expect(masked).toContain('public.payment_card.ccn');
    expect(masked).not.toContain('public.service_request.email');
    expect(masked.filter((column) => /\.(id|address_id)$/.test(column))).toEqual([]);
    const unknown = report.findings.filter((finding) => finding.code === 'unannotated-table').map(({ table }) => table);
    expect(unknown.filter((table) => table.startsWith('public.'))).toEqual(['public.composite_pk_test', 'public.dynamic_email_address_config', 'public.loyalty', 'public.type_link_test']);
    expect(unknown.filter((table) => table.startsWith('backup_schema.'))).toHaveLength(13);
  });
});
