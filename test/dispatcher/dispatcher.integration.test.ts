import { v7 } from 'uuid';
import { sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { SignalUpkeep } from '../../database/signal-upkeep.ts';
import { systemCaller } from '../../platform/identity/caller.ts';
import { formatRunId } from '../../schemas/names/workflow-id.ts';
import { createBatchOpener, createClock } from '../../workers/dispatcher/batch-opener.ts';
import { cascadeUuid } from '../../workers/dispatcher/batch-starter.ts';
import { createRecovery } from '../../workers/dispatcher/recovery.ts';
import { callerOf, createIngest, signalOf } from '../signals/ingest-setup.ts';
import { createDispatching, type Dispatching } from './dispatching.ts';

describe('dispatcher', () => {
  let house: Dispatching;
  const never = new AbortController().signal;
  beforeAll(async () => {
    house = await createDispatching();
  });
  afterAll(() => house.close());

  const open = (batchSignals = 100): ReturnType<Dispatching['batches']['open']> =>
    house.batches.open({ batchSignals, batchIds: Array.from({ length: 8 }, () => v7()), interactiveGraceSeconds: 30, restMs: 0 });
  const statusOf = async (orgId: string, uuid: string): Promise<string> =>
    (await house.operations.describe(systemCaller(orgId, 'test'), formatRunId({ operation: 'cascade', uuid }))).status;
  const recover = async (): Promise<void> => {
    const { test, batches, starter, operations, logger } = house;
    await createRecovery({ database: test.database, batches, starter, runs: operations, logger, unstartedSeconds: 3, overdueSeconds: 20 }).run(never);
    await starter.idle();
  };

  it('opens one batch a lane, in order, up to the limit, and the rest when it is decided', async () => {
    const orgId = await house.test.organisation();
    for (const signals of [40, 40, 40, 500, 1]) await house.chunk(orgId, 2, { signals });
    await house.chunk(orgId, 5, { signals: 7 });
    const first = await open();
    expect(first.map(({ lane }) => lane).sort((a, b) => a - b)).toEqual([2, 5]);
    expect(await open()).toEqual([]);
    const sizes: number[] = [];
    for (;;) {
      const batch = (await house.batchesOf(orgId)).find(({ lane, state }) => lane === 2 && state === 'open');
      if (batch === undefined) break;
      sizes.push(batch.signals);
      await house.decide(orgId, batch.id);
      await open();
    }
    expect(sizes).toEqual([80, 40, 500, 1]);
    const taken = await house.test.database.withOrg(orgId, (tx) => tx.selectFrom('chunks').select('batch_id').execute());
    expect(taken.every(({ batch_id }) => batch_id !== null)).toBe(true);
  });

  it('keeps chunks of different depth apart and leaves a waiting caller its chunk for a while', async () => {
    const orgId = await house.test.organisation();
    await house.chunk(orgId, 0, { depth: 0 });
    await house.chunk(orgId, 0, { depth: 1 });
    await house.chunk(orgId, 0, { depth: 1 });
    await house.chunk(orgId, 1, { mode: 'interactive' });
    await house.chunk(orgId, 3, { mode: 'interactive', ageSeconds: 60 });
    await open();
    const [before] = (await house.batchesOf(orgId)).filter(({ lane }) => lane === 0);
    expect(before).toMatchObject({ signals: 1, depth: 0 });
    await house.decide(orgId, before?.id ?? '');
    await open();
    const all = await house.batchesOf(orgId);
    expect(all.filter(({ lane }) => lane === 0).map(({ signals, depth }) => [signals, depth])).toEqual([[1, 0], [2, 1]]);
    expect(all.map(({ lane }) => lane).filter((lane) => lane === 1 || lane === 3)).toEqual([3]);
  });

  it('finds what waits among many lanes and chunks at the cost of what waits', async () => {
    const orgId = await house.test.organisation();
    const { database } = house.test;
    await database.withOrgClient(orgId, async (client) => {
      await client.query(`insert into lanes (org_id, lane) select $1, n from generate_series(0, 20000) n`, [orgId]);
      await client.query(`insert into chunks (org_id, lane, signals, received_on) select $1, 7 + n % 2, 1, '2026-01-01' from generate_series(1, 20000) n`, [orgId]);
    });
    const began = performance.now();
    const opened = (await open()).filter((batch) => batch.orgId === orgId);
    expect(performance.now() - began).toBeLessThan(2000);
    expect(opened.map(({ lane }) => lane).sort((a, b) => a - b)).toEqual([7, 8]);
    await database.withOrgClient(orgId, (client) => client.query('update chunks set batch_id = $1 where batch_id is null', [orgId]));
  });

  it('gives waiting chunks of a lane that has no row a lane', async () => {
    const orgId = await house.test.organisation();
    await house.test.database.withOrgClient(orgId, (client) => client.query(`insert into chunks (org_id, lane, signals, received_on) values ($1, 3, 1, '2026-01-01')`, [orgId]));
    expect((await open()).filter((batch) => batch.orgId === orgId)).toEqual([]);
    await recover();
    expect((await open()).filter((batch) => batch.orgId === orgId).map(({ lane }) => lane)).toEqual([3]);
  });

  it('lets two dispatchers share the work without opening or starting anything twice', async () => {
    const orgId = await house.test.organisation();
    for (let lane = 0; lane < 8; lane++) for (let n = 0; n < 5; n++) await house.chunk(orgId, lane);
    const rounds = await Promise.all(Array.from({ length: 6 }, () => open(2)));
    const opened = rounds.flat().filter((batch) => batch.orgId === orgId);
    expect(opened.map(({ lane }) => lane).sort((a, b) => a - b)).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
    const counted = await house.test.database.withOrg(orgId, (tx) => tx.selectFrom('chunks').select('batch_id').where('batch_id', 'is not', null).execute());
    expect(counted).toHaveLength(16);
    house.starter.add(opened);
    house.starter.add(opened);
    await house.starter.idle();
    expect(new Set(await Promise.all(opened.map((batch) => statusOf(orgId, batch.id))))).toEqual(new Set(['running']));
    expect((await house.batchesOf(orgId)).every(({ started }) => started)).toBe(true);
  });

  it('takes what the ingest commits', async () => {
    const orgId = await house.test.organisation();
    const { receiver, ingest } = createIngest(house.test);
    await receiver.batch(callerOf(orgId), Array.from({ length: 50 }, (_, n) => signalOf({ source: `s${n}` })), { defaultSpecversion: false });
    await ingest.close();
    const opener = createBatchOpener({ batches: house.batches, starter: house.starter, batchSignals: 1000, restMs: 0 });
    while (await opener.run(never)) continue;
    await house.starter.idle();
    const batches = await house.batchesOf(orgId);
    expect(batches.reduce((sum, batch) => sum + batch.signals, 0)).toBe(50);
    expect(new Set(await Promise.all(batches.map((batch) => statusOf(orgId, batch.id))))).toEqual(new Set(['running']));
  });

  it('starts a batch whose dispatcher died before the start, as the same run', async () => {
    const orgId = await house.test.organisation();
    await house.chunk(orgId, 0);
    const [batch] = (await open()).filter((candidate) => candidate.orgId === orgId);
    if (batch === undefined) throw new Error('nothing opened');
    await recover();
    expect((await house.batchesOf(orgId))[0]).toMatchObject({ started: false });
    await house.age(orgId, batch.id, 5);
    await recover();
    expect((await house.batchesOf(orgId))[0]).toMatchObject({ started: true, attempts: 0 });
    expect(await statusOf(orgId, batch.id)).toBe('running');
  });

  it('starts a cascade anew that ended without a decision, and gives the batch up after some', async () => {
    const orgId = await house.test.organisation();
    const { receiver, ingest } = createIngest(house.test);
    const { ids } = await receiver.one(callerOf(orgId), signalOf(), { defaultSpecversion: false });
    await ingest.close();
    const [batch] = (await open()).filter((candidate) => candidate.orgId === orgId);
    if (batch === undefined) throw new Error('nothing opened');
    house.starter.add([batch]);
    await house.starter.idle();
    await house.age(orgId, batch.id, 60);
    await recover();
    expect((await house.batchesOf(orgId))[0]).toMatchObject({ attempts: 0, state: 'open' });
    for (let attempts = 0; attempts <= 3; attempts++) {
      const uuid = cascadeUuid({ id: batch.id, attempts });
      expect(await statusOf(orgId, uuid)).toBe('running');
      await house.operations.terminate(systemCaller(orgId, 'test'), formatRunId({ operation: 'cascade', uuid }), 'test');
      await house.age(orgId, batch.id, 60);
      await recover();
    }
    expect((await house.batchesOf(orgId))[0]).toMatchObject({ state: 'failed', attempts: 3 });
    const letters = await house.test.database.withOrg(orgId, (tx) => tx.selectFrom('dead_letters').selectAll().execute());
    expect(letters).toMatchObject([{ ref: ids[0], failure: 'Internal', cause: expect.stringContaining('without a decision') }]);
    const [lane] = await house.test.database.withOrg(orgId, (tx) => tx.selectFrom('lanes').select('open_batch').execute());
    expect(lane?.open_batch).toBeNull();
  });

  it('opens a clock batch where a window is due, one at a time', async () => {
    const orgId = await house.test.organisation();
    const due = async (at: Date | null): Promise<void> => {
      await house.test.database.withOrg(orgId, (tx) =>
        tx
          .insertInto('neuron_states')
          .values({ org_id: orgId, neuron_id: orgId, series: 'x', state: Buffer.from('s'), due_at: at })
          .onConflict((conflict) => conflict.columns(['org_id', 'neuron_id', 'series']).doUpdateSet({ due_at: at }))
          .execute(),
      );
    };
    const clock = createClock({ batches: house.batches, starter: house.starter });
    await due(new Date(Date.now() + 60_000));
    await clock.run(never);
    expect(await house.batchesOf(orgId)).toEqual([]);
    await due(new Date(Date.now() - 1000));
    await clock.run(never);
    await clock.run(never);
    await house.starter.idle();
    const [batch, ...others] = await house.batchesOf(orgId);
    expect(batch).toMatchObject({ lane: -1, mode: 'clock', signals: 0, started: true });
    expect(others).toEqual([]);
    await house.decide(orgId, batch?.id ?? '');
    await clock.run(never);
    expect(await house.batchesOf(orgId)).toHaveLength(1);
    await due(null);
  });

  it('makes partitions ahead and forgets keys past the window only', async () => {
    const orgId = await house.test.organisation();
    const upkeep = new SignalUpkeep(house.test.database);
    await upkeep.ensurePartitions();
    const { rows } = await sql<{ ahead: number }>`select count(*)::int as ahead from pg_inherits where inhparent = 'signals'::regclass`.execute(house.test.database.system);
    expect(rows[0]?.ahead).toBeGreaterThanOrEqual(16);
    const day = (daysAgo: number): string => new Date(Date.now() - daysAgo * 86_400_000).toISOString().slice(0, 10);
    await house.test.database.withOrg(orgId, (tx) =>
      tx.insertInto('signal_keys').values([0, 6, 8, 30].map((ago, n) => ({ org_id: orgId, key: v7(), received_on: day(ago), chunk_id: 1, ordinal: n }))).execute(),
    );
    expect(await upkeep.forgetKeys(7)).toBe(2);
    expect(await upkeep.forgetKeys(7)).toBe(0);
    const kept = await house.test.database.withOrg(orgId, (tx) => tx.selectFrom('signal_keys').select('ordinal').execute());
    expect(kept.map(({ ordinal }) => ordinal).sort((a, b) => a - b)).toEqual([0, 1]);
  });
});
