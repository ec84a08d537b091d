import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { TASK_QUEUES } from '../../schemas/names/task-queues.ts';
import { CascadeHouse, type Activities, wrapActivity } from './house.ts';
import { reading, THREE_LAYERS } from './neurons.ts';

let house: CascadeHouse;
/** Answers of layers that get lost once on their way to Temporal, after the commit. */
const lost = new Set<string>();

beforeAll(async () => {
  house = await CascadeHouse.open();
  await house.serve(losingAnswers);
});
afterAll(() => house.close());

/** The process "dies" between the commit and the acknowledgement of each layer, once. */
function losingAnswers(activities: Activities): Activities {
  const lossy = (before: Activities, queue: string): Activities =>
    wrapActivity(before, queue, 'evaluateLayer', (evaluate) => async (...args: never[]) => {
      const answer = await evaluate(...args);
      const key = `${queue} ${JSON.stringify(args)}`;
      if (!lost.has(key)) {
        lost.add(key);
        throw new Error('the acknowledgement is lost');
      }
      return answer;
    });
  return [TASK_QUEUES.neuronsL2, TASK_QUEUES.neuronsL3, TASK_QUEUES.neuronsL4].reduce(lossy, activities);
}

async function counts(orgId: string): Promise<Record<string, number>> {
  return house.test.database.withOrg(orgId, async (tx) => {
    const of = async (table: 'emissions' | 'decisions' | 'outbox' | 'layer_results' | 'dead_letters'): Promise<number> =>
      Number((await tx.selectFrom(table).select((select) => select.fn.countAll().as('n')).executeTakeFirstOrThrow()).n);
    return { emissions: await of('emissions'), decisions: await of('decisions'), outbox: await of('outbox'), layers: await of('layer_results'), deadLetters: await of('dead_letters') };
  });
}

describe('exactly once', () => {
  it('reads the stored result when an attempt committed and its answer was lost', async () => {
    const orgId = await house.test.organisation();
    await house.neurons(orgId, THREE_LAYERS);
    await house.ingest(orgId, Array.from({ length: 50 }, (_, n) => reading(`r${n}`, n + 50)));
    const before = lost.size;
    const [result] = await house.decideAll();
    expect(lost.size - before).toBe(3);
    expect(result).toMatchObject({ state: 'decided', signals: 50, emissions: 18, decisions: 9 });
    expect(await counts(orgId)).toEqual({ emissions: 18, decisions: 9, outbox: 9, layers: 3, deadLetters: 0 });
  });

  it('lets one of two attempts at once win, and both answer the same', async () => {
    const orgId = await house.test.organisation();
    await house.neurons(orgId, THREE_LAYERS);
    await house.ingest(orgId, Array.from({ length: 2000 }, (_, n) => reading(`r${n}`, n)));
    const [batch] = await house.openBatches();
    if (batch === undefined) throw new Error('no batch');
    const job = { kind: 'layer' as const, orgId, batchId: batch.id, layer: 'L2' as const, poison: [] };
    const answers = await Promise.all([1, 2].map(() => house.pools.batch.run<'layer'>(job, { timeoutMs: 30_000 })));
    expect(answers[0]).toEqual(answers[1]);
    expect(answers[0]).toMatchObject({ emissions: 1909, next: 'L3', closed: false });
    expect(await counts(orgId)).toMatchObject({ emissions: 1909, layers: 1 });
    await (await house.start(batch)).result();
  });

  it('has no batch of another organisation', async () => {
    const [mine, other] = [await house.test.organisation(), await house.test.organisation()];
    await house.ingest(mine, [reading('a', 1)]);
    const [batch] = await house.openBatches();
    if (batch === undefined) throw new Error('no batch');
    await expect(house.pools.batch.run<'layer'>({ kind: 'layer', orgId: other, batchId: batch.id, layer: 'L2', poison: [] }, { timeoutMs: 10_000 })).rejects.toMatchObject({ type: 'NotFound' });
    await expect(house.pools.batch.run<'layer'>({ kind: 'layer', orgId: mine, batchId: randomUUID(), layer: 'L2', poison: [] }, { timeoutMs: 10_000 })).rejects.toMatchObject({ type: 'NotFound' });
    expect(await (await house.start(batch)).result()).toMatchObject({ state: 'decided', signals: 1 });
  });
});
