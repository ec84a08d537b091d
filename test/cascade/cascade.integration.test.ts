import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CascadeHouse } from './house.ts';
import { reading, THREE_LAYERS } from './neurons.ts';

let house: CascadeHouse;
beforeAll(async () => {
  house = await CascadeHouse.open();
  await house.serve();
});
afterAll(() => house.close());

describe('a cascade', () => {
  it('passes a batch through three layers and decides', async () => {
    const orgId = await house.test.organisation();
    await house.neurons(orgId, THREE_LAYERS);
    const ids = await house.ingest(orgId, Array.from({ length: 100 }, (_, n) => reading(`r${n}`, n)));
    const [result, ...others] = await house.decideAll();
    expect(others).toEqual([]);
    expect(result).toMatchObject({ state: 'decided', signals: 100, emissions: 18, decisions: 9, deadLetters: 0 });
    const rows = await house.test.database.withOrg(orgId, (tx) => tx.selectFrom('decisions').selectAll().orderBy('ordinal').execute());
    expect(rows.map((row) => row.summary)).toEqual(Array.from({ length: 9 }, () => 'cool host-a'));
    expect(rows[0]).toMatchObject({ layer: 'L4', reason: 'value 91', severity: 'critical', state: 'pending', neuron_name: 'cool' });
    const emissions = await house.test.database.withOrg(orgId, (tx) => tx.selectFrom('emissions').selectAll().orderBy('layer').orderBy('ordinal').execute());
    expect(emissions.filter((row) => row.layer === 'L2').map((row) => row.causes)).toEqual(ids.slice(91).map((id) => [id]));
    const outbox = await house.test.database.withOrg(orgId, (tx) => tx.selectFrom('outbox').selectAll().execute());
    expect(outbox.map((row) => row.id).sort()).toEqual(rows.map((row) => row.id).sort());
    expect(outbox[0]?.payload).toEqual({ type: 'remediate', input: { subject: 'host-a' } });
    const batches = await house.test.database.withOrg(orgId, (tx) => tx.selectFrom('batches').selectAll().execute());
    expect(batches).toMatchObject([{ state: 'decided', emissions: 18, decisions: 9 }]);
    const lanes = await house.test.database.withOrg(orgId, (tx) => tx.selectFrom('lanes').selectAll().execute());
    expect(lanes.every((lane) => lane.open_batch === null)).toBe(true);
  });
});
