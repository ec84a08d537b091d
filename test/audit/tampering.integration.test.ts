import { spawn } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import pg from 'pg';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { BadInput, verifyExport, type Verdict } from '../../clients/audit/verify.ts';
import { fromRow, entries } from '../../database/audit-log.ts';
import { exportLog } from '../../platform/audit/export.ts';
import { encodeEntry } from '../../schemas/audit/entry.ts';
import { hashLeaf } from '../../schemas/audit/merkle.ts';
import { auditOrigin } from '../../schemas/audit/note.ts';
import { GrowingTree } from '../../schemas/audit/tree.ts';
import { createTestDatabase, type TestDatabase } from '../environment/database.ts';
import { act, auditHouse, type AuditHouse } from './acts.ts';

const CLI = join(import.meta.dirname, '../../cli/audit.ts');

/** What whoever rules the database can do, and what verification then says. */
describe('tampering by a superuser', () => {
  let test: TestDatabase;
  let house: AuditHouse;
  let superuser: pg.Client;
  let orgId: string;
  beforeAll(async () => {
    test = await createTestDatabase();
    house = await auditHouse(test.database);
  });
  beforeEach(async () => {
    superuser = new pg.Client({ connectionString: test.url });
    await superuser.connect();
    orgId = await test.organisation();
    // Checkpoints of 10, 20 and 30 entries, five more entries without.
    for (let round = 0; round < 3; round++) {
      await house.record(...Array.from({ length: 10 }, (_, index) => act(orgId, { details: { round, index } })));
      await house.sequence(orgId);
      await house.checkpoints.make(orgId);
    }
    await house.record(...Array.from({ length: 5 }, () => act(orgId)));
    await house.sequence(orgId);
  });
  afterEach(() => superuser.end());
  afterAll(async () => {
    await house.close();
    await test.drop();
  });

  const exported = async (from = 0) => {
    const lines: string[] = [];
    for await (const line of exportLog(house.log, orgId, from)) lines.push(JSON.stringify(line));
    return lines;
  };
  const witnessLines = async () => (await readFile(house.witnessFile(orgId), 'utf8')).split('\n');
  const keys = () => ({ log: String(house.signer.logKey(auditOrigin(orgId))), witness: String(house.witness.key) });
  const verify = async (lines?: string[]): Promise<Verdict> => verifyExport({ lines: lines ?? (await exported()), logKey: keys().log, witness: { lines: await witnessLines(), key: keys().witness } });
  const found = (verdict: Verdict) => verdict.findings.map(({ kind, entries: about }) => [kind, about?.first, about?.last]);
  const run = (statement: string, ...values: unknown[]) => superuser.query(statement.replaceAll('ORG', `'${orgId}'`), values);
  /** Hashes everything anew, as an attacker would who knows the format. */
  const rebuild = async () => {
    const all = (await entries(test.database.system).where('e.org_id', '=', orgId).orderBy('e.seq').execute()).map(fromRow);
    const tree = new GrowingTree();
    for (const { entry } of all) {
      const leafHash = hashLeaf(encodeEntry(entry));
      tree.append(leafHash);
      await run('update audit_entries set leaf_hash = $1 where org_id = ORG and seq = $2', leafHash, entry.seq);
    }
    await run('update audit_trees set size = $1, roots = $2 where org_id = ORG', Number(tree.size), Buffer.concat(tree.roots));
  };
  const shift = (by: number, from: number) => run(`update audit_entries set seq = -seq where org_id = ORG and seq >= $1`, from).then(() => run('update audit_entries set seq = -seq + $1 where org_id = ORG and seq < 0', by));

  it('finds nothing in a log nobody touched, also in a part of it and after erasure', async () => {
    expect(await verify()).toMatchObject({ from: 0, to: 35, proven: 30, checkpoints: 3, witnessed: true, findings: [] });
    expect(await verify(await exported(13))).toMatchObject({ from: 13, to: 35, proven: 30, checkpoints: 2, findings: [] });
    await run('delete from audit_personal where org_id = ORG');
    expect(await verify()).toMatchObject({ proven: 30, findings: [] });
    const lines = await exported();
    expect(await verifyExport({ lines, logKey: keys().log })).toMatchObject({ proven: 30, witnessed: false, findings: [] });
  });

  it('finds an update, and names the entry', async () => {
    await run("update audit_entries set actor_id = 'somebody else' where org_id = ORG and seq = 12");
    expect(found(await verify())).toEqual([['changed', 12, 12]]);
  });

  it('finds an update of details, and of a personal value', async () => {
    await run(`update audit_entries set details = '{"round": 9}' where org_id = ORG and seq = 3`);
    await run(`update audit_personal set fields = jsonb_set(fields, '{address,value}', '"203.0.113.9"') where org_id = ORG and seq = 7`);
    expect(found(await verify())).toEqual([['changed', 3, 3], ['personal', 7, 7]]);
  });

  it('finds an update whose hash was made anew', async () => {
    await run("update audit_entries set actor_id = 'somebody else' where org_id = ORG and seq = 12");
    await rebuild();
    expect(found(await verify())).toEqual([['rewritten', 10, 19]]);
  });

  it('finds a delete that left its gap', async () => {
    await run('delete from audit_personal where org_id = ORG and seq = 17');
    await run('delete from audit_entries where org_id = ORG and seq = 17');
    expect(found(await verify())).toEqual([['missing', 17, 17]]);
  });

  it('finds a delete with everything renumbered and hashed anew', async () => {
    await run('delete from audit_personal where org_id = ORG');
    await run('delete from audit_entries where org_id = ORG and seq = 17');
    await shift(-1, 18);
    await rebuild();
    expect(found(await verify())).toEqual([['rewritten', 10, 19]]);
  });

  it('finds an insert with everything renumbered and hashed anew', async () => {
    await run('delete from audit_personal where org_id = ORG');
    await shift(1, 5);
    await run(`insert into audit_entries select org_id, 5, gen_random_uuid(), at, 'key.steal', result, actor_kind, actor_id, impersonator_id, resource_kind, resource_id, request_id, risk, details, commitments, leaf_hash
      from audit_entries where org_id = ORG and seq = 4`);
    await rebuild();
    expect(found(await verify())).toEqual([['rewritten', 0, 9]]);
  });

  it('finds two entries that changed places', async () => {
    await run('delete from audit_personal where org_id = ORG');
    await run('update audit_entries set seq = case seq when 21 then -1 else -2 end where org_id = ORG and seq in (21, 22)');
    await run('update audit_entries set seq = case seq when -1 then 22 else 21 end where org_id = ORG and seq < 0');
    expect(found(await verify())).toEqual([['changed', 21, 21], ['changed', 22, 22], ['rewritten', 20, 29]]);
    await rebuild();
    expect(found(await verify())).toEqual([['rewritten', 20, 29]]);
  });

  it('finds a tail that was cut, with its checkpoints', async () => {
    await run('delete from audit_personal where org_id = ORG and seq >= 20');
    await run('delete from audit_entries where org_id = ORG and seq >= 20');
    await run('delete from audit_checkpoints where org_id = ORG and size > 20');
    await rebuild();
    expect(found(await verify())).toEqual([['cut', 20, 29]]);
    // The next checkpoint is refused, even when the log has grown past what was witnessed.
    await house.record(...Array.from({ length: 15 }, () => act(orgId)));
    await house.sequence(orgId);
    await expect(house.checkpoints.make(orgId)).rejects.toThrow(/does not continue/);
  });

  it('finds a log that was built anew from nothing, with forged checkpoints', async () => {
    await run('delete from audit_personal where org_id = ORG');
    await run("update audit_entries set actor_id = 'nobody' where org_id = ORG");
    await rebuild();
    expect(found(await verify())).toEqual([['rewritten', 0, 9]]);
    await run("update audit_checkpoints set note = replace(note, E'\\n10\\n', E'\\n11\\n') where org_id = ORG");
    expect(found(await verify())).toContainEqual(['checkpoint', undefined, undefined]);
  });

  it('finds an entry of another organisation', async () => {
    const lines = (await exported()).map((line) => line.replace(`"entry":{"v":1,"orgId":"${orgId}","seq":8,`, '"entry":{"v":1,"orgId":"00000000-0000-4000-8000-000000000000","seq":8,'));
    expect(found(await verify(lines))).toEqual([['foreign', 8, 8], ['changed', 8, 8]]);
  });

  it('finds a witness file that was changed', async () => {
    const lines = await witnessLines();
    const judge = async (changed: string[]) => found(await verifyExport({ lines: await exported(), logKey: keys().log, witness: { lines: changed, key: keys().witness } }));
    expect(await judge(lines.filter((_, index) => index !== 1))).toEqual([['witness', undefined, undefined]]);
    expect(await judge(lines.map((line) => line.replace(/(— hal9-witness .{20})./, '$1~')))).toContainEqual(['witness', undefined, undefined]);
    const other = house.signer.witnessKey('hal9-witness').toString();
    expect(found(await verifyExport({ lines: await exported(), logKey: keys().log, witness: { lines, key: other } }))).toContainEqual(['witness', undefined, undefined]);
  });

  it('calls what it cannot read bad input', async () => {
    const lines = await exported();
    await expect(verify(lines.slice(0, -1))).rejects.toThrow(BadInput);
    await expect(verify(lines.slice(1))).rejects.toThrow(/header/);
    await expect(verify([...lines.slice(0, 4), 'not json', ...lines.slice(4)])).rejects.toThrow(/line 5 is not JSON/);
    await expect(verify([...lines.slice(0, 4), '{"kind":"entry"}', ...lines.slice(4)])).rejects.toThrow(/line 5/);
    await expect(verifyExport({ lines, logKey: 'no key' })).rejects.toThrow(BadInput);
    await expect(verifyExport({ lines, logKey: String(house.signer.logKey('hal9-audit/other')) })).rejects.toThrow(/the key is of/);
  });

  it('is what the command says, by its exit code', async () => {
    const file = join(house.folder, 'export.ndjson');
    const key = join(house.folder, 'log.vkey');
    const cli = (...args: string[]) => command('verify', file, '--key', key, '--witness', house.witnessFile(orgId), '--witness-key', keys().witness, ...args);
    await writeFile(file, (await exported()).join('\n'));
    await writeFile(key, keys().log);
    expect(await cli()).toEqual({ code: 0, out: expect.stringContaining('ok: the first 30 entries are what was signed') });
    await run("update audit_entries set action = 'nothing.happen' where org_id = ORG and seq = 2");
    await writeFile(file, (await exported()).join('\n'));
    expect(await cli()).toEqual({ code: 1, out: expect.stringContaining('TAMPERED changed entry 2:') });
    const told = await cli('--json');
    expect(JSON.parse(told.out)).toMatchObject({ ok: false, findings: [{ kind: 'changed', entries: { first: 2, last: 2 } }] });
    await writeFile(file, 'nonsense');
    expect((await cli()).code).toBe(2);
    expect((await command('verify', join(house.folder, 'none'), '--key', key)).code).toBe(2);
    expect((await command('verify')).code).toBe(2);
    expect((await command('verify', file, '--unknown')).code).toBe(2);
  });
});

/** Runs the command, as a terminal would. */
async function command(...args: string[]): Promise<{ code: number | null; out: string }> {
  const child = spawn(process.execPath, [CLI, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  let out = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (out += chunk.toString('utf8')));
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
  return { code, out };
}
