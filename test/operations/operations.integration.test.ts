import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { systemCaller, type Caller } from '../../platform/identity/caller.ts';
import type { StartRequest } from '../../platform/operations/contract.ts';
import { serveProject, type ServedProject } from './project.ts';

const greet = (input: Record<string, unknown> = {}, more: Partial<StartRequest> = {}): StartRequest => ({ operation: 'greet', input: { name: 'Ada', ...input }, origin: 'api', ...more });

describe('operations', () => {
  let project: ServedProject;
  let caller: Caller;
  beforeAll(async () => {
    project = await serveProject();
    caller = systemCaller(await project.test.organisation(), 'test');
  });
  afterAll(() => project.close());

  it('starts a run and answers its result', async () => {
    const started = await project.operations.start(caller, greet());
    expect(started).toMatchObject({ created: true, runId: expect.stringMatching(/^greet~[0-9a-f-]{36}$/) });
    expect(await project.operations.result(caller, started.runId, 10_000)).toEqual({ status: 'completed', result: { greeting: 'Good day, Ada.' } });
  });

  it('refuses input that does not match, naming the field', async () => {
    await expect(project.operations.start(caller, greet({ name: '' }))).rejects.toMatchObject({ type: 'InvalidInput', errors: [{ path: '/name' }] });
    await expect(project.operations.start(caller, { ...greet(), operation: 'nothing' })).rejects.toMatchObject({ type: 'UnknownOperation' });
  });

  it('passes signals, queries and updates', async () => {
    const { runId } = await project.operations.start(caller, greet({ waitFor: true }));
    expect(await project.operations.query(caller, runId, 'title', null)).toBeNull();
    expect(await project.operations.update(caller, runId, 'rename', { name: 'Grace' })).toEqual({ before: 'Ada' });
    await expect(project.operations.update(caller, runId, 'rename', { name: '' })).rejects.toMatchObject({ type: 'UpdateRejected', message: 'a name cannot be empty' });
    await expect(project.operations.signal(caller, runId, 'proceed', { title: 1 })).rejects.toMatchObject({ type: 'InvalidInput' });
    await expect(project.operations.signal(caller, runId, 'begone', {})).rejects.toMatchObject({ type: 'UnknownMessage' });
    await project.operations.signal(caller, runId, 'proceed', { title: 'Rear Admiral' });
    expect(await project.operations.result(caller, runId, 10_000)).toEqual({ status: 'completed', result: { greeting: 'Good day, Rear Admiral Grace.' } });
    await expect(project.operations.signal(caller, runId, 'proceed', { title: 'x' })).rejects.toMatchObject({ type: 'RunClosed' });
  });

  it('answers an update that comes with the start', async () => {
    const request = greet({ waitFor: true }, { uuid: randomUUID(), taskQueue: 'core-interactive', origin: 'dispatcher' });
    const answer = await project.operations.startWithUpdate(caller, request, { name: 'hail', payload: {}, timeoutMs: 10_000 });
    expect(answer).toEqual({ greeting: 'Good day, Ada.' });
  });

  it('says how a failed run failed', async () => {
    const { runId } = await project.operations.start(caller, greet({ fail: true }));
    expect(await project.operations.result(caller, runId, 10_000)).toEqual({ status: 'failed', failure: { type: 'ActionRefused', message: 'nobody greets Ada' } });
  });

  it('keeps another organisation out', async () => {
    const { runId } = await project.operations.start(caller, greet({ waitFor: true }));
    const stranger = systemCaller(await project.test.organisation(), 'test');
    await expect(project.operations.describe(stranger, runId)).rejects.toMatchObject({ type: 'NotFound' });
    await expect(project.operations.result(stranger, runId, 0)).rejects.toMatchObject({ type: 'NotFound' });
    await expect(project.operations.signal(stranger, runId, 'proceed', { title: 'x' })).rejects.toMatchObject({ type: 'NotFound' });
    await expect(project.operations.terminate(stranger, runId, 'x')).rejects.toMatchObject({ type: 'NotFound' });
    await project.operations.terminate(caller, runId, 'enough');
    expect(await project.operations.result(caller, runId, 5_000)).toMatchObject({ status: 'terminated' });
  });

  it('wants the permission of the operation and of the message', async () => {
    const reader: Caller = { ...caller, scopes: ['runs:read'] };
    await expect(project.operations.start(reader, greet())).rejects.toMatchObject({ type: 'Forbidden' });
    const { runId } = await project.operations.start(caller, greet({ waitFor: true }));
    const narrow: Caller = { ...caller, scopes: ['runs:write:type=greet'] };
    await expect(project.operations.update(narrow, runId, 'hail', {})).rejects.toMatchObject({ type: 'Forbidden', message: expect.stringContaining('greetings:write') });
    await project.operations.cancel(narrow, runId);
    expect(await project.operations.result(caller, runId, 10_000)).toMatchObject({ status: 'cancelled' });
  });

  it('describes an open run', async () => {
    const { runId } = await project.operations.start(caller, greet({ waitFor: true }, { tags: ['spring'] }));
    const description = await project.operations.describe(caller, runId);
    expect(description).toMatchObject({ status: 'running', source: 'temporal', operation: 'greet', progress: { step: 'waiting', done: 0, total: 2 }, tags: ['spring'] });
    await project.operations.terminate(caller, runId, 'done');
  });

  it('says in plain words what an open run waits for', async () => {
    const { runId } = await project.operations.start(caller, greet({ stumble: true }));
    await expect.poll(async () => (await project.operations.describe(caller, runId)).pendingActivities).toMatchObject([
      {
        name: 'stumble',
        state: 'retrying',
        attempt: 2,
        nextAttemptAt: expect.any(Date),
        lastFailure: { type: 'ExternalCallFailed', message: 'the doorbell does not ring' },
        explanation: expect.stringMatching(/^"stumble" will be tried again at 20.* as attempt 2; the last attempt failed with ExternalCallFailed: the doorbell does not ring$/),
      },
    ]);
    await project.operations.terminate(caller, runId, 'enough');
  });

  it('lists runs with filters and pages', async () => {
    const mine = systemCaller(await project.test.organisation(), 'test');
    for (const tag of ['a', 'b', 'a']) await project.operations.start(mine, greet({}, { tags: [tag] }));
    await expect.poll(async () => (await project.operations.list(mine, {})).runs.length).toBe(3);
    const tagged = await project.operations.list(mine, { tag: 'a', operation: 'greet' });
    expect(tagged.runs).toHaveLength(2);
    const first = await project.operations.list(mine, { limit: 2 });
    const second = await project.operations.list(mine, { limit: 2, cursor: first.nextCursor ?? '' });
    expect(second.nextCursor).toBeNull();
    expect(new Set([...first.runs, ...second.runs].map((run) => run.runId)).size).toBe(3);
    await expect(project.operations.list(mine, { cursor: 'rubbish' })).rejects.toMatchObject({ type: 'InvalidInput' });
  });

  it('starts once for one Idempotency-Key, however many ask at once', async () => {
    const request = greet({}, { idempotencyKey: randomUUID() });
    const answers = await Promise.all(Array.from({ length: 10 }, () => project.operations.start(caller, request)));
    expect(new Set(answers.map((answer) => answer.runId)).size).toBe(1);
    expect(answers.filter((answer) => answer.created)).toHaveLength(1);
    await expect(project.operations.start(caller, { ...request, input: { name: 'Bob' } })).rejects.toMatchObject({ type: 'IdempotencyMismatch' });
    const reordered = await project.operations.start(caller, { ...request });
    expect(reordered).toMatchObject({ runId: answers[0]?.runId, created: false });
  });

  it('finds the run of a uuid again', async () => {
    const request = greet({}, { uuid: randomUUID(), origin: 'dispatcher' });
    expect((await project.operations.start(caller, request)).created).toBe(true);
    expect((await project.operations.start(caller, request)).created).toBe(false);
  });
});
