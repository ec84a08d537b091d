import { randomBytes, randomUUID } from 'node:crypto';
import pino from 'pino';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { ApiKeyStore } from '../../database/api-keys.ts';
import { FiringStore } from '../../database/automation-firings.ts';
import { AutomationStore } from '../../database/automations.ts';
import { SignalStore } from '../../database/signals.ts';
import { CompiledAutomation, loopsOf, subscriptionOf, validateAutomation } from '../../neurons/automation.ts';
import { Automations } from '../../platform/automations/automations.ts';
import { FiringEffects } from '../../platform/automations/effects.ts';
import { OwnerStandings } from '../../platform/automations/standing.ts';
import { actOf } from '../../platform/audit/act.ts';
import { generateKey, hashSecret } from '../../platform/identity/key-format.ts';
import type { Caller } from '../../platform/identity/caller.ts';
import { KeyRing } from '../../platform/keys/key-ring.ts';
import type { Operations } from '../../platform/operations/contract.ts';
import { createOperations } from '../../platform/operations/operations.ts';
import { automationDraftSchema } from '../../schemas/automations/definition.ts';
import { HalError } from '../../schemas/errors.ts';
import { defineOperation } from '../../schemas/operations/operation.ts';
import { createFirings } from '../../workers/dispatcher/automations.ts';
import { CascadeHouse } from '../cascade/house.ts';

const logger = pino({ level: 'silent' });
/** Only started here, never served. */
const sweep = defineOperation({
  name: 'sweep',
  summary: 'For this test',
  input: z.strictObject({ host: z.string(), depth: z.number().optional() }),
  result: z.object({}),
  permission: 'sweeps:write',
  taskQueue: 'served-by-nobody',
  timeouts: { execution: '1 minute' },
});

let house: CascadeHouse;
let operations: Operations;
let automations: Automations;

beforeAll(async () => {
  house = await CascadeHouse.open();
  await house.serve();
  const { database } = house.test;
  operations = createOperations({ client: house.client, database, contracts: new Map([[sweep.name, sweep]]), keys: new KeyRing([{ id: 'test', key: randomBytes(32) }]), logger });
  automations = new Automations({
    database,
    contracts: operations.contracts,
    engine: {
      selection: ({ trigger }) => subscriptionOf(trigger),
      validate: validateAutomation,
      loops: loopsOf,
      judge: (definition, signals) => {
        const compiled = new CompiledAutomation(definition);
        return signals.map((signal) => compiled.judge(signal));
      },
    },
  });
});
afterAll(async () => {
  await operations.close();
  await house.close();
});

async function caller(orgId: string, scopes: readonly string[] = ['*']): Promise<Caller & { keyId: string }> {
  const { prefix, secret } = generateKey();
  const keyId = randomUUID();
  await new ApiKeyStore(house.test.database).insert({ orgId, id: keyId, name: 'owner', prefix, secretHash: hashSecret(secret), scopes, expiresAt: null });
  return { orgId, actor: { kind: 'api-key', id: keyId }, scopes, requestId: 'test', traceparent: undefined, keyId };
}

function draft(name: string, parts: Readonly<Record<string, unknown>>) {
  return automationDraftSchema.parse({ name, trigger: { kind: 'signal', types: ['disk.full'] }, effect: { kind: 'signal', type: 'disk.alarm', data: { used: 'signal.data.used' } }, ...parts });
}

function disk(id: string, used: number, more: Readonly<Record<string, unknown>> = {}) {
  return { id, source: 'host/a', type: 'disk.full', subject: 'a', data: { used }, ...more };
}

function effects(by: Pick<Operations, 'start'> = operations): FiringEffects {
  const { database } = house.test;
  return new FiringEffects({ automations: new AutomationStore(database), firings: new FiringStore(database), standings: new OwnerStandings(database), signals: new SignalStore(database), operations: by, contracts: operations.contracts, lanes: house.lanes });
}

/** Everything that is due, by one dispatcher. */
async function drain(by?: Pick<Operations, 'start'>): Promise<void> {
  const drained = createFirings({ firings: new FiringStore(house.test.database), effects: effects(by), logger });
  while (await drained.run(new AbortController().signal)) continue;
}

async function rows(orgId: string) {
  return house.test.database.withOrg(orgId, async (tx) => {
    const found = await tx.selectFrom('signals').select(['source', 'type', 'envelope']).orderBy('chunk_id').orderBy('ordinal').execute();
    return found.map(({ source, type, envelope }) => ({ source, type, envelope: z.record(z.string(), z.unknown()).parse(JSON.parse(envelope)) }));
  });
}

