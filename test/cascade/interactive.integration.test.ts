import { randomBytes } from 'node:crypto';
import pg from 'pg';
import pino from 'pino';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DecisionStore } from '../../database/decisions.ts';
import { SignalReadStore } from '../../database/signal-reads.ts';
import { SignalStore } from '../../database/signals.ts';
import { systemCaller } from '../../platform/identity/caller.ts';
import { KeyRing } from '../../platform/keys/key-ring.ts';
import type { Operations } from '../../platform/operations/contract.ts';
import { createOperations } from '../../platform/operations/operations.ts';
import { DecidedBatches } from '../../platform/signals/decided-batches.ts';
import { createDecide, knownDecision } from '../../platform/signals/decide.ts';
import { prepareValue } from '../../platform/signals/prepare.ts';
import { commitWaiting, type Decide, type WaitingSignal } from '../../platform/signals/waiting.ts';
import { TASK_QUEUES } from '../../schemas/names/task-queues.ts';
import { formatWorkflowId } from '../../schemas/names/workflow-id.ts';
import cascade from '../../schemas/operations/cascade.ts';
import { signalDecision, type SignalDecision } from '../../schemas/rest/decisions.ts';
import { type Activities, CascadeHouse, wrapActivity } from './house.ts';
import { reading, THREE_LAYERS } from './neurons.ts';

let house: CascadeHouse;
let operations: Operations;
let decide: Decide;
let decisions: DecisionStore;
let decided: DecidedBatches;
/** Batches whose one local activity fails, with its attempts. */
const failing = new Map<string, number>();

beforeAll(async () => {
  house = await CascadeHouse.open();
  await house.serve(failingAtOnce);
  const { database } = house.test;
  operations = createOperations({ client: house.client, database, contracts: new Map([[cascade.name, cascade]]), keys: new KeyRing([{ id: 'test', key: randomBytes(32) }]), logger: pino({ level: 'silent' }) });
  decisions = new DecisionStore(database);
  decided = new DecidedBatches(database, pino({ level: 'silent' }));
  decide = createDecide({ operations, decisions, decided });
});
afterAll(async () => {
  await decided.close();
  await operations.close();
  await house.close();
});

const never = new AbortController().signal;

/** All layers at once fail for the batches in `failing`. */
function failingAtOnce(activities: Activities): Activities {
  return wrapActivity(activities, TASK_QUEUES.interactive, 'evaluateAllLayers', (evaluate) => async (...args: never[]) => {
    const batchId = [...failing.keys()].find((id) => JSON.stringify(args).includes(id));
    if (batchId === undefined) return evaluate(...args);
    failing.set(batchId, (failing.get(batchId) ?? 0) + 1);
    throw new Error('the thread ended');
  });
}

function prepared(orgId: string, signal: Readonly<Record<string, unknown>>) {
  const { row } = prepareValue(signal, { orgId, lanes: house.lanes, receivedAt: new Date().toISOString(), defaultSpecversion: true });
  if (row === undefined) throw new Error('not a signal');
  return row;
}

async function committed(orgId: string, signal: Readonly<Record<string, unknown>>): Promise<WaitingSignal> {
  const waiting = await commitWaiting(new SignalStore(house.test.database), systemCaller(orgId, 'test'), prepared(orgId, signal));
  if (waiting === undefined) throw new Error('it was there before');
  return waiting;
}

async function answerTo(orgId: string, signal: Readonly<Record<string, unknown>>): Promise<SignalDecision> {
  return signalDecision.parse(await decide(systemCaller(orgId, 'test'), await committed(orgId, signal), { timeoutMs: 20_000, signal: never }));
}

