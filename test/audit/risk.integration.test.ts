import { randomUUID } from 'node:crypto';
import { Registry } from 'prom-client';
import pg from 'pg';
import pino from 'pino';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { AuditRiskStore } from '../../database/audit-risk.ts';
import { SignalReadStore } from '../../database/signal-reads.ts';
import { HealthStore } from '../../database/health.ts';
import { AuditAlarm } from '../../platform/audit/alarm.ts';
import { RiskWatch } from '../../platform/audit/risk.ts';
import { RISK_RULES } from '../../platform/audit/risk-rules.ts';
import { checkLog } from '../../platform/audit/self-check.ts';
import { AuditSignals } from '../../platform/audit/signals.ts';
import { createTestDatabase, type TestDatabase } from '../environment/database.ts';
import { act, auditHouse, type AuditHouse } from './acts.ts';

describe('risk rules and alarms', () => {
  let test: TestDatabase;
  let house: AuditHouse;
  let signals: AuditSignals;
  beforeAll(async () => {
    test = await createTestDatabase();
    house = await auditHouse(test.database);
    signals = new AuditSignals(test.database, 4);
  });
  afterAll(async () => {
    await house.close();
    await test.drop();
  });
  const watch = () => new RiskWatch(new AuditRiskStore(test.database), signals);
  const sent = async (orgId: string) => {
    const { signals: list } = await new SignalReadStore(test.database).list(orgId, {}, 100, undefined);
    return list.map(({ envelope }): { type: string; data: { rule?: string; acts?: number; seq?: number } } => JSON.parse(envelope));
  };
  const rules = async (orgId: string) => (await sent(orgId)).map(({ data }) => String(data.rule)).toSorted((one, other) => one.localeCompare(other));

  it('sends one signal for a burst, and one for each single act', async () => {
    const orgId = await test.organisation();
    const user = { kind: 'user', id: randomUUID() };
    await house.record(
      ...Array.from({ length: 9 }, () => act(orgId, { actor: user, result: 'refused' })),
      act(orgId, { action: 'role-binding.create', details: { role: 'owner' } }),
      act(orgId, { action: 'role-binding.create', details: { role: 'viewer' } }),
      act(orgId, { action: 'session.create', risk: 80 }),
      act(orgId, { action: 'neuron.change', risk: 80 }),
      act(orgId, { action: 'user.impersonate' }),
      act(orgId, { action: 'audit.erase-personal' }),
    );
    await house.sequence(orgId);
    expect(await watch().advance(orgId)).toEqual({ sent: 5, more: false });
    expect(await rules(orgId)).toEqual(['impersonation', 'personal-erasure', 'risky-act', 'ruling-role', 'unusual-sign-in']);
    // The tenth refusal, and five more of the same stretch of time.
    await house.record(...Array.from({ length: 6 }, () => act(orgId, { actor: user, result: 'refused' })), ...Array.from({ length: 12 }, () => act(orgId, { result: 'refused' })));
    await house.sequence(orgId);
    await watch().advance(orgId);
    expect((await rules(orgId)).filter((rule) => rule === 'refusals')).toHaveLength(1);
    expect((await sent(orgId)).find(({ data }) => data.rule === 'refusals')?.data).toMatchObject({ acts: 10, seq: 15 });
  });

  it('counts exports, deletions and refused sign-ins', async () => {
    const orgId = await test.organisation();
    const actor = { kind: 'api-key', id: randomUUID() };
    const nobody = { kind: 'nobody', id: 'nobody' };
    const many = (count: number, change: Parameters<typeof act>[1]) => Array.from({ length: count }, () => act(orgId, change));
    await house.record(...many(4, { actor, action: 'audit.export' }), ...many(19, { actor, action: 'neuron.delete' }), ...many(19, { actor: nobody, action: 'session.refuse', result: 'refused' }));
    await house.sequence(orgId);
    await watch().advance(orgId);
    expect(await rules(orgId)).toEqual([]);
    await house.record(act(orgId, { actor, action: 'usage.export' }), act(orgId, { actor, action: 'team.delete' }), act(orgId, { actor: nobody, action: 'session.refuse', result: 'refused' }));
    await house.sequence(orgId);
    await watch().advance(orgId);
    expect(await rules(orgId)).toEqual(['deletions', 'export-burst', 'sign-in-refusals']);
  });

  it('judges the night by UTC', async () => {
    const rule = RISK_RULES.find(({ name }) => name === 'key-at-night');
    const orgId = await test.organisation();
    await house.record(act(orgId, { action: 'api-key.create' }));
    await house.sequence(orgId);
    const entry = (await house.log.find(orgId, 0))?.entry ?? raise();
    const count = () => Promise.resolve(0);
    expect(rule?.judge({ ...entry, at: '2026-01-01T05:59:59.999Z' }, count)).toMatchObject({ score: 40 });
    expect(rule?.judge({ ...entry, at: '2026-01-01T22:00:00.000Z' }, count)).toMatchObject({ score: 40 });
    expect(rule?.judge({ ...entry, at: '2026-01-01T06:00:00.000Z' }, count)).toBeUndefined();
  });

  it('sends a signal once though it judged the act twice', async () => {
    const orgId = await test.organisation();
    await house.record(act(orgId, { action: 'user.impersonate' }));
    await house.sequence(orgId);
    const crashing = new RiskWatch(new AuditRiskStore(test.database), {
      async send(...args) {
        await signals.send(...args);
        throw new Error('the process died here');
      },
    });
    await expect(crashing.advance(orgId)).rejects.toThrow('died here');
    expect(await watch().advance(orgId)).toEqual({ sent: 1, more: false });
    expect(await sent(orgId)).toHaveLength(1);
    expect(await watch().advance(orgId)).toEqual({ sent: 0, more: false });
    expect(await new AuditRiskStore(test.database).dueOfAllOrganisations(1000)).not.toContain(orgId);
  });

  it('checks a log against its witness and raises the alarm once', async () => {
    const orgId = await test.organisation();
    await house.record(...Array.from({ length: 300 }, () => act(orgId)));
    await house.sequence(orgId);
    await house.checkpoints.make(orgId);
    const check = () => checkLog(house, orgId);
    expect(await check()).toEqual([]);
    const alarm = new AuditAlarm({ database: test.database, logger: pino({ level: 'silent' }), registry: new Registry(), lanes: 4 });
    const health = async () => (await new HealthStore(test.database).listForPlatform()).find(({ name }) => name === 'audit-log')?.state;
    await alarm.report(orgId, []);
    await alarm.beat();
    expect(await health()).toBe('healthy');
    const owner = new pg.Client({ connectionString: test.url });
    await owner.connect();
    await owner.query("update audit_entries set result = 'refused' where org_id = $1 and seq = 41", [orgId]);
    await owner.query("update audit_nodes set hash = sha256('other') where org_id = $1", [orgId]);
    const findings = await check();
    expect(findings.map(({ kind, entries }) => [kind, entries?.first])).toEqual([['changed', 41], ['rewritten', undefined]]);
    await owner.query('delete from audit_nodes where org_id = $1', [orgId]);
    expect((await check()).map(({ kind, entries }) => [kind, entries?.first, entries?.last])).toEqual([['changed', 41, 41], ['missing', 0, 255]]);
    await owner.end();
    await alarm.report(orgId, findings);
    await alarm.report(orgId, findings);
    expect(await health()).toBe('unhealthy');
    expect((await sent(orgId)).map(({ type }) => type)).toEqual(['dev.hal9.audit.tampered']);
  });
});

function raise(): never {
  throw new Error('not there');
}