describe('an automation that sends a signal', () => {
  it('fires once for each signal, in order, and notes what it passed over', async () => {
    const orgId = await house.test.organisation();
    const { automation } = await automations.create(await caller(orgId), draft('alarm', { condition: 'signal.data.used > 90' }));
    const keys = await house.ingest(orgId, [disk('1', 95), disk('2', 10), disk('3', 96), disk('4', 20), { id: '5', source: 'host/a', type: 'other' }]);
    await house.decideAll();
    await drain();
    await drain();
    const list = await automations.firings(await caller(orgId), automation.id, {}, 10);
    expect(list.map(({ state, reason, signals, signalKey }) => ({ state, reason, signals, signalKey })).reverse()).toEqual([
      { state: 'fired', reason: null, signals: 1, signalKey: keys[0] },
      { state: 'fired', reason: null, signals: 1, signalKey: keys[2] },
      { state: 'skipped', reason: 'the condition does not hold', signals: 2, signalKey: keys[1] },
    ]);
    const sent = (await rows(orgId)).filter(({ type }) => type === 'disk.alarm');
    expect(sent.map(({ envelope }) => envelope['data'])).toEqual([{ used: 95 }, { used: 96 }]);
    expect(sent[0]).toMatchObject({ source: `/automations/${automation.id}`, envelope: { subject: 'a', partitionkey: 'host/a', id: list[2]?.id } });
  });

  it('does not fire again when a dead letter brings its signal back', async () => {
    const orgId = await house.test.organisation();
    const { automation } = await automations.create(await caller(orgId), draft('alarm', {}));
    await house.ingest(orgId, [disk('1', 95)]);
    await house.decideAll();
    await drain();
    const stored = await house.test.database.withOrg(orgId, (tx) => tx.selectFrom('signals').selectAll().where('type', '=', 'disk.full').executeTakeFirstOrThrow());
    await new SignalStore(house.test.database).commit({ orgId, traceparent: undefined, duplicates: 'refresh', rows: [{ key: stored.key.replaceAll('-', ''), lane: 0, source: stored.source, type: stored.type, time: stored.time.toISOString(), envelope: stored.envelope }] });
    await house.decideAll();
    await drain();
    expect(await automations.firings(await caller(orgId), automation.id, {}, 10)).toHaveLength(1);
    expect((await rows(orgId)).filter(({ type }) => type === 'disk.alarm')).toHaveLength(1);
  });

  it('is heard of for a waiting caller as well', async () => {
    const orgId = await house.test.organisation();
    const { automation } = await automations.create(await caller(orgId), draft('alarm', {}));
    await house.ingest(orgId, [disk('1', 95)]);
    const [batch] = await house.openBatches();
    await (await house.start(batch!, true)).result();
    await drain();
    expect(await automations.firings(await caller(orgId), automation.id, {}, 10)).toMatchObject([{ state: 'fired' }]);
  });
});