describe('a waiting caller', () => {
  it('gets the decision that three layers make', async () => {
    const orgId = await house.test.organisation();
    await house.neurons(orgId, THREE_LAYERS);
    const answer = await answerTo(orgId, reading('hot', 95));
    expect(answer).toMatchObject({ state: 'decided', decisions: [{ summary: 'cool host-a', reason: 'value 95', severity: 'critical', layer: 'L4', neuron: 'cool', effectState: 'pending', effect: { operation: { type: 'remediate' } } }] });
    const layers = await house.test.database.withOrg(orgId, (tx) => tx.selectFrom('layer_results').select('layer').orderBy('layer').execute());
    expect(layers.map((row) => row.layer)).toEqual(['L2', 'L3', 'L4']);
  });

  it('gets an empty answer when nothing was decided', async () => {
    const orgId = await house.test.organisation();
    await house.neurons(orgId, THREE_LAYERS);
    expect(await answerTo(orgId, reading('cold', 5))).toMatchObject({ state: 'decided', decisions: [] });
  });

  it('is told what was decided before when it sends the same signal again', async () => {
    const orgId = await house.test.organisation();
    await house.neurons(orgId, THREE_LAYERS);
    const first = await answerTo(orgId, reading('again', 95));
    expect(await commitWaiting(new SignalStore(house.test.database), systemCaller(orgId, 'test'), prepared(orgId, reading('again', 95)))).toBeUndefined();
    const again = await knownDecision({ decisions, reads: new SignalReadStore(house.test.database) }, systemCaller(orgId, 'test'), first.signalId, { timeoutMs: 5000, signal: never });
    expect(again).toEqual(first);
  });

  it('waits for a state that a batch holds, and loses nothing', async () => {
    const orgId = await house.test.organisation();
    const neurons = await house.neurons(orgId, [
      { name: 'series', layer: 'L2', subscription: { types: ['test.reading'] }, behaviour: { kind: 'detector', warmUp: 1, series: 'signal.subject' } },
      { name: 'decide', layer: 'L2', subscription: { types: ['test.reading'] }, behaviour: { kind: 'rules', rules: [{ when: 'true', decide: { summary: '"seen"', reason: '"always"' } }] } },
    ]);
    await answerTo(orgId, reading('first', 1));
    const holder = new pg.Client({ connectionString: house.test.url });
    await holder.connect();
    await holder.query('begin');
    await holder.query('select 1 from neuron_states where neuron_id = $1 for update', [neurons.get('series')]);
    let answered = false;
    const answer = answerTo(orgId, reading('second', 2)).finally(() => (answered = true));
    await new Promise((resolve) => setTimeout(resolve, 700));
    expect(answered).toBe(false);
    await holder.query('commit');
    await holder.end();
    expect(await answer).toMatchObject({ state: 'decided', decisions: [{ summary: 'seen' }] });
  });

  it('is answered by the decision of an earlier batch that the cooldown makes the same', async () => {
    const orgId = await house.test.organisation();
    await house.neurons(orgId, [{ name: 'decide', layer: 'L2', subscription: { types: ['test.reading'] }, behaviour: { kind: 'rules', rules: [{ when: 'true', decide: { summary: '"down"', reason: '"r"', key: '"k"', cooldownSeconds: 60 } }] } }]);
    const first = await answerTo(orgId, reading('one', 1));
    const second = await answerTo(orgId, reading('two', 1));
    expect(second.decisions.map(({ id }) => id)).toEqual(first.decisions.map(({ id }) => id));
  });

  it('is answered by the commit that decides, whatever becomes of the run\'s own answer', async () => {
    const orgId = await house.test.organisation();
    await house.neurons(orgId, THREE_LAYERS);
    // From the first signal on somebody listens.
    await answerTo(orgId, reading('before', 95));
    const lost: Pick<Operations, 'startWithUpdate'> = {
      startWithUpdate: async (...start) => {
        await operations.startWithUpdate(...start);
        return new Promise(() => undefined);
      },
    };
    const answer = createDecide({ operations: lost, decisions, decided })(systemCaller(orgId, 'test'), await committed(orgId, reading('heard', 95)), { timeoutMs: 20_000, signal: never });
    expect(await answer).toMatchObject({ state: 'decided', decisions: [{ summary: 'cool host-a' }] });
  });

  it('is answered by the run when the announcement is lost', async () => {
    const orgId = await house.test.organisation();
    await house.neurons(orgId, THREE_LAYERS);
    const deaf: Pick<DecidedBatches, 'expect'> = { expect: () => ({ decided: new Promise(() => undefined), forget: () => undefined }) };
    const answer = createDecide({ operations, decisions, decided: deaf })(systemCaller(orgId, 'test'), await committed(orgId, reading('unheard', 95)), { timeoutMs: 20_000, signal: never });
    expect(await answer).toMatchObject({ state: 'decided', decisions: [{ summary: 'cool host-a' }] });
  });

  it('is answered layer by layer when all layers at once fail, by the same run', async () => {
    const orgId = await house.test.organisation();
    await house.neurons(orgId, THREE_LAYERS);
    const waiting = await committed(orgId, reading('patient', 95));
    failing.set(waiting.batchId, 0);
    expect(await decide(systemCaller(orgId, 'test'), waiting, { timeoutMs: 20_000, signal: never })).toMatchObject({ state: 'decided', decisions: [{ summary: 'cool host-a' }] });
    expect(failing.get(waiting.batchId)).toBe(2);
    const run = house.client.workflow.getHandle(formatWorkflowId({ orgId, operation: 'cascade', uuid: waiting.batchId }));
    expect(await run.result()).toMatchObject({ state: 'decided', decisions: 1 });
  });

  it('may leave: the batch is decided all the same, by whoever starts it', async () => {
    const orgId = await house.test.organisation();
    await house.neurons(orgId, THREE_LAYERS);
    const waiting = await committed(orgId, reading('left', 95));
    // The dispatcher finds the batch open and not started, and starts it on the ordinary queue.
    const run = await house.start({ orgId, id: waiting.batchId });
    expect(await run.result()).toMatchObject({ state: 'decided', decisions: 1 });
    // A caller that comes too late for the run is answered from the database.
    expect(await decide(systemCaller(orgId, 'test'), waiting, { timeoutMs: 5000, signal: never })).toMatchObject({ state: 'decided', decisions: [{ summary: 'cool host-a' }] });
  });

  it('is refused an answer in time when there is none', async () => {
    const orgId = await house.test.organisation();
    const waiting = await committed(orgId, reading('late', 95));
    await expect(knownDecision({ decisions, reads: new SignalReadStore(house.test.database) }, systemCaller(orgId, 'test'), waiting.key, { timeoutMs: 100, signal: never })).rejects.toMatchObject({ type: 'Timeout' });
  });
});
