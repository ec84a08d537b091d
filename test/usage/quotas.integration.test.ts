import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { sql } from 'kysely';
import pg from 'pg';
import pino from 'pino';
import { Registry } from 'prom-client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { PlanStore } from '../../database/plans.ts';
import { RunStore } from '../../database/runs.ts';
import { SignalStore } from '../../database/signals.ts';
import { Budgets } from '../../platform/budgets/budgets.ts';
import { ApiKeys } from '../../platform/identity/api-keys.ts';
import { KeyRing } from '../../platform/keys/key-ring.ts';
import { systemCaller } from '../../platform/identity/caller.ts';
import { IngestMetrics } from '../../platform/signals/metrics.ts';
import { SignalIngest } from '../../platform/signals/ingest.ts';
import { SignalReceiver } from '../../platform/signals/receive.ts';
import { Plans } from '../../platform/usage/plans.ts';
import { tellPassedQuotas } from '../../platform/usage/quota-alerts.ts';
import { QuotaGate } from '../../platform/usage/quota-gate.ts';
import { toHalError } from '../../platform/failures/translate.ts';
import browserOperation from '../../schemas/operations/browser.ts';
import { entitlementsOf, type PlanName, type PlanOverrides } from '../../schemas/usage/plans.ts';
import { createTestDatabase, type TestDatabase } from '../environment/database.ts';
import { callerOf, ndjson, signalOf } from '../signals/ingest-setup.ts';

const logger = pino({ level: 'silent' });

