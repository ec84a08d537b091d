import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { OpenBatchStore } from '../../database/batches-open.ts';
import { CascadeHouse } from './house.ts';
import { reading } from './neurons.ts';

let house: CascadeHouse;
beforeAll(async () => {
  house = await CascadeHouse.open();
  await house.serve();
});
afterAll(() => house.close());

const rules = (name: string, layer: string, type: string, rule: Readonly<Record<string, unknown>>) => ({ name, layer, subscription: { types: [type] }, behaviour: { kind: 'rules', rules: [{ when: 'true', ...rule }] } });
const rows = (orgId: string, table: 'emissions' | 'decisions' | 'dead_letters') => house.test.database.withOrg(orgId, (tx) => tx.selectFrom(table).selectAll().orderBy('created_at').orderBy('id').execute());

describe('the way through the layers', () => {
  it('costs one activity when nothing is emitted, and its history holds no data', async () => {
    const orgId = await house.test.organisation();
    await house.neurons(orgId, [rules('never', 'L2', 'other', { emit: { type: 'x' } })]);
    await house.ingest(orgId, [reading('a', 1, { data: { value: 1, secret: 'payload-text' } })]);
    const [batch] = await house.openBatches();
    if (batch === undefined) throw new Error('no batch');
    const run = await house.start(batch);
    expect(await run.result()).toMatchObject({ state: 'decided', emissions: 0 });
    const { events } = await house.client.workflow.getHandle(run.workflowId).fetchHistory();
    expect(events?.filter((event) => event.activityTaskScheduledEventAttributes)).toHaveLength(1);
    expect(JSON.stringify(events)).not.toContain(Buffer.from('payload-text').toString('base64').slice(0, 12));
    expect(JSON.stringify(events).length).toBeLessThan(12_000);
  });

  it('delegates down as a signal of a new batch, one deeper, and guards against loops', async () => {
    const orgId = await house.test.organisation();
    await house.neurons(orgId, [
      rules('up', 'L2', 'test.reading', { emit: { type: 'test.up' } }),
      rules('back', 'L3', 'test.up', { delegate: { layer: 'L2', type: 'test.look', data: '{"look": true}' } }),
      rules('look', 'L2', 'test.look', { emit: { type: 'test.up' } }),
    ]);
    await house.ingest(orgId, [reading('a', 1)]);
    const results = await house.decideAll();
    expect(results.map((result) => result.state)).toEqual(['decided', 'decided']);
    const emissions = await rows(orgId, 'emissions');
    expect(emissions).toMatchObject([
      { neuron_name: 'up', direction: 'up', depth: 0 },
      { neuron_name: 'back', direction: 'down', target_layer: 'L2', depth: 1, path: ['up', 'back'] },
      // `back` sees what `look` found, and stays silent: the signal came through it already.
      { neuron_name: 'look', direction: 'up', depth: 1, path: ['up', 'back', 'look'] },
    ]);
    const chunks = await house.test.database.withOrg(orgId, (tx) => tx.selectFrom('chunks').select('depth').orderBy('id').execute());
    expect(chunks).toEqual([{ depth: 0 }, { depth: 1 }]);
  });

  it('stops a chain of delegations at its cap, as a dead letter', async () => {
    const orgId = await house.test.organisation();
    const steps = Array.from({ length: 11 }, (_, n) => n);
    await house.neurons(orgId, steps.flatMap((n) => [
      rules(`u${n}`, 'L2', `d.${n}`, { emit: { type: `e.${n}` } }),
      rules(`v${n}`, 'L3', `e.${n}`, { delegate: { layer: 'L2', type: `d.${n + 1}` } }),
    ]));
    await house.ingest(orgId, [reading('a', 1, { type: 'd.0' })]);
    const results = await house.decideAll();
    expect(results).toHaveLength(9);
    expect(await rows(orgId, 'dead_letters')).toMatchObject([{ layer: 'L3', failure: 'PoisonSignal' }]);
  }, 120_000);

  it('makes decisions of one key within the cooldown one, also across lanes', async () => {
    const orgId = await house.test.organisation();
    await house.neurons(orgId, [rules('decide', 'L2', 'test.reading', { decide: { summary: '"down"', reason: '"because"', key: 'signal.subject', cooldownSeconds: 60 } })]);
    const at = (second: number) => new Date(Date.UTC(2026, 0, 1) + second * 1000).toISOString();
    const sources = ['host/a', 'host/b', 'host/c', 'host/d'];
    const ids = await house.ingest(orgId, sources.flatMap((source, n) => [reading(`x${n}`, 1, { source, time: at(n) }), reading(`y${n}`, 1, { source, time: at(n + 10) }), reading(`z${n}`, 1, { source, subject: 'other', time: at(200) })]));
    const batches = await house.openBatches();
    expect(batches.length).toBeGreaterThan(1);
    await Promise.all(batches.map(async (batch) => (await house.start(batch)).result()));
    const decisions = await house.test.database.withOrg(orgId, (tx) => tx.selectFrom('decisions').select(['dedup_key', 'causes']).orderBy('dedup_key').execute());
    expect(decisions.map((decision) => decision.dedup_key)).toEqual(['host-a', 'other']);
    // The one decision names every signal it covers.
    expect(decisions.flatMap((decision) => decision.causes).sort()).toEqual([...ids].sort());
    await house.ingest(orgId, [reading('later', 1, { time: at(500) })]);
    await house.decideAll();
    expect(await rows(orgId, 'decisions')).toHaveLength(3);
  });

  it('correlates across lanes into one incident, and closes it by the clock', async () => {
    const orgId = await house.test.organisation();
    await house.neurons(orgId, [
      rules('pass', 'L2', 'test.reading', { emit: { type: 'hal9.anomaly', severity: 'warning' } }),
      { name: 'group', layer: 'L3', subscription: { types: ['hal9.anomaly'] }, behaviour: { kind: 'correlator', gapSeconds: 1, settleSeconds: 0, latenessSeconds: 1, member: 'signal.source', causes: [{ cause: 'heat', when: 'true' }] } },
      rules('judge', 'L4', 'hal9.incident', { decide: { summary: '"incident " + signal.data.state', reason: '"grouped"' } }),
    ]);
    const now = new Date().toISOString();
    await house.ingest(orgId, ['host/a', 'host/b', 'host/c', 'host/d'].map((source, n) => reading(`m${n}`, 1, { source, time: now })));
    const results = await house.decideAll();
    expect(results.length).toBeGreaterThan(1);
    const opened = await house.test.database.withOrg(orgId, (tx) => tx.selectFrom('emissions').select('data').where('type', '=', 'hal9.incident').execute());
    expect(opened).toMatchObject([{ data: { state: 'opened' } }]);
    const store = new OpenBatchStore(house.test.database);
    const deadline = Date.now() + 20_000;
    let closed = false;
    while (!closed && Date.now() < deadline) {
      const [clock] = await store.openClock([randomUUID()], 0);
      if (clock === undefined) await new Promise((resolve) => setTimeout(resolve, 100));
      else expect(await (await house.start(clock)).result()).toMatchObject({ state: 'decided', signals: 0 });
      const states = await house.test.database.withOrg(orgId, (tx) => tx.selectFrom('emissions').select('data').where('type', '=', 'hal9.incident').execute());
      closed = JSON.stringify(states).includes('"closed"');
    }
    expect(closed).toBe(true);
    const summaries = await house.test.database.withOrg(orgId, (tx) => tx.selectFrom('decisions').select('summary').execute());
    expect(summaries.map((row) => row.summary)).toContain('incident closed');
  });

  it('does not let today close what happened years ago in replayed history', async () => {
    const orgId = await house.test.organisation();
    await house.neurons(orgId, [
      rules('pass', 'L2', 'test.reading', { emit: { type: 'hal9.anomaly' } }),
      { name: 'group', layer: 'L3', subscription: { types: ['hal9.anomaly'] }, behaviour: { kind: 'correlator', gapSeconds: 600, settleSeconds: 0, member: 'signal.source' } },
    ]);
    await house.ingest(orgId, [reading('old', 1, { time: '2014-02-14T14:27:00Z' })]);
    await house.decideAll();
    const clocks = await new OpenBatchStore(house.test.database).openClock([randomUUID(), randomUUID()], 0);
    expect(clocks.filter((clock) => clock.orgId === orgId)).toEqual([]);
    // The next event, an hour later in its own time, closes the group.
    await house.ingest(orgId, [reading('next', 1, { time: '2014-02-14T15:27:00Z' })]);
    await house.decideAll();
    const states = await house.test.database.withOrg(orgId, (tx) => tx.selectFrom('emissions').select('data').where('type', '=', 'hal9.incident').orderBy('created_at').orderBy('ordinal').execute());
    expect(states.map((row) => (typeof row.data === 'object' && row.data !== null && 'state' in row.data ? row.data.state : undefined))).toEqual(['opened', 'closed', 'opened']);
  });
});