describe('an automation that starts an operation', () => {
  const starts = { effect: { kind: 'operation', operation: 'sweep', input: { host: 'signal.subject' } } };

  it('starts it once, under the id of the firing, with the rights of its owner', async () => {
    const orgId = await house.test.organisation();
    const owner = await caller(orgId, ['automations:*', 'sweeps:write:type=sweep']);
    const { automation } = await automations.create(owner, draft('sweeper', starts));
    await house.ingest(orgId, [disk('1', 95)]);
    await house.decideAll();
    const asked: Caller[] = [];
    await drain({ start: (by, request) => (asked.push(by), operations.start(by, request)) });
    const [firing] = await automations.firings(owner, automation.id, {}, 10);
    expect(firing).toMatchObject({ state: 'fired', runId: `sweep~${firing!.id}`, effect: { kind: 'operation', operation: 'sweep', input: { host: 'a' } } });
    expect(asked).toMatchObject([{ actor: { kind: 'api-key', id: owner.keyId }, scopes: ['automations:*', 'sweeps:write:type=sweep'] }]);
    expect(asked[0]?.traceparent).toContain(firing!.id.replaceAll('-', ''));
    const run = await operations.describe({ ...owner, scopes: ['*'] }, firing!.runId!);
    expect(run).toMatchObject({ operation: 'sweep', status: 'running', origin: 'automation', startedBy: `api-key:${owner.keyId}` });
  });

  it('may only be saved by who may start it', async () => {
    const orgId = await house.test.organisation();
    await expect(automations.create(await caller(orgId, ['automations:*']), draft('sweeper', starts))).rejects.toMatchObject({ type: 'Forbidden' });
    await expect(automations.create(await caller(orgId), draft('x', { effect: { kind: 'operation', operation: 'nothing' } }))).rejects.toMatchObject({ type: 'InvalidInput' });
    await expect(automations.create(await caller(orgId, ['automations:*']), draft('x', {}))).rejects.toMatchObject({ type: 'Forbidden', message: expect.stringContaining('signals:write') });
  });

  it('pauses when its owner is revoked, says so, and goes on under whoever enables it', async () => {
    const orgId = await house.test.organisation();
    const owner = await caller(orgId);
    const { automation } = await automations.create(owner, draft('sweeper', starts));
    await house.ingest(orgId, [disk('1', 95)]);
    await house.decideAll();
    await new ApiKeyStore(house.test.database).revoke(orgId, owner.keyId, actOf(owner, 'api-key.revoke', { kind: 'api-key', id: owner.keyId }));
    await drain();
    expect(await automations.get(owner, automation.id)).toMatchObject({ pausedReason: 'the API key that owns the automation was revoked, has expired or is gone' });
    expect(await automations.firings(owner, automation.id, {}, 10)).toMatchObject([{ state: 'skipped', reason: expect.stringContaining('was revoked') }]);
    await house.ingest(orgId, [disk('2', 95)]);
    await house.decideAll();
    expect(await automations.firings(owner, automation.id, {}, 10)).toHaveLength(1);
    const next = await caller(orgId);
    expect(await automations.setEnabled(next, automation.id, true)).toMatchObject({ automation: { pausedAt: null, version: 2, owner: { id: next.keyId } } });
    await house.ingest(orgId, [disk('3', 95)]);
    await house.decideAll();
    await drain();
    expect((await automations.firings(owner, automation.id, {}, 10))[0]).toMatchObject({ state: 'fired', automationVersion: 2 });
    const acts = await house.test.database.withOrg(orgId, (tx) => tx.selectFrom('audit_acts').select(['action', 'actor_kind']).orderBy('at').execute());
    expect(acts.map(({ action, actor_kind }) => `${actor_kind} ${action}`)).toEqual(['api-key automation.create', 'api-key api-key.revoke', 'system automation.pause', 'api-key automation.enable']);
  });

  it('fails for an input that the operation refuses, and keeps the order of a key while its target is away', async () => {
    const orgId = await house.test.organisation();
    const owner = await caller(orgId);
    const { automation } = await automations.create(owner, draft('sweeper', starts));
    await house.ingest(orgId, [disk('1', 1), disk('2', 2, { subject: 'b' }), disk('3', 3, { source: 'host/b', subject: 'c' })]);
    await house.decideAll();
    const tried: string[] = [];
    await drain({
      start: (_, { input }) => {
        const { host } = z.object({ host: z.string() }).parse(input);
        tried.push(host);
        if (host === 'a') return Promise.reject(new HalError('DependencyUnavailable', 'away', { retryAfterSeconds: 60 }));
        return Promise.resolve({ runId: `sweep~${host}`, workflowId: '', created: true });
      },
    });
    expect(tried.sort()).toEqual(['a', 'c']);
    expect((await automations.firings(owner, automation.id, { state: 'pending' }, 10)).map(({ reason, attempts }) => [reason, attempts])).toEqual([['DependencyUnavailable: away', 1], ['DependencyUnavailable: away', 1]]);
    await house.test.database.withOrgClient(orgId, (client) => client.query('update automation_firings set next_at = now()'));
    tried.length = 0;
    await drain({ start: (by, request) => (tried.push(z.object({ host: z.string() }).parse(request.input).host), operations.start(by, { ...request, input: { wrong: true } })) });
    expect(tried).toEqual(['a', 'b']);
    expect((await automations.firings(owner, automation.id, { state: 'failed' }, 10)).map(({ reason }) => reason)).toEqual(['InvalidInput: the input does not match the schema', 'InvalidInput: the input does not match the schema'].map(() => expect.stringMatching(/^InvalidInput: /)));
  });
});

