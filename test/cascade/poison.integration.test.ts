import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CascadeHouse } from './house.ts';
import { reading, THREE_LAYERS } from './neurons.ts';

/** Each rule takes the square of the list's length, as long as expressions may: together longer than a layer's time for the longest list below. */
const ENDLESS = {
  name: 'endless', layer: 'L2', subscription: { types: ['test.list'] },
  behaviour: { kind: 'rules', rules: Array.from({ length: 200 }, () => ({ when: '!signal.data.list.all(a, signal.data.list.all(b, a + b < 1000000.0))', emit: { type: 'test.small' } })) },
};

const list = (id: string, length: number) => reading(id, 0, { type: 'test.list', data: { list: Array.from({ length }, (_, n) => n) } });

let house: CascadeHouse;
beforeAll(async () => {
  house = await CascadeHouse.open();
  await house.serve();
});
afterAll(() => house.close());

const letters = async (orgId: string) => house.test.database.withOrg(orgId, (tx) => tx.selectFrom('dead_letters').selectAll().orderBy('ref').execute());

describe('poison', () => {
  it('costs a signal its one neuron, with the cause, and nobody else anything', async () => {
    const orgId = await house.test.organisation();
    const neurons = await house.neurons(orgId, THREE_LAYERS);
    const ids = await house.ingest(orgId, [reading('good', 95), reading('bad', 0, { data: { other: 1 } }), reading('fine', 99)]);
    const [result] = await house.decideAll();
    expect(result).toMatchObject({ state: 'decided', signals: 3, decisions: 2, deadLetters: 1 });
    const [letter] = await letters(orgId);
    expect(letter).toMatchObject({ ref: ids[1], layer: 'L2', neuron_id: neurons.get('hot'), neuron_version: 1, failure: 'PoisonSignal' });
    expect(letter?.cause).toContain('neuron hot');
  });

  it('sets a signal aside that cannot be read', async () => {
    const orgId = await house.test.organisation();
    await house.neurons(orgId, THREE_LAYERS);
    const ids = await house.ingest(orgId, [reading('a', 95), reading('b', 96), reading('c', 97)]);
    const client = new pg.Client({ connectionString: house.test.url });
    await client.connect();
    await client.query(`update signals set envelope = '{"broken' where key = $1`, [ids[1]]);
    await client.end();
    const [result] = await house.decideAll();
    expect(result).toMatchObject({ state: 'decided', signals: 3, decisions: 2, deadLetters: 1 });
    expect(await letters(orgId)).toMatchObject([{ ref: ids[1], cause: 'the stored text is not a JSON object', neuron_id: null }]);
  });

  it('finds the one signal that hangs or kills the evaluation thread', async () => {
    const orgId = await house.test.organisation();
    await house.neurons(orgId, [...THREE_LAYERS, ENDLESS]);
    const ids = await house.ingest(orgId, [reading('hot', 95), list('short', 3), list('poison', 1000), list('other', 2), reading('hot2', 96)]);
    const [result] = await house.decideAll();
    expect(result).toMatchObject({ state: 'decided', signals: 5, decisions: 2, deadLetters: 1 });
    const [letter] = await letters(orgId);
    expect(letter).toMatchObject({ ref: ids[2], layer: 'L2', neuron_id: null, failure: 'PoisonSignal' });
    expect(letter?.cause).toContain('the evaluation thread ended on this signal');
  }, 120_000);

  it('gives a batch up whose cascade is cancelled: its signals are dead letters, its lane is free', async () => {
    const orgId = await house.test.organisation();
    await house.neurons(orgId, [ENDLESS]);
    const ids = await house.ingest(orgId, [list('poison', 1000)]);
    const [batch] = await house.openBatches();
    if (batch === undefined) throw new Error('no batch');
    const run = await house.start(batch);
    await new Promise((resolve) => setTimeout(resolve, 800));
    await house.client.workflow.getHandle(run.workflowId).cancel();
    await expect(run.result()).rejects.toThrow(/cancelled/i);
    expect(await letters(orgId)).toMatchObject([{ ref: ids[0], failure: 'Conflict', cause: 'the cascade was cancelled' }]);
    const state = await house.test.database.withOrg(orgId, (tx) => tx.selectFrom('batches').select(['state', 'dead_letters']).execute());
    expect(state).toEqual([{ state: 'failed', dead_letters: 1 }]);
    const lanes = await house.test.database.withOrg(orgId, (tx) => tx.selectFrom('lanes').select('open_batch').execute());
    expect(lanes.every((lane) => lane.open_batch === null)).toBe(true);
  });
});