describe('quotas', () => {
  let test: TestDatabase;
  let plans: PlanStore;
  beforeAll(async () => {
    test = await createTestDatabase();
    plans = new PlanStore(test.database);
  });
  afterAll(() => test.drop());

  const organisation = async (plan: PlanName, overrides: PlanOverrides = {}): Promise<string> => {
    const orgId = await test.organisation();
    await plans.setForAnyOrganisation(orgId, plan, overrides, 'system:test', []);
    return orgId;
  };
  const gateAt = (clock: { now: number }, defaultPlan: PlanName = 'enterprise') => new QuotaGate({ database: test.database, defaultPlan, logger, now: () => clock.now });
  const use = (orgId: string, meter: string, quantity: number) =>
    sql`insert into usage_events (org_id, meter, key, quantity) values (${orgId}, ${meter}, ${randomUUID()}, ${quantity})`.execute(test.database.system);

  it('refuses what would pass a hard quota, and not before', async () => {
    const orgId = await organisation('free', { quotas: { runs: { soft: 2, hard: 3 } } });
    const gate = gateAt({ now: Date.now() });
    for (let n = 0; n < 3; n++) await gate.admit(orgId, 'runs', 1);
    expect(gate.warning(orgId)).toBe('runs; used=3; soft=2; hard=3');
    await expect(async () => gate.admit(orgId, 'runs', 1)).rejects.toMatchObject({ type: 'QuotaExceeded', message: expect.stringContaining('3 runs a month') });
    await gate.admit(orgId, 'signals', 1);
  });

  it('lets no browser session begin where no browser-second is left', async () => {
    const orgId = await organisation('free', { quotas: { 'browser-seconds': { hard: 10 } } });
    await use(orgId, 'browser-seconds', 10);
    const gate = gateAt({ now: Date.now() });
    await gate.admit(orgId, 'runs', 1);
    await expect(async () => gate.admit(orgId, browserOperation.meter ?? 'runs', 1)).rejects.toMatchObject({ type: 'QuotaExceeded', message: expect.stringContaining('10 browser-seconds a month') });
  });

  it('sees within a second what other processes let through and what the plan became', async () => {
    const orgId = await organisation('free', { quotas: { signals: { hard: 100 } } });
    const clock = { now: Date.now() };
    const gate = gateAt(clock);
    await gate.admit(orgId, 'signals', 10);
    await use(orgId, 'signals', 95);
    expect(gate.admit(orgId, 'signals', 10)).toBeUndefined();
    clock.now += 1001;
    await expect(async () => gate.admit(orgId, 'signals', 10)).rejects.toMatchObject({ type: 'QuotaExceeded' });
    await plans.setForAnyOrganisation(orgId, 'enterprise', {}, 'system:test', []);
    clock.now += 1001;
    await gate.admit(orgId, 'signals', 1_000_000);
    expect(gate.warning(orgId)).toBeUndefined();
  });

  it('lets concurrent callers through up to the quota and no further', async () => {
    const orgId = await organisation('free', { quotas: { runs: { hard: 50 } }, limits: { openRuns: null } });
    const gates = [gateAt({ now: Date.now() })];
    const answers = await Promise.allSettled(Array.from({ length: 200 }, async (_, n) => gates[n % gates.length]?.admit(orgId, 'runs', 1)));
    expect(answers.filter(({ status }) => status === 'fulfilled')).toHaveLength(50);
  });

  it('never waits for a busy organisation without quotas, and holds one that was quiet to what it got meanwhile', async () => {
    const orgId = await test.organisation();
    const clock = { now: Date.now() };
    const gate = gateAt(clock);
    await gate.admit(orgId, 'signals', 1);
    clock.now += 1_500;
    expect(gate.admit(orgId, 'signals', 1)).toBeUndefined();
    clock.now += 2_001;
    const waited = gate.admit(orgId, 'signals', 1);
    expect(waited).toBeInstanceOf(Promise);
    await waited;
    await plans.setForAnyOrganisation(orgId, 'free', { quotas: { signals: { hard: 1 } } }, 'system:test', []);
    clock.now += 2_001;
    await expect(async () => gate.admit(orgId, 'signals', 2)).rejects.toMatchObject({ type: 'QuotaExceeded' });
  });

  it('keeps the plan that was the default when an organisation was first met', async () => {
    const orgId = await test.organisation();
    await gateAt({ now: Date.now() }).admit(orgId, 'signals', 1);
    const set = await plans.ofAnyOrganisation(orgId, 'free');
    expect(set).toMatchObject({ plan: 'enterprise', updatedBy: 'default' });
  });

  it('gives the default plan of the installation', async () => {
    const orgId = await test.organisation();
    const gate = gateAt({ now: Date.now() }, 'free');
    await expect(async () => gate.admit(orgId, 'runs', 1_001)).rejects.toMatchObject({ type: 'QuotaExceeded' });
    await expect(async () => gate.admit(randomUUID(), 'runs', 1)).rejects.toMatchObject({ type: 'NotFound' });
  });

  it('takes in no signals when the storage of the month is used up', async () => {
    const orgId = await organisation('free', { quotas: { 'storage-byte-hours': { hard: 1_000 } } });
    await use(orgId, 'storage-byte-hours', 1_000);
    const gate = gateAt({ now: Date.now() });
    await expect(async () => gate.admit(orgId, 'signals', 1)).rejects.toMatchObject({ type: 'QuotaExceeded', message: expect.stringContaining('1000 storage-byte-hours') });
    await gate.admit(orgId, 'runs', 1);
  });

  it('reserves the tokens of models, so that calls at once stay within the plan', async () => {
    const orgId = await organisation('free', { quotas: { tokens: { hard: 100 } } });
    const budgets = new Budgets(test.database);
    const request = { batchId: randomUUID(), neuronId: randomUUID(), perCascade: {}, worst: { calls: 1, tokens: 30, usd: '0' }, seconds: 60 };
    const answers = await Promise.all(Array.from({ length: 8 }, () => budgets.reserve(orgId, request)));
    expect(answers.filter(({ kind }) => kind === 'reserved')).toHaveLength(3);
    expect(answers).toContainEqual({ kind: 'refused', reason: "the plan's quota of tokens in this month is used up" });
    await plans.setForAnyOrganisation(orgId, 'enterprise', {}, 'system:test', []);
    expect(await budgets.reserve(orgId, request)).toMatchObject({ kind: 'reserved' });
  });

  it('limits open runs, exactly, whichever process is asked', async () => {
    const orgId = await organisation('free', { limits: { openRuns: 5 } });
    const run = (runId: string, origin: string, status: 'running' | 'completed') => ({
      orgId, runId, operation: 'greet', origin, status, tags: [], actor: null, requestId: null, traceparent: null, startedAt: new Date(), closedAt: status === 'running' ? null : new Date(), failure: null,
    });
    const runs = new RunStore(test.database);
    await runs.recordOfAllOrganisations([run('greet~1', 'api', 'running'), run('greet~2', 'api', 'completed'), run('greet~3', 'dispatcher', 'running')]);
    const gates = [gateAt({ now: Date.now() }), gateAt({ now: Date.now() }), gateAt({ now: Date.now() })];
    for (const gate of gates) await gate.admit(orgId, 'runs', 1);
    const names = Array.from({ length: 30 }, (_, n) => `greet~new-${n}`);
    const open = async (runId: string, n: number) => gates[n % 3]?.openRun(orgId, runId);
    const answers = await Promise.allSettled(names.map(open));
    const taken = names.filter((_, n) => answers[n]?.status === 'fulfilled');
    expect(taken).toHaveLength(4);
    expect(answers.find(({ status }) => status === 'rejected')).toMatchObject({ reason: { type: 'QuotaExceeded', message: expect.stringContaining('5 open runs') } });
    const [first = '', second = '', third = '', fourth = ''] = taken;
    // One that came to nothing, and one that was started and has ended, make room; those that are started go on counting, once.
    await gates[0]?.notOpened(orgId, first);
    await runs.recordOfAllOrganisations([run(second, 'api', 'completed'), run(third, 'api', 'running'), run(fourth, 'api', 'running')]);
    const again = await Promise.allSettled(Array.from({ length: 10 }, (_, n) => open(`greet~later-${n}`, n)));
    expect(again.filter(({ status }) => status === 'fulfilled')).toHaveLength(2);
    // Who asks for a run that is open already takes no other place.
    await open(third, 0);
  });

  it('says how much of a stream is in when the quota ends it', async () => {
    const orgId = await organisation('free', { quotas: { signals: { hard: 120 } } });
    const metrics = new IngestMetrics(new Registry());
    const ingest = new SignalIngest(new SignalStore(test.database), metrics);
    const receiver = new SignalReceiver({ ingest, metrics, lanes: 4, keys: new KeyRing([{ id: 't', key: Buffer.alloc(32, 5) }]), admission: gateAt({ now: Date.now() }) });
    const lines = Array.from({ length: 400 }, () => JSON.stringify(signalOf()));
    const failure: unknown = await receiver.stream(callerOf(orgId), ndjson(lines)).catch((error: unknown) => error);
    expect(failure).toMatchObject({ type: 'QuotaExceeded', message: expect.stringMatching(/120 signals a month.* \d+ signals of this request are committed/) });
    const { rows } = await sql<{ n: number }>`select count(*)::int as n from signals where org_id = ${orgId}`.execute(test.database.system);
    expect(rows[0]?.n).toBeLessThanOrEqual(120);
    expect(rows[0]?.n).toBeGreaterThan(100);
    await ingest.close();
  });

  it('keeps to seats and keys by whichever door they come', async () => {
    const orgId = await organisation('free', { limits: { seats: 2, apiKeys: 2 } });
    const seat = (active = true) => {
      const id = randomUUID();
      return test.database.withOrg(orgId, (tx) => tx.insertInto('users').values({ org_id: orgId, id, user_name: id, active }).execute()).then(() => id);
    };
    await seat();
    const taken = await Promise.allSettled([seat(), seat(), seat()]);
    expect(taken.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    const refused = taken.find((entry) => entry.status === 'rejected');
    expect(toHalError(refused?.status === 'rejected' ? refused.reason : undefined)).toMatchObject({ type: 'QuotaExceeded', message: 'the plan has 2 seats and all are taken' });
    const resting = await seat(false);
    await expect(test.database.withOrg(orgId, (tx) => tx.updateTable('users').set({ active: true }).where('id', '=', resting).execute())).rejects.toThrow('2 seats');
    await test.database.withOrg(orgId, (tx) => tx.updateTable('users').set({ display_name: 'Ada' }).where('active', '=', true).execute());

    const keys = new ApiKeys(test.database);
    const caller = systemCaller(orgId, 'test');
    const first = await keys.create(caller, { name: 'a', scopes: ['runs:read'] });
    await keys.create(caller, { name: 'b', scopes: ['runs:read'] });
    await expect(keys.create(caller, { name: 'c', scopes: ['runs:read'] })).rejects.toThrow('2 API keys');
    await keys.rotate(caller, first.key.id, 60);
  });

  it('tells each passed quota once a month, as a signal', async () => {
    const orgId = await organisation('free', { quotas: { tokens: { soft: 10, hard: 20 } } });
    await use(orgId, 'tokens', 11);
    const alerting = { database: test.database, signals: new SignalStore(test.database), lanes: 4 };
    await tellPassedQuotas(alerting);
    await use(orgId, 'tokens', 9);
    await tellPassedQuotas(alerting);
    await tellPassedQuotas(alerting);
    const { rows } = await sql<{ type: string; envelope: string }>`select type, envelope from signals where org_id = ${orgId} order by chunk_id`.execute(test.database.system);
    expect(rows.map(({ type }) => type)).toEqual(['hal9.usage.soft-quota', 'hal9.usage.hard-quota']);
    expect(JSON.parse(rows[1]?.envelope ?? '')).toMatchObject({ subject: 'tokens', data: { used: 20, quota: 20, plan: 'free' } });
    // As if the process had ended between the signal and the mark: told again, kept once.
    const owner = new pg.Client({ connectionString: test.url });
    await owner.connect();
    await owner.query('delete from usage_alerts where org_id = $1', [orgId]);
    await owner.end();
    expect(await tellPassedQuotas(alerting)).toBe(2);
    const again = await sql<{ n: number }>`select count(*)::int as n from signals where org_id = ${orgId}`.execute(test.database.system);
    expect(again.rows[0]?.n).toBe(2);
  });

  it('is set by the platform alone, with an act on both sides', async () => {
    const fresh = await createTestDatabase();
    try {
      const [platform, other] = [await fresh.organisation('platform'), await fresh.organisation('customer')];
      await delay(5);
      const service = new Plans(fresh.database, 'enterprise');
      await expect(service.set(systemCaller(other, 'test'), other, 'enterprise', {})).rejects.toMatchObject({ type: 'Forbidden' });
      await expect(service.ofAllOrganisations(systemCaller(other, 'test'), undefined)).rejects.toMatchObject({ type: 'Forbidden' });
      await expect(service.set(systemCaller(platform, 'test'), randomUUID(), 'free', {})).rejects.toMatchObject({ type: 'NotFound' });
      const set = await service.set(systemCaller(platform, 'test'), other, 'starter', { limits: { seats: null } });
      expect(set.entitlements).toEqual({ ...entitlementsOf('starter'), limits: { ...entitlementsOf('starter').limits, seats: null } });
      const { rows } = await sql<{ org_id: string; action: string }>`select org_id, action from audit_acts order by action`.execute(fresh.database.system);
      expect(rows).toEqual(expect.arrayContaining([{ org_id: platform, action: 'plan.set' }, { org_id: other, action: 'plan.set' }]));
    } finally {
      await fresh.drop();
    }
  });

  it('shows the month against the plan and projects its end', async () => {
    const orgId = await organisation('free', { quotas: { signals: { soft: 50, hard: 200 } } });
    await sql`insert into usage_hours (org_id, meter, hour, quantity) values (${orgId}, 'signals', '2026-04-03T10:00:00Z', 100)`.execute(test.database.system);
    const summary = await new Plans(test.database, 'enterprise').summary({ orgId }, new Date('2026-04-11T00:00:00Z'));
    expect(summary.meters.find(({ meter }) => meter === 'signals')).toEqual({ meter: 'signals', unit: 'signals', used: 100, projected: 300, soft: 50, hard: 200, state: 'over-soft' });
    expect(summary.limits).toContainEqual({ name: 'seats', used: 0, limit: 3 });
  });
});