describe('loops', () => {
  it('are warned of when saved and end with a pause that shows the chain', async () => {
    const orgId = await house.test.organisation();
    const owner = await caller(orgId);
    const ping = await automations.create(owner, draft('ping', { trigger: { kind: 'signal', types: ['t.ping'] }, effect: { kind: 'signal', type: 't.pong' } }));
    expect(ping.warnings).toEqual([]);
    const pong = await automations.create(owner, draft('pong', { trigger: { kind: 'signal', types: ['t.pong'] }, effect: { kind: 'signal', type: 't.ping' } }));
    expect(pong.warnings).toEqual([expect.stringContaining('pong -> ping -> pong')]);
    await house.ingest(orgId, [{ id: '1', source: 'test', type: 't.ping' }]);
    for (let round = 0; round < 12; round++) {
      await house.decideAll();
      await drain();
    }
    expect(await automations.get(owner, ping.automation.id)).toMatchObject({ pausedReason: 'it set itself off again and again: ping -> pong -> ping -> pong -> ping -> pong -> ping' });
    const firings = await automations.firings(owner, ping.automation.id, {}, 20);
    expect(firings.map(({ state, chain }) => [state, chain.length])).toEqual([['failed', 6], ['fired', 4], ['fired', 2], ['fired', 0]]);
    expect((await rows(orgId)).filter(({ type }) => type.startsWith('t.'))).toHaveLength(7);
  });

  it('are found through what an operation sends under its trace', async () => {
    const orgId = await house.test.organisation();
    const owner = await caller(orgId);
    const { automation } = await automations.create(owner, draft('sweeper', { effect: { kind: 'operation', operation: 'sweep', input: { host: 'signal.subject' } } }));
    let sent = 0;
    const send = async (traceparent: string | undefined): Promise<void> => {
      sent += 1;
      const [key] = await house.ingest(orgId, [disk(`run-${String(sent)}`, 95)]);
      const { rows: moved } = await house.test.database.systemPool.query<{ id: number }>('select chunk_id as id from signal_keys where key = $1', [key]);
      await house.test.database.withOrgClient(orgId, (client) => client.query('update chunks set traceparent = $1 where id = $2', [traceparent ?? null, moved[0]?.id]));
    };
    await send(undefined);
    for (let round = 0; round < 6; round++) {
      await house.decideAll();
      let trace: string | undefined;
      await drain({ start: (by) => ((trace = by.traceparent), Promise.resolve({ runId: `sweep~${randomUUID()}`, workflowId: '', created: true })) });
      if (trace === undefined) break;
      await send(trace);
    }
    expect(await automations.get(owner, automation.id)).toMatchObject({ pausedReason: 'it set itself off again and again: sweeper -> sweeper -> sweeper -> sweeper' });
    expect(sent).toBe(4);
  });
});

describe('a dry run', () => {
  it('says for the latest signals what would happen and changes nothing', async () => {
    const orgId = await house.test.organisation();
    const owner = await caller(orgId);
    const ids = await house.ingest(orgId, [disk('1', 95), disk('2', 10), { id: '3', source: 'host/a', type: 'other' }, { id: '4', source: 'host/a', type: 'other' }]);
    const trials = await automations.dryRun(owner, draft('x', { condition: 'signal.data.used > 90', effect: { kind: 'operation', operation: 'sweep', input: { depth: 'signal.data.used' } } }), 2);
    expect(trials.map(({ signal, verdict }) => [signal, verdict.kind])).toEqual([[ids[1], 'skip'], [ids[0], 'fire']]);
    expect(trials[1]).toMatchObject({ verdict: { effect: { input: { depth: 95 } } }, inputErrors: [{ path: '/host' }] });
    expect(await automations.list(owner, 10)).toEqual([]);
  });

  it.each([
    ['an exact type', { types: ['disk.full'] }, ['a', 'd']],
    ['a prefix of types, which is no wildcard of the database', { types: ['disk_x.*', 'net.*'] }, ['c']],
    ['a prefix of types', { types: ['disk.*'] }, ['a', 'b', 'd']],
    ['all types', { types: ['*'] }, ['a', 'b', 'c', 'd', 'e']],
    ['an exact source', { types: ['*'], sources: ['host/a'] }, ['a', 'c']],
    ['a prefix of sources', { types: ['disk.*'], sources: ['host/*'] }, ['a', 'b']],
    ['all sources', { types: ['disk.full'], sources: ['*'] }, ['a', 'd']],
    ['a filter, which leaves out what was found', { types: ['disk.*'], filter: 'signal.id != "b"' }, ['a', 'd']],
  ])('looks only at the signals of %s', async (_name, trigger, expected) => {
    const orgId = await house.test.organisation();
    const owner = await caller(orgId);
    await house.ingest(orgId, [
      { id: 'a', source: 'host/a', type: 'disk.full' }, { id: 'b', source: 'host/b', type: 'disk.slow' }, { id: 'c', source: 'host/a', type: 'net.down' },
      { id: 'd', source: 'hosts', type: 'disk.full' }, { id: 'e', source: 'hosts', type: 'disk' },
    ]);
    const trials = await automations.dryRun(owner, draft('x', { trigger: { kind: 'signal', ...trigger }, effect: { kind: 'signal', type: 'seen', data: { id: 'signal.id' } } }), 100);
    expect(trials.flatMap(({ verdict }) => (verdict.kind === 'fire' && verdict.effect.kind === 'signal' ? [String(verdict.effect.data['id'])] : [])).toSorted()).toEqual(expected);
  });
});
