import pino from 'pino';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ConcurrencyLeaseStore } from '../../database/concurrency-leases.ts';
import { RunStore } from '../../database/runs.ts';
import { systemCaller, type Caller } from '../../platform/identity/caller.ts';
import type { StartedRun, StartRequest } from '../../platform/operations/contract.ts';
import { RunProjection } from '../../platform/operations/run-projection.ts';
import { createConcurrencyDrain } from '../../workers/dispatcher/concurrency.ts';
import { serveProject, type ServedProject } from './project.ts';

const KEY = '00000000-0000-4000-8000-00000000000a';

describe('concurrency keys', () => {
  let project: ServedProject;
  let leases: ConcurrencyLeaseStore;
  let working: NodeJS.Timeout;
  beforeAll(async () => {
    project = await serveProject();
    leases = new ConcurrencyLeaseStore(project.test.database);
    const projection = new RunProjection(project.temporal.client, new RunStore(project.test.database));
    const drain = createConcurrencyDrain({ client: project.temporal.client, database: project.test.database, logger: pino({ level: 'silent' }) });
    const signal = AbortSignal.timeout(600_000);
    working = setInterval(() => void projection.advance(signal).then(() => drain.run(signal)).catch(() => undefined), 300);
  });
  afterAll(async () => {
    clearInterval(working);
    await project.close();
  });

  const somebody = async (): Promise<Caller> => ({ ...systemCaller(await project.test.organisation(), 'test'), actor: { kind: 'api-key', id: KEY } });
  const start = (caller: Caller, onConflict: NonNullable<StartRequest['concurrency']>['onConflict'], limit = 1, key = 'machine-1'): Promise<StartedRun> =>
    project.operations.start(caller, { operation: 'greet', input: { name: 'Ada', waitFor: true }, origin: 'api', concurrency: { key, limit, onConflict } });
  const state = async (caller: Caller, runId: string): Promise<string | undefined> => (await leases.of(caller.orgId, runId))?.state;
  const end = async (caller: Caller, runId: string): Promise<void> => {
    await project.operations.signal(caller, runId, 'proceed', { title: 'Dr' });
    expect(await project.operations.result(caller, runId, 20_000)).toMatchObject({ status: 'completed' });
  };

  it('queues in the order of the starts, with rising tokens', async () => {
    const caller = await somebody();
    const [first, second, third] = [await start(caller, 'queue'), await start(caller, 'queue'), await start(caller, 'queue')];
    expect([first.queued, second.queued, third.queued]).toEqual([undefined, true, true]);
    const tokens = [(await leases.of(caller.orgId, first.runId))?.token ?? 0];
    await end(caller, first.runId);
    await expect.poll(() => state(caller, second.runId)).toBe('held');
    tokens.push((await leases.of(caller.orgId, second.runId))?.token ?? 0);
    expect(await state(caller, third.runId)).toBe('queued');
    expect(await project.operations.describe(caller, third.runId)).toMatchObject({ status: 'running', lease: { state: 'queued', token: null } });
    await end(caller, second.runId);
    await expect.poll(() => state(caller, third.runId)).toBe('held');
    tokens.push((await leases.of(caller.orgId, third.runId))?.token ?? 0);
    expect(tokens).toEqual(tokens.toSorted((a, b) => a - b));
    await end(caller, third.runId);
    await expect.poll(() => state(caller, third.runId)).toBeUndefined();
  });

  it('never lets more run than the limit, however many start at once', async () => {
    const caller = await somebody();
    const started = await Promise.all(Array.from({ length: 8 }, () => start(caller, 'queue', 3)));
    expect(started.filter(({ queued }) => queued !== true)).toHaveLength(3);
    const states = await Promise.all(started.map(({ runId }) => state(caller, runId)));
    expect(states.filter((one) => one === 'held')).toHaveLength(3);
    for (const { runId } of started) await project.operations.terminate(caller, runId, 'test');
  });

  it('does not begin before its turn, whatever it is sent', async () => {
    const caller = await somebody();
    const [first, second] = [await start(caller, 'queue'), await start(caller, 'queue')];
    await project.operations.signal(caller, second.runId, 'proceed', { title: 'Dr' });
    expect(await project.operations.result(caller, second.runId, 1_500)).toEqual({ status: 'running' });
    expect((await project.operations.timeline(caller, second.runId, false)).steps.map(({ kind }) => kind)).not.toContain('activity');
    await end(caller, first.runId);
    expect(await project.operations.result(caller, second.runId, 20_000)).toMatchObject({ status: 'completed', result: { greeting: 'Good day, Dr Ada.' } });
  });

  it('can be cancelled while it waits', async () => {
    const caller = await somebody();
    const [first, second] = [await start(caller, 'queue'), await start(caller, 'queue')];
    await project.operations.cancel(caller, second.runId);
    expect(await project.operations.result(caller, second.runId, 10_000)).toMatchObject({ status: 'cancelled' });
    await end(caller, first.runId);
  });

  it('refuses, ends the newest, or lets the running one give way', async () => {
    const caller = await somebody();
    const first = await start(caller, 'queue');
    await expect(start(caller, 'reject')).rejects.toMatchObject({ type: 'RateLimited', retryAfterSeconds: 1 });
    const newest = await start(caller, 'cancel-newest');
    expect(await project.operations.result(caller, newest.runId, 10_000)).toMatchObject({ status: 'terminated' });
    const waiting = await start(caller, 'queue');
    const last = await start(caller, 'cancel-running');
    expect(await project.operations.result(caller, first.runId, 10_000)).toMatchObject({ status: 'cancelled' });
    expect(await project.operations.result(caller, waiting.runId, 10_000)).toMatchObject({ status: 'cancelled' });
    await end(caller, last.runId);
  });

  it('keeps keys and organisations apart', async () => {
    const [one, other] = [await somebody(), await somebody()];
    const started = [await start(one, 'reject'), await start(other, 'reject'), await start(one, 'reject', 1, 'machine-2')];
    expect(started.map(({ queued }) => queued)).toEqual([undefined, undefined, undefined]);
    await project.operations.terminate(one, started[0]?.runId ?? '', 'test');
    await project.operations.terminate(one, started[2]?.runId ?? '', 'test');
    await project.operations.terminate(other, started[1]?.runId ?? '', 'test');
  });
});
