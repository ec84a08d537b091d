import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { act, reconcile, refusal } from '../../activities/host/actions.ts';
import { gatherEvidence } from '../../activities/host/evidence.ts';
import { Sessions, withoutLiterals } from '../../activities/host/sessions.ts';
import { postgresProbe } from '../../workers/host/postgres-probe.ts';
import { createTestDatabase, type TestDatabase } from '../environment/database.ts';
import { lockPileUp } from '../remediate/lock-pile-up.ts';
import { testPolicy } from './policy.ts';

describe('PostgreSQL as the agent sees it', () => {
  const mark = `mark-${randomUUID().slice(0, 8)}`;
  let test: TestDatabase;
  let sessions: Sessions;
  beforeAll(async () => {
    test = await createTestDatabase();
    sessions = new Sessions(test.url);
  });
  afterAll(async () => {
    await sessions.close();
    await test.drop();
  });

  it('finds the root of a pile-up, measures it, and ends nothing else', async () => {
    const probe = postgresProbe('postgres/a', test.url);
    await probe.read();
    const pileUp = await lockPileUp(test.url, mark, 3);
    await new Promise((resolve) => setTimeout(resolve, 1200));
    const readings = await probe.read();
    const value = (metric: string) => readings.find((reading) => reading.metric === `postgres.${metric}`);
    expect(value('blocked')).toMatchObject({ value: 3, facts: { blockerPid: pileUp.holderPid } });
    expect(value('lockwait')?.value).toBeGreaterThan(1);
    expect(value('up')?.value).toBe(1);
    const [root, ...others] = (await sessions.rootBlockers()).filter((session) => session.applicationName.startsWith(mark));
    expect(others).toEqual([]);
    expect(root).toMatchObject({ pid: pileUp.holderPid, waiting: 3, state: 'idle in transaction' });
    if (root === undefined) throw new Error('no root');

    const reach = { policy: testPolicy(mark), sessions };
    const target = { kind: 'session' as const, pid: root.pid, backendStart: root.backendStart, applicationName: root.applicationName };
    expect(await refusal({ action: 'terminateBackend', target }, { ...reach, policy: testPolicy('other') })).toMatch(/not on the list/);
    expect(await refusal({ action: 'terminateBackend', target: { ...target, backendStart: '2000-01-01 00:00:00+00' } }, reach)).toMatch(/not the root/);
    expect(await reconcile({ action: 'terminateBackend', target }, reach)).toMatchObject({ state: 'failed' });
    expect(await refusal({ action: 'terminateBackend', target }, reach)).toBeUndefined();
    expect(await act({ action: 'terminateBackend', target }, reach)).toMatchObject({ state: 'done' });
    expect((await pileUp.waiters).every((waiter) => waiter.status === 'fulfilled')).toBe(true);
    expect(await reconcile({ action: 'terminateBackend', target }, reach)).toMatchObject({ state: 'done' });
    await pileUp.end();
    await probe.close?.();
  });

  it('tells in the evidence whether there was no database to ask, or asking failed', async () => {
    const policy = testPolicy(mark);
    expect(await gatherEvidence(policy, undefined)).toMatchObject({ sessions: null, sessionsFailure: null });
    expect(await gatherEvidence(policy, sessions)).toMatchObject({ sessions: expect.any(Array), sessionsFailure: null });
    const away = new Sessions('postgres://canary:canary@127.0.0.1:9/none');
    const evidence = await gatherEvidence(policy, away);
    expect(evidence).toMatchObject({ sessions: null, sessionsFailure: 'PostgreSQL did not tell which sessions block others (ECONNREFUSED)' });
    expect(JSON.stringify(evidence)).not.toContain('canary');
    await away.close();
  });

  it('says that a server is down', async () => {
    const probe = postgresProbe('postgres/a', 'postgres://x:y@127.0.0.1:9/none');
    expect(await probe.read()).toMatchObject([{ metric: 'postgres.up', value: 0 }]);
    await probe.close?.();
  });

  it('keeps literals out of statements', () => {
    expect(withoutLiterals("update people set name = 'O''Brien', age = 41.5 where id = $1 and note = $tag$ secret $tag$")).toBe('update people set name = ?, age = ? where id = $? and note = ?');
    expect(withoutLiterals("select 'unterminated secret")).toBe('select ?');
  });
});
