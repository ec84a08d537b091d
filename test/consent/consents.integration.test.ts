import { createHash, randomBytes } from 'node:crypto';
import { sql } from 'kysely';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Consents, type ConsentDecision } from '../../platform/consent/consents.ts';
import { systemCaller } from '../../platform/identity/caller.ts';
import { KeyRing } from '../../platform/keys/key-ring.ts';
import { createTestDatabase, type TestDatabase } from '../environment/database.ts';

const given = (fields: Partial<ConsentDecision> = {}): ConsentDecision => ({ subject: 'ada@example.org', purpose: 'newsletter', state: 'given', legalBasis: 'consent', textVersion: '2026-01', source: 'signup-form', ...fields });

describe('consents', () => {
  let test: TestDatabase;
  const keys = new KeyRing([{ id: 'a', key: randomBytes(32) }]);
  let here: Consents;
  let elsewhere: Consents;
  beforeAll(async () => {
    test = await createTestDatabase();
    const changes = { prepare: () => Promise.reject(new Error('nothing is carried on here')) };
    [here, elsewhere] = [new Consents({ database: test.database, keys, changes }), new Consents({ database: test.database, keys, changes })];
  });
  afterAll(() => test.drop());

  it('are withdrawn at once, in every process', async () => {
    const caller = systemCaller(await test.organisation(), 'test');
    expect(await elsewhere.consentFor(caller.orgId, 'ada@example.org', 'newsletter')).toBeUndefined();
    await here.record(caller, given());
    expect(await elsewhere.consentFor(caller.orgId, 'ada@example.org', 'newsletter')).toMatchObject({ state: 'given', textVersion: '2026-01', legalBasis: 'consent' });
    // A source that reports an older decision late does not give it back: what is recorded last counts.
    await here.record(caller, given({ state: 'withdrawn', at: new Date('2026-01-01T00:00:00Z') }));
    expect(await elsewhere.consentFor(caller.orgId, 'ada@example.org', 'newsletter')).toMatchObject({ state: 'withdrawn' });
    expect(await elsewhere.consentFor(caller.orgId, 'ada@example.org', 'profiling')).toBeUndefined();
    expect((await elsewhere.history(caller, 'ada@example.org')).map(({ state }) => state)).toEqual(['withdrawn', 'given']);
    await expect(here.record(caller, given({ at: new Date(Date.now() + 3_600_000) }))).rejects.toMatchObject({ type: 'InvalidInput' });
  });

  it('name nobody: the subject is a keyed hash of the organisation, the proof a hash', async () => {
    const [one, two] = [systemCaller(await test.organisation(), 'test'), systemCaller(await test.organisation(), 'test')];
    const [first, second] = [await here.record(one, given({ proof: 'the form as sent' })), await here.record(two, given())];
    expect(first.subject.equals(second.subject)).toBe(false);
    expect(first.subject.equals(createHash('sha256').update('ada@example.org').digest())).toBe(false);
    expect(first.proofHash?.toString('hex')).toBe(createHash('sha256').update('the form as sent').digest('hex'));
    const stored = await sql<{ row: string }>`select row_to_json(c)::text as row from consent_records c where org_id = ${one.orgId}`.execute(test.database.system);
    const acts = await sql<{ row: string }>`select row_to_json(a)::text as row from audit_acts a where org_id = ${one.orgId}`.execute(test.database.system);
    expect(acts.rows[0]?.row).toContain('consent.give');
    for (const { row } of [...stored.rows, ...acts.rows]) expect(row).not.toMatch(/ada@|form as sent/);
    expect(await here.consentFor(two.orgId, 'ada@example.org', 'newsletter')).toMatchObject({ id: second.id });
  });

  it('are counted by purpose as they stand', async () => {
    const caller = systemCaller(await test.organisation(), 'test');
    for (const subject of ['a', 'b', 'c']) await here.record(caller, given({ subject }));
    await here.record(caller, given({ subject: 'a', state: 'withdrawn' }));
    await here.record(caller, given({ subject: 'a', purpose: 'profiling', legalBasis: 'explicit-consent' }));
    expect(await here.purposes(caller)).toEqual([{ purpose: 'newsletter', given: 2, withdrawn: 1 }, { purpose: 'profiling', given: 1, withdrawn: 0 }]);
  });

  it('stand in one order when many decide at once', async () => {
    const caller = systemCaller(await test.organisation(), 'test');
    const answers = await Promise.all(Array.from({ length: 12 }, (_, n) => here.record(caller, given({ state: n % 2 === 0 ? 'given' : 'withdrawn' }))));
    const [last] = await here.history(caller, 'ada@example.org');
    expect(answers.map(({ id }) => id)).toContain(last?.id);
    expect(await here.consentFor(caller.orgId, 'ada@example.org', 'newsletter')).toEqual(last);
  });

  it('are changed by nobody', async () => {
    const caller = systemCaller(await test.organisation(), 'test');
    await here.record(caller, given());
    await expect(test.database.withOrg(caller.orgId, (tx) => tx.updateTable('consent_records').set({ state: 'withdrawn' }).execute())).rejects.toThrow('permission denied');
    const owner = new pg.Client({ connectionString: test.url });
    await owner.connect();
    await expect(owner.query("update consent_records set state = 'withdrawn'")).rejects.toThrow('does not change');
    await owner.end();
  });
});
