import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { RunEvent } from '../../database/run-events.ts';
import { RunStore } from '../../database/runs.ts';
import { systemCaller, type Caller } from '../../platform/identity/caller.ts';
import type { StartRequest } from '../../platform/operations/contract.ts';
import { RunProjection } from '../../platform/operations/run-projection.ts';
import { serveProject, type ServedProject } from './project.ts';

const KEY = '00000000-0000-4000-8000-00000000000a';
const greet = (input: Record<string, unknown> = {}, more: Partial<StartRequest> = {}): StartRequest => ({ operation: 'greet', input: { name: 'Ada', ...input }, origin: 'api', ...more });

describe('actions on runs', () => {
  let project: ServedProject;
  let caller: Caller;
  let projecting: NodeJS.Timeout;
  beforeAll(async () => {
    project = await serveProject();
    caller = { ...systemCaller(await project.test.organisation(), 'test'), actor: { kind: 'api-key', id: KEY } };
    const projection = new RunProjection(project.temporal.client, new RunStore(project.test.database));
    projecting = setInterval(() => void projection.advance(AbortSignal.timeout(10_000)).catch(() => undefined), 300);
  });
  afterAll(async () => {
    clearInterval(projecting);
    await project.close();
  });

  const recorded = (runId: string): Promise<unknown> => expect.poll(async () => (await project.operations.read(caller, runId)).source).toBe('read-model');
  const eventsOf = async (runId: string, after = 0): Promise<RunEvent[]> => {
    const events: RunEvent[] = [];
    for await (const batch of await project.operations.watch(caller, runId, after, AbortSignal.timeout(20_000))) events.push(...batch);
    return events;
  };

  it('holds a paused run before its next step', async () => {
    const { operations } = project;
    const { runId } = await operations.start(caller, greet({ waitFor: true }));
    await recorded(runId);
    expect(await operations.pause(caller, runId)).toBe(true);
    expect(await operations.pause(caller, runId)).toBe(false);
    await operations.signal(caller, runId, 'proceed', { title: 'Dr' });
    // The signal was taken, the activity after it was not scheduled.
    await expect.poll(() => operations.query(caller, runId, 'title', null)).toBe('Dr');
    expect((await operations.timeline(caller, runId, false)).steps.map(({ kind }) => kind)).not.toContain('activity');
    expect(await operations.describe(caller, runId)).toMatchObject({ status: 'running', pausedAt: expect.any(Date) });
    expect(await operations.resume(caller, runId)).toBe(true);
    expect(await operations.result(caller, runId, 10_000)).toMatchObject({ status: 'completed' });
    expect((await eventsOf(runId)).map(({ type }) => type).filter((type) => type !== 'progress')).toEqual(['started', 'paused', 'resumed', 'closed']);
    await expect(operations.pause(caller, runId)).rejects.toMatchObject({ type: 'RunClosed' });
  });

  it('lets a paused run be cancelled', async () => {
    const { runId } = await project.operations.start(caller, greet({ waitFor: true }));
    await project.operations.pause(caller, runId);
    await project.operations.signal(caller, runId, 'proceed', { title: 'Dr' });
    await project.operations.cancel(caller, runId);
    expect(await project.operations.result(caller, runId, 10_000)).toMatchObject({ status: 'cancelled' });
  });

  it('tells progress and the end in order, and resumes after an event', async () => {
    const { operations } = project;
    const { runId } = await operations.start(caller, greet({ waitFor: true }));
    await recorded(runId);
    await expect.poll(async () => (await operations.read(caller, runId)).progress).toMatchObject({ step: 'waiting', done: 0, total: 2 });
    const watching = eventsOf(runId);
    await operations.signal(caller, runId, 'proceed', { title: 'Dr' });
    await operations.result(caller, runId, 10_000);
    const events = await watching;
    expect(events.map(({ seq }) => seq)).toEqual(events.map((_, index) => index + 1));
    expect(events[0]).toMatchObject({ type: 'started', data: { operation: 'greet', origin: 'api' } });
    expect(events.map(({ type }) => type)).toEqual(['started', 'progress', 'closed']);
    expect(events[1]).toMatchObject({ type: 'progress', data: { step: 'waiting', done: 0, total: 2, message: 'greets' } });
    expect(events.at(-1)).toMatchObject({ type: 'closed', data: { status: 'completed' } });
    expect(await eventsOf(runId, 1)).toEqual(events.slice(1));
    expect(await operations.ended(caller, runId, events.length)).toBe(true);
    expect(await operations.ended(caller, runId, 1)).toBe(false);
  });

  it('does not show the events of another organisation', async () => {
    const { runId } = await project.operations.start(caller, greet());
    const stranger = systemCaller(await project.test.organisation(), 'test');
    await expect(project.operations.watch(stranger, runId, 0, AbortSignal.timeout(1_000))).rejects.toMatchObject({ type: 'NotFound' });
    await expect(project.operations.pause(stranger, runId)).rejects.toMatchObject({ type: 'NotFound' });
    await expect(project.operations.retry(stranger, runId)).rejects.toMatchObject({ type: 'NotFound' });
    await expect(project.operations.replay(stranger, runId, undefined, 'x')).rejects.toMatchObject({ type: 'NotFound' });
  });

  it('retries with the same input, linked both ways', async () => {
    const { operations } = project;
    const { runId } = await operations.start(caller, greet({ waitFor: true }, { tags: ['spring'] }));
    await recorded(runId);
    await expect(operations.retry(caller, runId)).rejects.toMatchObject({ type: 'Conflict' });
    await operations.terminate(caller, runId, 'test');
    await operations.result(caller, runId, 5_000);
    const again = await operations.retry(caller, runId);
    expect(again.runId).not.toBe(runId);
    await recorded(again.runId);
    expect(await operations.read(caller, again.runId)).toMatchObject({ retryOf: runId, tags: ['spring'] });
    expect(await operations.read(caller, runId)).toMatchObject({ retriedBy: again.runId, status: 'terminated' });
    await operations.signal(caller, again.runId, 'proceed', { title: 'Dr' });
    expect(await operations.result(caller, again.runId, 10_000)).toEqual({ status: 'completed', result: { greeting: 'Good day, Dr Ada.' } });
  });

  it('replays from a step after saying what that repeats', async () => {
    const { operations } = project;
    const { runId } = await operations.start(caller, greet({ waitFor: true }));
    await operations.signal(caller, runId, 'proceed', { title: 'Dr' });
    await operations.result(caller, runId, 10_000);
    const { steps } = await operations.timeline(caller, runId, false);
    const compose = steps.find(({ name }) => name === 'compose');
    expect(compose).toMatchObject({ kind: 'activity', state: 'completed', attempts: 1, failure: null });
    const plan = await operations.replayPlan(caller, runId, compose?.eventId);
    expect(plan).toMatchObject({ from: { name: 'compose' }, effect: 'idempotent', epoch: 1, open: false, repeated: [{ name: 'compose', state: 'completed' }] });
    await expect(operations.replayPlan(caller, runId, 1)).rejects.toMatchObject({ type: 'InvalidInput' });
    await expect(operations.replayPlan(caller, runId, undefined)).rejects.toMatchObject({ type: 'InvalidInput' });
    expect(await operations.replay(caller, runId, compose?.eventId, 'test')).toMatchObject({ runId, epoch: 1 });
    expect(await operations.result(caller, runId, 10_000)).toEqual({ status: 'completed', result: { greeting: 'Good day, Dr Ada.' } });
    expect(await operations.read(caller, runId)).toMatchObject({ status: 'completed', epoch: 1 });
    const types = (await eventsOf(runId, 2)).map(({ type }) => type);
    expect(types).toContain('replayed');
    expect(types.at(-1)).toBe('closed');
  });

  it('replays the first step that failed', async () => {
    const { runId } = await project.operations.start(caller, greet({ fail: true }));
    await project.operations.result(caller, runId, 10_000);
    expect(await project.operations.replayPlan(caller, runId, undefined)).toMatchObject({ from: { name: 'refuse' }, repeated: [{ name: 'refuse', state: 'failed' }] });
  });

  it('shows inputs and results in the history only to whom may decode', async () => {
    const { runId } = await project.operations.start(caller, greet({ fail: true }));
    await project.operations.result(caller, runId, 10_000);
    const { steps } = await project.operations.timeline({ ...caller, scopes: ['runs:read'] }, runId, false);
    expect(steps[0]).toMatchObject({ kind: 'run', name: 'greet', state: 'failed', failure: { type: 'ActionRefused', message: 'nobody greets Ada' } });
    expect(steps.some((step) => 'input' in step || 'result' in step)).toBe(false);
    await expect(project.operations.timeline({ ...caller, scopes: ['runs:read'] }, runId, true)).rejects.toMatchObject({ type: 'Forbidden' });
    const open = await project.operations.timeline(caller, runId, true);
    expect(open.steps[0]).toMatchObject({ input: { name: 'Ada', fail: true } });
    expect(open.steps.find(({ name }) => name === 'refuse')).toMatchObject({ input: 'Ada', state: 'failed' });
  });

  it('groups failures and filters runs by them', async () => {
    const mine: Caller = { ...caller, orgId: await project.test.organisation() };
    const failed = [await project.operations.start(mine, greet({ fail: true })), await project.operations.start(mine, greet({ fail: true }))];
    await project.operations.start(mine, greet());
    for (const { runId } of failed) await project.operations.result(mine, runId, 10_000);
    const query = { from: new Date(Date.now() - 60_000), to: new Date(Date.now() + 60_000), limit: 10 };
    await expect.poll(() => project.operations.failures(mine, query)).toMatchObject([{ operation: 'greet', failure: 'ActionRefused', count: 2, samples: expect.arrayContaining(failed.map(({ runId }) => runId)) }]);
    const ids = async (filter: Record<string, string>): Promise<number> => (await project.operations.list(mine, filter)).runs.length;
    expect([await ids({ failure: 'refus' }), await ids({ failure: '%' }), await ids({ actor: `api-key:${KEY}` }), await ids({ actor: 'user:nobody' }), await ids({ origin: 'schedule' })]).toEqual([2, 0, 3, 0, 0]);
  });

  it('takes timeouts within the operation\'s own, priorities and remarks', async () => {
    const { operations } = project;
    await expect(operations.start(caller, greet({}, { timeoutSeconds: 301 }))).rejects.toMatchObject({ type: 'InvalidInput' });
    const late = await operations.start(caller, greet({ waitFor: true }, { timeoutSeconds: 1, priority: 1, memo: { ticket: 'OPS-1' } }));
    expect(await operations.describe(caller, late.runId)).toMatchObject({ memo: { ticket: 'OPS-1' } });
    expect(await operations.result(caller, late.runId, 20_000)).toMatchObject({ status: 'timed-out' });
    const delayed = await operations.start(caller, greet({}, { delaySeconds: 2, timeoutSeconds: 10 }));
    expect(await operations.result(caller, delayed.runId, 0)).toEqual({ status: 'running' });
    expect(await operations.result(caller, delayed.runId, 20_000)).toMatchObject({ status: 'completed' });
  });
});
