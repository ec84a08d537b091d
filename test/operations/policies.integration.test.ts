import pino from 'pino';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { RunStore } from '../../database/runs.ts';
import { systemCaller, type Caller } from '../../platform/identity/caller.ts';
import type { Operations } from '../../platform/operations/contract.ts';
import { createOperations } from '../../platform/operations/operations.ts';
import { RunProjection } from '../../platform/operations/run-projection.ts';
import type { OperationContract } from '../../schemas/operations/operation.ts';
import { serveProject, type ServedProject } from './project.ts';

type Policies = Pick<OperationContract, 'conflictPolicy' | 'reusePolicy'>;

/** The fixture's operation with an id from its input: equal names are one run, as its policies say. */
describe('the id and the policies of an operation', () => {
  let project: ServedProject;
  let caller: Caller;
  const opened: Operations[] = [];
  beforeAll(async () => {
    project = await serveProject();
    caller = systemCaller(await project.test.organisation(), 'test');
  });
  afterAll(async () => {
    for (const one of opened) await one.close();
    await project.close();
  });

  const operationsWith = (policies: Partial<Policies>): Operations => {
    const greet = project.operations.contracts.get('greet');
    if (greet === undefined) throw new Error('the fixture has the operation greet');
    const contracts = new Map([['greet', { ...greet, ...policies, id: (input: unknown) => JSON.stringify(input) }]]);
    const operations = createOperations({ client: project.temporal.client, database: project.test.database, contracts, keys: project.keys, logger: pino({ level: 'silent' }) });
    opened.push(operations);
    return operations;
  };
  const begin = (operations: Operations, name: string, more: object = {}) => operations.start(caller, { operation: 'greet', input: { name, waitFor: true, ...more }, origin: 'api' });

  it('refuse a second run, join it, or end the first, while one is open', async () => {
    const failing = operationsWith({ conflictPolicy: 'fail' });
    const first = await begin(failing, 'fail');
    // Only a keyed hash of the input is in the id.
    expect(first.runId).toMatch(/^greet~[0-9a-f-]{36}$/);
    await expect(begin(failing, 'fail')).rejects.toMatchObject({ type: 'Conflict' });
    expect((await begin(failing, 'another')).runId).not.toBe(first.runId);

    const joining = operationsWith({ conflictPolicy: 'use-existing' });
    const open = await begin(joining, 'join');
    expect(await begin(joining, 'join')).toMatchObject({ runId: open.runId, created: false });
    expect((await Promise.all([1, 2, 3, 4].map(() => begin(joining, 'join at once')))).filter(({ created }) => created)).toHaveLength(1);

    const ending = operationsWith({ conflictPolicy: 'terminate-existing' });
    const before = await begin(ending, 'end');
    const { temporalRunId } = await ending.describe(caller, before.runId);
    expect(await begin(ending, 'end')).toMatchObject({ runId: before.runId, created: true });
    expect(await ending.describe(caller, before.runId)).toMatchObject({ status: 'running', temporalRunId: expect.not.stringMatching(temporalRunId ?? '') });
  });

  it('allow a run after one that has ended: always, only after a failure, or never', async () => {
    const again = async (reusePolicy: Policies['reusePolicy'], ending: 'completed' | 'failed'): Promise<boolean | string> => {
      const operations = operationsWith({ reusePolicy });
      const input = ending === 'failed' ? { waitFor: false, fail: true } : { waitFor: false };
      const { runId } = await begin(operations, reusePolicy, input);
      expect(await operations.result(caller, runId, 30_000)).toMatchObject({ status: ending });
      return begin(operations, reusePolicy, input).then(({ created }) => created, (error: { type: string }) => error.type);
    };
    expect([await again('allow-duplicate', 'completed'), await again('allow-duplicate-failed-only', 'completed'), await again('reject-duplicate', 'completed')]).toEqual([true, 'Conflict', 'Conflict']);
    expect([await again('allow-duplicate', 'failed'), await again('allow-duplicate-failed-only', 'failed'), await again('reject-duplicate', 'failed')]).toEqual([true, true, 'Conflict']);
  });

  it('are listed by type, status and time', async () => {
    const mine = systemCaller(await project.test.organisation(), 'test');
    const start = () => project.operations.start(mine, { operation: 'greet', input: { name: 'Ada' }, origin: 'api' });
    const [early, late] = [await start(), await start()];
    for (const { runId } of [early, late]) await project.operations.result(mine, runId, 30_000);
    const projection = new RunProjection(project.temporal.client, new RunStore(project.test.database));
    const ids = async (filter: object): Promise<string[]> => (await project.operations.list(mine, filter)).runs.map(({ runId }) => runId);
    await expect
      .poll(async () => {
        await projection.advance(AbortSignal.timeout(10_000));
        return ids({ status: 'completed' });
      })
      .toEqual([late.runId, early.runId]);
    const { startedAt } = await project.operations.read(mine, late.runId);
    expect(await ids({ startedFrom: startedAt })).toEqual([late.runId]);
    expect(await ids({ startedTo: startedAt })).toEqual([early.runId]);
    expect([await ids({ operation: 'greet', status: 'completed' }), await ids({ operation: 'other' }), await ids({ status: 'failed' })]).toEqual([[late.runId, early.runId], [], []]);
  });
});
