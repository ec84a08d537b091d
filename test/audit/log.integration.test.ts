import { randomUUID } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { sql } from 'kysely';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { encodeEntry } from '../../schemas/audit/entry.ts';
import { hashLeaf, verifyConsistency, verifyInclusion } from '../../schemas/audit/merkle.ts';
import { auditOrigin, checkpointText, parseCheckpoint, parseNote } from '../../schemas/audit/note.ts';
import { consistencyRanges, inclusionRanges } from '../../schemas/audit/tree.ts';
import { recordAct } from '../../database/audit-acts.ts';
import { WitnessRefusal } from '../../platform/audit/witness.ts';
import { createTestDatabase, type TestDatabase } from '../environment/database.ts';
import { act, auditHouse, type AuditHouse } from './acts.ts';

describe('audit log', () => {
  let test: TestDatabase;
  let house: AuditHouse;
  beforeAll(async () => {
    test = await createTestDatabase();
    house = await auditHouse(test.database);
  });
  afterAll(async () => {
    await house.close();
    await test.drop();
  });
  const rows = async (orgId: string) => (await sql<{ seq: number }>`select seq from audit_entries where org_id = ${orgId} order by seq`.execute(test.database.system)).rows.map(({ seq }) => seq);

  it('numbers what was committed and nothing else, and empties the waiting table', async () => {
    const orgId = await test.organisation();
    await house.record(act(orgId), act(orgId));
    await expect(
      test.database.withOrg(orgId, async (tx) => {
        await recordAct(tx, act(orgId));
        throw new Error('the cause failed');
      }),
    ).rejects.toThrow('the cause failed');
    expect(await house.sequencer.waitingOfAllOrganisations()).toContain(orgId);
    expect(await house.sequence(orgId)).toBe(2);
    expect(await rows(orgId)).toEqual([0, 1]);
    expect(await house.sequencer.waitingOfAllOrganisations()).not.toContain(orgId);
    const [entry] = await house.log.list(orgId, {}, 1);
    expect(entry?.leafHash).toEqual(hashLeaf(encodeEntry(entry?.entry ?? raise())));
  });

  it('neither forks nor leaves gaps while several sequencers and writers compete', async () => {
    const [one, other] = [await test.organisation(), await test.organisation()];
    const writers = Array.from({ length: 20 }, async () => {
      for (let index = 0; index < 15; index++) await house.record(act(one), act(other));
    });
    let writing = true;
    const sequencers = Array.from({ length: 3 }, async () => {
      while (writing) for (const orgId of [one, other]) await house.sequencer.sequenceAcrossOrganisations(orgId);
    });
    await Promise.all(writers);
    writing = false;
    await Promise.all(sequencers);
    for (const orgId of [one, other]) {
      await house.sequence(orgId);
      expect(await rows(orgId)).toEqual(Array.from({ length: 300 }, (_, index) => index));
      const head = await house.log.head(orgId);
      expect(head.size).toBe(300n);
      expect(await house.log.roots(orgId, [{ start: 0n, end: 300n }])).toEqual([head.root]);
    }
  });

  it('proves each entry and each earlier tree over the kept subtrees', async () => {
    const orgId = await test.organisation();
    const sizes: { size: bigint; root: Uint8Array }[] = [];
    for (const count of [1, 254, 1, 1, 300]) {
      await sql`insert into audit_acts (org_id, id, action, result, actor_kind, actor_id, resource_kind, resource_id, request_id)
        select ${orgId}::uuid, uuidv7(), 'thing.change', 'succeeded', 'user', 'u', 'thing', n::text, 'r' from generate_series(1, ${count}::int) as n`.execute(test.database.system);
      await house.sequence(orgId);
      sizes.push(await house.log.head(orgId));
    }
    const head = sizes.at(-1) ?? raise();
    for (const seq of [0, 255, 256, 511, 556]) {
      const logged = await house.log.find(orgId, seq);
      const proof = await house.log.roots(orgId, inclusionRanges(BigInt(seq), head.size));
      expect(verifyInclusion({ leafIndex: BigInt(seq), treeSize: head.size, root: head.root, leafHash: logged?.leafHash ?? raise(), proof })).toBe(true);
    }
    for (const earlier of sizes) {
      const proof = await house.log.roots(orgId, consistencyRanges({ start: 0n, end: earlier.size }, head.size));
      expect(verifyConsistency({ size1: earlier.size, size2: head.size, root1: earlier.root, root2: head.root, proof })).toBe(true);
    }
  });

  it('erases the personal values of a user, waiting or numbered, and stays provable', async () => {
    const orgId = await test.organisation();
    const user = randomUUID();
    await house.record(act(orgId, { actor: { kind: 'user', id: user } }), act(orgId, { resource: { kind: 'user', id: user } }), act(orgId, { impersonatorId: user }), act(orgId));
    await house.sequence(orgId);
    await house.record(act(orgId, { actor: { kind: 'user', id: user }, personal: { userName: 'half \ud800 and nul \0' } }));
    const before = await house.log.head(orgId);
    expect(await house.log.erasePersonal(orgId, user, act(orgId, { action: 'audit.erase-personal', personal: {} }))).toBe(4);
    expect(await house.log.erasePersonal(orgId, user, act(orgId, { action: 'audit.erase-personal', personal: {} }))).toBe(0);
    expect((await house.log.list(orgId, {}, 10)).map(({ opened }) => Object.keys(opened))).toEqual([['address', 'userAgent'], [], [], []]);
    expect(await house.log.head(orgId)).toEqual(before);
    await house.sequence(orgId);
    expect((await house.log.find(orgId, 4))?.entry.commitments).toEqual({});
    expect((await house.log.list(orgId, { action: 'audit.erase-personal' }, 9)).map(({ entry }) => entry.details['erased'])).toEqual([0, 4]);
    const { rows: left } = await sql<{ n: number }>`select count(*)::int as n from audit_personal where org_id = ${orgId} and fields::text like '%half%'`.execute(test.database.system);
    expect(left).toEqual([{ n: 0 }]);
  });

  it('erases personal values past their time, a bounded number at once', async () => {
    const orgId = await test.organisation();
    await house.record(act(orgId), act(orgId), act(orgId), act(orgId));
    await house.sequence(orgId);
    const owner = new pg.Client({ connectionString: test.url });
    await owner.connect();
    await owner.query("update audit_personal set at = at - interval '31 days' where org_id = $1 and seq < 3", [orgId]);
    await owner.end();
    expect(await house.log.erasePersonalAcrossOrganisations(30, 2)).toBe(2);
    expect(await house.log.erasePersonalAcrossOrganisations(30, 2)).toBe(1);
    expect(await house.log.erasePersonalAcrossOrganisations(30, 2)).toBe(0);
    expect((await house.log.list(orgId, {}, 10)).map(({ opened }) => Object.keys(opened).length)).toEqual([2, 0, 0, 0]);
  });

  it('witnesses checkpoints that continue each other, and refuses all else', async () => {
    const orgId = await test.organisation();
    const origin = auditOrigin(orgId);
    await house.checkpoints.make(orgId);
    expect(await house.log.checkpoints(orgId, 10)).toEqual([]);
    for (const count of [1, 4, 9]) {
      await house.record(...Array.from({ length: count }, () => act(orgId)));
      await house.sequence(orgId);
      await house.checkpoints.make(orgId);
      await house.checkpoints.make(orgId);
    }
    const stored = await house.log.checkpoints(orgId, 10);
    expect(stored.map(({ size }) => size)).toEqual([14, 5, 1]);
    const note = parseNote(stored[0]?.note ?? '');
    expect(house.signer.logKey(origin).hasSigned(note)).toBe(true);
    expect(house.witness.key.hasSigned(note)).toBe(true);
    expect(house.signer.logKey(auditOrigin(randomUUID())).hasSigned(note)).toBe(false);
    expect(parseCheckpoint(note.text)).toEqual({ origin, ...(await house.log.head(orgId)) });
    expect((await (await house.reopenWitness()).latest(origin))?.size).toBe(14n);

    const log = house.signer.logKey(origin);
    const submit = (checkpoint: { size: bigint; root: Uint8Array }, proof: readonly Uint8Array[] = []) => house.witness.add({ note: house.signer.note(origin, checkpointText({ origin, ...checkpoint })), log, proof });
    const root = Buffer.alloc(32, 7);
    await expect(submit({ size: 14n, root })).rejects.toThrow(WitnessRefusal);
    await expect(submit({ size: 5n, root })).rejects.toThrow(WitnessRefusal);
    await expect(submit({ size: 20n, root }, [root])).rejects.toThrow(WitnessRefusal);
    await expect(house.witness.add({ note: house.signer.note('hal9-audit/else', checkpointText({ origin, size: 20n, root })), log, proof: [] })).rejects.toThrow(/not signed/);
  });

  it('a witness goes on after a crash within a line, and notices a changed or cut file', async () => {
    const orgId = await test.organisation();
    await house.record(act(orgId));
    await house.sequence(orgId);
    await house.checkpoints.make(orgId);
    const file = house.witnessFile(orgId);
    const whole = await readFile(file, 'utf8');
    await writeFile(file, `${whole}{"previous":"half`);
    await house.record(act(orgId));
    await house.sequence(orgId);
    await house.checkpoints.make(orgId);
    const two = await readFile(file, 'utf8');
    expect(two.startsWith(whole)).toBe(true);
    expect(two.trim().split('\n')).toHaveLength(2);
    await writeFile(file, two.replace('"note":"', '"note":" '));
    await expect((await house.reopenWitness()).latest(auditOrigin(orgId))).rejects.toThrow(/was changed/);
    await writeFile(file, whole);
    await expect(house.witness.latest(auditOrigin(orgId))).rejects.toThrow(/was cut/);
  });
});

function raise(): never {
  throw new Error('not there');
}
