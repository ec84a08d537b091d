import { randomBytes, randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { Client, Connection } from '@temporalio/client';
import { bundleWorkflowCode, NativeConnection, Runtime, Worker } from '@temporalio/worker';
import pino from 'pino';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { z } from 'zod';
import { createScheduleActivities } from '../../activities/schedules/index.ts';
import { ApiKeyStore } from '../../database/api-keys.ts';
import { ScheduleStore, type ScheduleFiring } from '../../database/schedules.ts';
import { actOf } from '../../platform/audit/act.ts';
import { createDataConverter } from '../../platform/codec/data-converter.ts';
import type { Caller } from '../../platform/identity/caller.ts';
import { generateKey, hashSecret } from '../../platform/identity/key-format.ts';
import { KeyRing } from '../../platform/keys/key-ring.ts';
import type { Operations } from '../../platform/operations/contract.ts';
import { createOperations } from '../../platform/operations/operations.ts';
import { ScheduleFirer } from '../../platform/schedules/firing.ts';
import { applyPending, applySchedule, compareAll } from '../../platform/schedules/reconcile.ts';
import { Schedules } from '../../platform/schedules/schedules.ts';
import { TemporalSchedules } from '../../platform/schedules/temporal-schedules.ts';
import { LaneChooser } from '../../platform/signals/lane.ts';
import drill from '../../schemas/operations/drill.ts';
import { defineOperation, type OperationContract } from '../../schemas/operations/operation.ts';
import { scheduleDraftSchema } from '../../schemas/schedules/definition.ts';
import { createDrillSchedule } from '../../workers/dispatcher/drills.ts';
import { createTestDatabase, type TestDatabase } from '../environment/database.ts';
import { createTestNamespace } from '../environment/temporal.ts';

const logger = pino({ level: 'silent' });
const silent = { log() {}, trace() {}, debug() {}, info() {}, warn() {}, error() {} };
const keys = new KeyRing([{ id: 'test', key: randomBytes(32) }]);
const nap = defineOperation({ name: 'nap', summary: 'For this test', input: z.strictObject({ ms: z.int(), fails: z.boolean().default(false) }), result: z.object({}), timeouts: { execution: '1 hour' } });

let test: TestDatabase;
let connection: Connection;
let native: NativeConnection;
let worker: Worker;
let serving: Promise<void>;
let client: Client;
let operations: Operations;
let schedules: Schedules;
let store: ScheduleStore;
let temporal: TemporalSchedules;

beforeAll(async () => {
  Runtime.install({ logger: silent });
  const address = inject('temporalAddress');
  const namespace = await createTestNamespace();
  [test, connection, native] = await Promise.all([createTestDatabase(), Connection.connect({ address }), NativeConnection.connect({ address })]);
  const dataConverter = createDataConverter(keys);
  client = new Client({ connection, namespace, dataConverter });
  operations = createOperations({ client, database: test.database, contracts: new Map<string, OperationContract>([nap, drill].map((contract) => [contract.name, contract])), keys, logger });
  const workflowBundle = await bundleWorkflowCode({ workflowsPath: join(import.meta.dirname, '../fixtures/schedule-workflows.ts'), logger: silent });
  const firer = new ScheduleFirer({ database: test.database, operations, lanes: new LaneChooser(4), logger });
  worker = await Worker.create({ connection: native, namespace, taskQueue: 'core', workflowBundle, dataConverter, activities: { ...createScheduleActivities(firer, operations) } });
  serving = worker.run();
  schedules = new Schedules({ database: test.database, client, contracts: operations.contracts, logger });
  store = new ScheduleStore(test.database);
  temporal = new TemporalSchedules(client);
});
afterAll(async () => {
  for await (const { orgId, id } of temporal.list()) await temporal.remove(orgId, id);
  worker.shutdown();
  await serving;
  await operations.close();
  await connection.close();
  await native.close();
  await test.drop();
});

async function owner(scopes: readonly string[] = ['*']): Promise<Caller & { keyId: string }> {
  const orgId = await test.organisation();
  const { prefix, secret } = generateKey();
  const keyId = randomUUID();
  await new ApiKeyStore(test.database).insert({ orgId, id: keyId, name: 'owner', prefix, secretHash: hashSecret(secret), scopes, expiresAt: null });
  return { orgId, actor: { kind: 'api-key', id: keyId }, scopes, requestId: 'test', traceparent: undefined, keyId };
}

const EVERY_SECOND = { intervals: [{ everySeconds: 1 }] };

function draft(parts: Readonly<Record<string, unknown>>) {
  return scheduleDraftSchema.parse({ name: `s-${randomUUID()}`, action: { kind: 'operation', operation: 'nap', input: { ms: 1 } }, ...(parts['cron'] === undefined && parts['intervals'] === undefined && parts['calendars'] === undefined ? { cron: ['@yearly'] } : {}), ...parts });
}

function napping(ms: number, fails = false) {
  return { kind: 'operation', operation: 'nap', input: { ms, fails } };
}

async function until<T>(what: () => Promise<T | undefined>): Promise<T> {
  for (let attempt = 0; attempt < 600; attempt++) {
    const found = await what();
    if (found !== undefined) return found;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error('it never came');
}

/** Firings, oldest first, once there are such. */
async function firings(caller: Caller, id: string, enough: (firings: ScheduleFiring[]) => boolean): Promise<ScheduleFiring[]> {
  return until(async () => {
    const found = (await schedules.firings(caller, id, 100)).reverse();
    return enough(found) ? found : undefined;
  });
}

const running = (all: ScheduleFiring[]): ScheduleFiring[] => all.filter(({ state }) => state === 'running');
const settled = (all: ScheduleFiring[]): ScheduleFiring[] => all.filter(({ state }) => state !== 'running');

describe('a schedule', () => {
  it('starts its operation in its organisation with its owner\'s name, and tells what became of it', async () => {
    const caller = await owner();
    const { schedule, times } = await schedules.create(caller, draft({ ...EVERY_SECOND }));
    expect(schedule.appliedVersion).toBe(1);
    expect(times?.next).toHaveLength(10);
    const [first] = await firings(caller, schedule.id, (all) => settled(all).length >= 2);
    expect(first).toMatchObject({ state: 'done', runId: `nap~${first?.id}` });
    await schedules.pause(caller, schedule.id, 'enough');
    const run = await operations.describe(caller, first?.runId ?? '');
    expect(run).toMatchObject({ origin: 'schedule', startedBy: `api-key:${caller.keyId}`, status: 'completed' });
    const described = await client.workflow.getHandle(`${caller.orgId}/nap/${first?.id}`).describe();
    expect(described.searchAttributes['OrgId']).toEqual([caller.orgId]);
  });

  it('sends a signal instead, once a firing', async () => {
    const caller = await owner();
    const { schedule } = await schedules.create(caller, draft({ action: { kind: 'signal', type: 'nightly.begin', data: { depth: 2 } } }));
    await schedules.trigger(caller, schedule.id, undefined);
    const [firing] = await firings(caller, schedule.id, (all) => settled(all).length === 1);
    expect(firing).toMatchObject({ state: 'done', runId: null });
    const { rows } = await test.database.withOrgClient(caller.orgId, (pg) => pg.query<{ envelope: string }>('select envelope from signals'));
    expect(rows.map(({ envelope }) => JSON.parse(envelope) as unknown)).toEqual([expect.objectContaining({ id: firing?.id, source: `/schedules/${schedule.id}`, type: 'nightly.begin', data: { depth: 2, dueAt: firing?.dueAt.toISOString() } })]);
  });

  it('fires at wall-clock times across changes of clocks', async () => {
    const caller = await owner();
    // 2027: Europe/Berlin changes on 28 March and 31 October.
    const spring = await schedules.create(caller, draft({ cron: ['30 1,2,3 * * *'], timeZone: 'Europe/Berlin', startAt: '2027-03-27T12:00:00Z' }));
    expect(spring.times?.next.slice(0, 5).map((at) => at.toISOString())).toEqual(['2027-03-28T00:30:00.000Z', '2027-03-28T01:30:00.000Z', '2027-03-28T23:30:00.000Z', '2027-03-29T00:30:00.000Z', '2027-03-29T01:30:00.000Z']);
    const autumn = await schedules.create(caller, draft({ calendars: [{ hour: [3], dayOfWeek: [0] }], timeZone: 'Europe/Berlin', startAt: '2027-10-24T12:00:00Z' }));
    expect(autumn.times?.next.slice(0, 2).map((at) => at.toISOString())).toEqual(['2027-10-31T02:00:00.000Z', '2027-11-07T02:00:00.000Z']);
    const repeated = await schedules.create(caller, draft({ cron: ['30 2 * * *'], timeZone: 'Europe/Berlin', startAt: '2027-10-30T12:00:00Z' }));
    expect(repeated.times?.next.slice(0, 3).map((at) => at.toISOString())).toEqual(['2027-10-31T01:30:00.000Z', '2027-11-01T01:30:00.000Z', '2027-11-02T01:30:00.000Z']);
  });

  it('agrees with the wall clock of the runtime for every next time', async () => {
    const caller = await owner();
    const { times } = await schedules.create(caller, draft({ cron: ['15 9 * * 1-5'], timeZone: 'America/New_York' }));
    const wall = new Intl.DateTimeFormat('en-GB', { timeZone: 'America/New_York', weekday: 'short', hour: '2-digit', minute: '2-digit' });
    expect(times?.next).toHaveLength(10);
    for (const at of times?.next ?? []) expect(wall.format(at)).toMatch(/^(Mon|Tue|Wed|Thu|Fri),? 09:15$/);
  });

  it('fires at every interval from its offset on', async () => {
    const caller = await owner();
    const { times } = await schedules.create(caller, draft({ intervals: [{ everySeconds: 3600, offsetSeconds: 600 }] }));
    expect(times?.next).toHaveLength(10);
    expect(new Set(times?.next.map((at) => at.toISOString().slice(13)))).toEqual(new Set([':10:00.000Z']));
    expect((times?.next[9]?.getTime() ?? 0) - (times?.next[0]?.getTime() ?? 0)).toBe(9 * 3_600_000);
  });

  it('keeps to its start, its end, its left-out times and its jitter', async () => {
    const caller = await owner();
    const bounded = await schedules.create(caller, draft({ cron: ['0 12 * * *'], startAt: '2030-01-01T00:00:00Z', endAt: '2030-01-05T00:00:00Z', skip: [{ hour: [12], dayOfMonth: [2] }] }));
    expect(bounded.times?.next.map((at) => at.toISOString().slice(0, 10))).toEqual(['2030-01-01', '2030-01-03', '2030-01-04']);
    const jittered = await schedules.create(caller, draft({ cron: ['0 12 * * *'], jitterSeconds: 3600 }));
    const late = (jittered.times?.next ?? []).map((at) => (at.getTime() - Date.parse(`${at.toISOString().slice(0, 10)}T12:00:00Z`)) / 1000);
    expect(late).toHaveLength(10);
    expect(late.every((seconds) => seconds >= 0 && seconds < 3600)).toBe(true);
    expect(new Set(late).size).toBeGreaterThan(1);
  });

  it('fires when it said, jitter included', async () => {
    const caller = await owner();
    const { schedule, times } = await schedules.create(caller, draft({ intervals: [{ everySeconds: 2 }], jitterSeconds: 2, overlap: 'allow-all' }));
    const announced = new Map((times?.next ?? []).map((at) => [Math.floor(at.getTime() / 2000) * 2000, at.getTime()]));
    expect([...announced].some(([due, at]) => due !== at)).toBe(true);
    const fired = await firings(caller, schedule.id, (all) => settled(all).filter(({ dueAt }) => announced.has(dueAt.getTime())).length >= 4);
    // It is due at the wall clock's time, and comes when jitter says.
    for (const { dueAt, createdAt } of fired) expect(createdAt.getTime()).toBeGreaterThanOrEqual(announced.get(dueAt.getTime()) ?? dueAt.getTime());
  });

  it('fires so often and no more', async () => {
    const caller = await owner();
    const { schedule } = await schedules.create(caller, draft({ ...EVERY_SECOND, limit: 2 }));
    await firings(caller, schedule.id, (all) => settled(all).length === 2);
    await until(async () => ((await schedules.get(caller, schedule.id)).times?.remaining === 0 ? true : undefined));
    await schedules.trigger(caller, schedule.id, undefined);
    expect(await firings(caller, schedule.id, (all) => settled(all).length === 3)).toHaveLength(3);
  });

  it('pauses after a failed run when told to, and says why', async () => {
    const caller = await owner();
    const { schedule } = await schedules.create(caller, draft({ pauseOnFailure: true, action: napping(1, true) }));
    await schedules.trigger(caller, schedule.id, undefined);
    const paused = await until(async () => {
      const found = await store.find(caller.orgId, schedule.id);
      return found?.pausedAt === null ? undefined : found;
    });
    expect(paused).toMatchObject({ pausedBy: 'hal9', note: 'the run ended as failed' });
    // Temporal's own option has paused it as well.
    await until(async () => ((await client.schedule.getHandle(`${caller.orgId}/schedule/${schedule.id}`).describe()).state.paused ? true : undefined));
    const going = await schedules.unpause(caller, schedule.id);
    expect(going.schedule.pausedAt).toBeNull();
    expect((await client.schedule.getHandle(`${caller.orgId}/schedule/${schedule.id}`).describe()).state.paused).toBe(false);
  });

  it('does not fire for an owner who is gone: it pauses and says so', async () => {
    const caller = await owner();
    const { schedule } = await schedules.create(caller, draft({}));
    await new ApiKeyStore(test.database).revoke(caller.orgId, caller.keyId, actOf(caller, 'api-key.revoke', { kind: 'api-key', id: caller.keyId }));
    await schedules.trigger(caller, schedule.id, undefined);
    const [firing] = await firings(caller, schedule.id, (all) => settled(all).length === 1);
    expect(firing).toMatchObject({ state: 'skipped', reason: expect.stringContaining('the API key that owns the schedule was revoked') });
    expect(await store.find(caller.orgId, schedule.id)).toMatchObject({ pausedBy: 'hal9', note: firing?.reason });
  });

  it('takes no operation its maker may not start, and no input it refuses', async () => {
    const caller = await owner(['schedules:write']);
    await expect(schedules.create(caller, draft({}))).rejects.toMatchObject({ type: 'Forbidden' });
    const other = await owner();
    await expect(schedules.create(other, draft({ action: { kind: 'operation', operation: 'nap', input: { ms: 'long' } } }))).rejects.toMatchObject({ type: 'InvalidInput' });
    await expect(schedules.create(other, draft({ action: { kind: 'operation', operation: 'none' } }))).rejects.toMatchObject({ type: 'InvalidInput' });
  });

  it('makes up for a span that has passed, each time once', async () => {
    const caller = await owner();
    const { schedule } = await schedules.create(caller, draft({ cron: ['0 * * * *'] }));
    await schedules.backfill(caller, schedule.id, { from: new Date('2026-01-01T00:30:00Z'), to: new Date('2026-01-01T03:30:00Z'), overlap: 'buffer-all' });
    const made = await firings(caller, schedule.id, (all) => settled(all).length === 3);
    expect(made.map(({ dueAt, state }) => [dueAt.toISOString(), state])).toEqual(['01', '02', '03'].map((hour) => [`2026-01-01T${hour}:00:00.000Z`, 'done']));
    await expect(schedules.backfill(caller, schedule.id, { from: new Date('2026-01-01T00:30:00Z'), to: new Date('2126-01-01T03:30:00Z'), overlap: 'skip' })).rejects.toMatchObject({ type: 'InvalidInput' });
  });

  it('hands its catch-up window to Temporal', async () => {
    const caller = await owner();
    const { schedule } = await schedules.create(caller, draft({ catchUpSeconds: 10 }));
    const described = await client.schedule.getHandle(`${caller.orgId}/schedule/${schedule.id}`).describe();
    expect(described.policies.catchupWindow).toBe(10_000);
  });
});

describe('a firing that is due while a run is open', () => {
  async function firedTwice(overlap: string, ms = 60_000) {
    const caller = await owner();
    const { schedule } = await schedules.create(caller, draft({ overlap, action: napping(ms) }));
    await schedules.trigger(caller, schedule.id, undefined);
    const [first] = await firings(caller, schedule.id, (all) => running(all).length === 1);
    // Temporal tells firings of one second from each other by their time alone.
    await new Promise((resolve) => setTimeout(resolve, 1100));
    await schedules.trigger(caller, schedule.id, undefined);
    return { caller, id: schedule.id, first: first?.id };
  }

  it('skip: is left out and counted', async () => {
    const { caller, id } = await firedTwice('skip');
    await until(async () => ((await schedules.get(caller, id)).times?.skippedOverlap === 1 ? true : undefined));
    expect(await schedules.firings(caller, id, 10)).toHaveLength(1);
  });

  it('buffer-one: comes after it, one at most', async () => {
    const { caller, id } = await firedTwice('buffer-one', 4000);
    await new Promise((resolve) => setTimeout(resolve, 1100));
    await schedules.trigger(caller, id, undefined);
    const two = await firings(caller, id, (all) => settled(all).length === 2);
    expect(two[1]?.createdAt.getTime()).toBeGreaterThanOrEqual(two[0]?.doneAt?.getTime() ?? Infinity);
    expect((await schedules.get(caller, id)).times?.skippedOverlap).toBe(1);
  });

  it('buffer-all: each comes after the one before', async () => {
    const { caller, id } = await firedTwice('buffer-all', 2500);
    await new Promise((resolve) => setTimeout(resolve, 1100));
    await schedules.trigger(caller, id, undefined);
    const three = await firings(caller, id, (all) => settled(all).length === 3);
    for (const [index, firing] of three.slice(1).entries()) expect(firing.createdAt.getTime()).toBeGreaterThanOrEqual(three[index]?.doneAt?.getTime() ?? Infinity);
  });

  it('cancel-other: cancels the open run and comes when that has ended', async () => {
    const { caller, id, first } = await firedTwice('cancel-other');
    const [ended, next] = await firings(caller, id, (all) => settled(all).length === 1 && running(all).length === 1);
    expect(ended).toMatchObject({ id: first, state: 'cancelled' });
    expect(next?.createdAt.getTime()).toBeGreaterThanOrEqual(ended?.doneAt?.getTime() ?? Infinity);
    expect(await operations.result(caller, `nap~${first}`, 5000)).toMatchObject({ status: 'cancelled' });
  });

  it('terminate-other: ends the open run', async () => {
    const { caller, id, first } = await firedTwice('terminate-other');
    const [ended] = await firings(caller, id, (all) => settled(all).length === 1 && running(all).length === 1);
    expect(ended).toMatchObject({ id: first, state: 'cancelled', reason: 'the next firing was due' });
    expect(await operations.result(caller, `nap~${first}`, 5000)).toMatchObject({ status: 'terminated' });
  });

  it('allow-all: runs beside it', async () => {
    const { caller, id } = await firedTwice('allow-all');
    expect(await firings(caller, id, (all) => running(all).length === 2)).toHaveLength(2);
  });
});

describe('reconciliation', () => {
  const parts = () => ({ store, temporal, logger });

  it('makes Temporal\'s schedule again when that was lost, once', async () => {
    const caller = await owner();
    const { schedule } = await schedules.create(caller, draft({}));
    await temporal.remove(caller.orgId, schedule.id);
    expect(await until(async () => ((await temporal.describe(caller.orgId, schedule.id)) === undefined ? 'gone' : undefined))).toBe('gone');
    await until(async () => ((await compareAll(parts())).reapplied >= 1 ? true : undefined));
    while (await applyPending(parts())) continue;
    expect(await temporal.describe(caller.orgId, schedule.id)).toBeDefined();
    expect(await store.find(caller.orgId, schedule.id)).toMatchObject({ version: 1, appliedVersion: 1 });
  });

  /** One that waits before it asks Temporal, as a slow process does. */
  function slow() {
    const reached = Promise.withResolvers<void>();
    const go = Promise.withResolvers<void>();
    const apply: TemporalSchedules['apply'] = async (schedule, spent) => {
      reached.resolve();
      await go.promise;
      await temporal.apply(schedule, spent);
    };
    return { reached: reached.promise, go: () => go.resolve(), parts: { ...parts(), temporal: Object.assign(new TemporalSchedules(client), { apply }) } };
  }

  it('lets the newer version win when two processes apply at once', async () => {
    const caller = await owner();
    const { schedule } = await schedules.create(caller, draft({ cron: ['0 1 * * *'] }));
    await store.forgetApplied(caller.orgId, schedule.id);
    const { reached, go, parts: late } = slow();
    const older = applySchedule(late, caller.orgId, schedule.id);
    await reached;
    const newer = schedules.replace(caller, schedule.id, 1, { ...schedule.draft, cron: ['0 2 * * *'] });
    await until(async () => ((await store.find(caller.orgId, schedule.id))?.version === 2 ? true : undefined));
    go();
    expect([await older, (await newer).schedule]).toMatchObject([{ version: 1 }, { version: 2, appliedVersion: 2 }]);
    expect((await temporal.kept(caller.orgId, schedule.id))?.draft.cron).toEqual(['0 2 * * *']);
    expect(await store.find(caller.orgId, schedule.id)).toMatchObject({ version: 2, appliedVersion: 2 });
  });

  it('does not bring a schedule back that is deleted while somebody applies it', async () => {
    const caller = await owner();
    const { schedule } = await schedules.create(caller, draft({}));
    await store.forgetApplied(caller.orgId, schedule.id);
    const { reached, go, parts: late } = slow();
    const applying = applySchedule(late, caller.orgId, schedule.id);
    await reached;
    const removing = schedules.remove(caller, schedule.id);
    await until(async () => ((await store.find(caller.orgId, schedule.id)) === undefined ? true : undefined));
    go();
    await Promise.all([applying, removing]);
    expect(await temporal.describe(caller.orgId, schedule.id)).toBeUndefined();
    expect(await applySchedule(parts(), caller.orgId, schedule.id)).toBeUndefined();
  });

  it('mends a pause that only one side knows of, and keeps one that a failure made', async () => {
    const caller = await owner();
    const astray = await schedules.create(caller, draft({}));
    const failed = await schedules.create(caller, draft({ pauseOnFailure: true }));
    for (const { schedule } of [astray, failed]) await client.schedule.getHandle(`${caller.orgId}/schedule/${schedule.id}`).pause('from outside');
    const paused = async (id: string) => (await temporal.describe(caller.orgId, id))?.paused;
    await until(async () => {
      await compareAll(parts());
      while (await applyPending(parts())) continue;
      return (await paused(astray.schedule.id)) === false && (await store.find(caller.orgId, failed.schedule.id))?.pausedBy === 'hal9' ? true : undefined;
    });
    expect(await store.find(caller.orgId, astray.schedule.id)).toMatchObject({ pausedAt: null });
    expect(await store.find(caller.orgId, failed.schedule.id)).toMatchObject({ pausedBy: 'hal9', note: 'a firing failed or was ended from outside' });
    expect(await paused(failed.schedule.id)).toBe(true);
  });

  it('is applied by several at once', async () => {
    const caller = await owner();
    const { schedule } = await schedules.create(caller, draft({}));
    await temporal.remove(caller.orgId, schedule.id);
    await Promise.all(Array.from({ length: 4 }, () => temporal.apply(schedule, 0)));
    expect(await temporal.describe(caller.orgId, schedule.id)).toBeDefined();
  });

  it('brings back the row from what Temporal keeps, paused if it was', async () => {
    const caller = await owner();
    const { schedule } = await schedules.create(caller, draft({ description: 'with its words' }));
    const paused = await schedules.pause(caller, schedule.id, 'for the holidays');
    await test.database.withOrgClient(caller.orgId, (pg) => pg.query('delete from schedules where id = $1', [schedule.id]));
    await until(async () => {
      await compareAll(parts());
      return (await store.find(caller.orgId, schedule.id)) === undefined ? undefined : true;
    });
    while (await applyPending(parts())) continue;
    const { draft: kept, owner: keeper } = paused.schedule;
    expect(await store.find(caller.orgId, schedule.id)).toMatchObject({ draft: kept, owner: keeper, version: 3, appliedVersion: 3, pausedBy: 'person', note: 'for the holidays' });
    expect(await compareAll(parts())).toEqual({ reapplied: 0, restored: 0 });
  });

  it('does not bring back what was deleted while Temporal did not answer', async () => {
    const caller = await owner();
    const { schedule } = await schedules.create(caller, draft({}));
    await store.remove(caller.orgId, schedule.id, actOf(caller, 'schedule.delete', { kind: 'schedule', id: schedule.id }));
    await compareAll(parts());
    expect(await store.find(caller.orgId, schedule.id)).toBeUndefined();
    while (await applyPending(parts())) continue;
    expect(await temporal.describe(caller.orgId, schedule.id)).toBeUndefined();
    expect((await store.allAcrossOrganisations(500)).some(({ id }) => id === schedule.id)).toBe(false);
  });

  it('gives Temporal nothing that people wrote', async () => {
    const caller = await owner();
    const { schedule } = await schedules.create(caller, draft({ description: 'ask Erika' }));
    await schedules.pause(caller, schedule.id, 'Erika is away');
    const { raw } = await client.schedule.getHandle(`${caller.orgId}/schedule/${schedule.id}`).describe();
    expect(Buffer.from(JSON.stringify(raw)).includes('Erika')).toBe(false);
    expect(raw.schedule?.state?.notes ?? '').toBe('');
  });
});

describe('the schedule of drills', () => {
  it('is kept as the setting says, starts drills, and is left to the person who changed it', async () => {
    const caller = await owner();
    const named = async () => schedules.named(caller, 'recovery-drill');
    const keep = (cron: string | undefined, organisation: string | undefined = caller.orgId) =>
      createDrillSchedule({ client, config: { HAL9_DRILL_CRON: cron, HAL9_RECOVERY_ORG: organisation }, database: test.database, logger, operations }).run(new AbortController().signal);
    await keep(undefined);
    expect(await named()).toBeUndefined();
    await Promise.all([keep('0 4 * * 0'), keep('0 4 * * 0')]);
    const made = await named();
    expect(made).toMatchObject({ version: 1, owner: { kind: 'system', id: 'dispatcher' }, draft: { cron: ['0 4 * * 0'], action: { kind: 'operation', operation: 'drill' } } });
    if (made === undefined) throw new Error('not made');
    await schedules.trigger(caller, made.id, undefined);
    const [firing] = await firings(caller, made.id, (all) => all.some(({ runId }) => runId !== null));
    // A firing has its run's id before the run is started.
    await expect.poll(() => operations.describe(caller, firing?.runId ?? '')).toMatchObject({ operation: 'drill', origin: 'schedule', startedBy: 'system:dispatcher' });
    await operations.terminate(caller, firing?.runId ?? '', 'nobody drills here');

    await keep('0 5 * * 0');
    expect(await named()).toMatchObject({ id: made.id, version: 2, draft: { cron: ['0 5 * * 0'] } });
    await schedules.replace(caller, made.id, 2, { ...made.draft, cron: ['@daily'] });
    await keep('0 6 * * 0');
    expect(await named()).toMatchObject({ version: 3, draft: { cron: ['@daily'] } });
  });
});
