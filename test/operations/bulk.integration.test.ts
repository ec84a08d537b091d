import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import pino from 'pino';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { RunStore } from '../../database/runs.ts';
import { systemCaller, type Caller } from '../../platform/identity/caller.ts';
import { Bulk, type BulkRequest } from '../../platform/operations/bulk.ts';
import { HAL9_ROOT } from '../../platform/operations/discovery.ts';
import { RunProjection } from '../../platform/operations/run-projection.ts';
import { createBulkRecovery } from '../../workers/dispatcher/bulk.ts';
import { PROJECT, serveProject, type ServedProject } from './project.ts';

const KEY = '00000000-0000-4000-8000-00000000000a';

describe('actions on many runs', () => {
  let project: ServedProject;
  let bulk: Bulk;
  let projecting: NodeJS.Timeout;
  beforeAll(async () => {
    project = await serveProject({}, {}, [HAL9_ROOT, PROJECT]);
    bulk = new Bulk({ database: project.test.database, keys: project.keys, operations: project.operations });
    const projection = new RunProjection(project.temporal.client, new RunStore(project.test.database));
    projecting = setInterval(() => void projection.advance(AbortSignal.timeout(10_000)).catch(() => undefined), 300);
  });
  afterAll(async () => {
    clearInterval(projecting);
    await project.close();
  });

  const somebody = async (): Promise<Caller> => ({ ...systemCaller(await project.test.organisation(), 'test'), actor: { kind: 'api-key', id: KEY } });
  const waiting = async (caller: Caller, count: number): Promise<string[]> => {
    const runs = await Promise.all(Array.from({ length: count }, () => project.operations.start(caller, { operation: 'greet', input: { name: 'Ada', waitFor: true }, origin: 'api', tags: ['many'] })));
    await expect.poll(async () => (await project.operations.list(caller, { tag: 'many', status: 'running' })).runs.length).toBe(count);
    return runs.map(({ runId }) => runId);
  };
  const begin = async (caller: Caller, request: Partial<BulkRequest> & Pick<BulkRequest, 'action'>) => bulk.begin(caller, { reason: 'test', perSecond: 50, ...request });

  it('cancels by ids and says what became of each', async () => {
    const caller = await somebody();
    const ids = await waiting(caller, 3);
    const gone = 'greet~00000000-0000-4000-8000-000000000000';
    const { id, runId, items } = await begin(caller, { action: 'cancel', runIds: [...ids, gone] });
    expect(items).toBe(4);
    expect(await project.operations.result(caller, runId, 20_000)).toEqual({ status: 'completed', result: { done: 3, failed: 1, aborted: 0 } });
    const report = await bulk.items(caller, id, { after: 0, limit: 10 });
    expect(new Map(report.map((item) => [item.runId, item.failure]))).toEqual(new Map([...ids.map((run) => [run, null] as const), [gone, 'NotFound']]));
    for (const run of ids) expect(await project.operations.result(caller, run, 10_000)).toMatchObject({ status: 'cancelled' });
    expect(await bulk.report(caller, id)).toMatchObject({ action: 'cancel', counts: { done: 3, failed: 1, waiting: 0 } });
  });

  it('pauses, resumes, signals and retries by query', async () => {
    const caller = await somebody();
    const ids = await waiting(caller, 2);
    const all = async (request: Partial<BulkRequest> & Pick<BulkRequest, 'action'>) => {
      const begun = await begin(caller, { query: { type: 'greet', tag: 'many' }, ...request });
      expect(await project.operations.result(caller, begun.runId, 20_000)).toEqual({ status: 'completed', result: { done: 2, failed: 0, aborted: 0 } });
      return begun.id;
    };
    await all({ action: 'pause' });
    for (const run of ids) expect((await project.operations.read(caller, run)).pausedAt).not.toBeNull();
    await all({ action: 'resume' });
    await all({ action: 'signal', signal: { name: 'proceed', payload: { title: 'Dr' } } });
    for (const run of ids) expect(await project.operations.result(caller, run, 10_000)).toMatchObject({ status: 'completed' });
    const retried = await bulk.items(caller, await all({ action: 'retry' }), { after: 0, limit: 10 });
    expect(new Set(retried.map(({ newRunId }) => newRunId)).size).toBe(2);
    for (const { newRunId } of retried) await project.operations.terminate(caller, newRunId ?? '', 'test');
  });

  it('leaves out the rest when it is cancelled', async () => {
    const caller = await somebody();
    const ids = await waiting(caller, 4);
    const { id, runId } = await begin(caller, { action: 'terminate', runIds: ids, perSecond: 1 });
    await expect.poll(async () => (await bulk.report(caller, id)).counts.done).toBeGreaterThan(0);
    await project.operations.cancel(caller, runId);
    expect(await project.operations.result(caller, runId, 20_000)).toMatchObject({ status: 'cancelled' });
    const { counts } = await bulk.report(caller, id);
    expect(counts.aborted).toBeGreaterThan(0);
    expect(counts.aborted + counts.done).toBe(4);
    await expect.poll(async () => (await project.operations.list(caller, { status: 'running', tag: 'many' })).runs.length).toBe(counts.aborted);
  });

  it('begins what a process that was killed between the rows and the start of the run left behind', async () => {
    const caller = await somebody();
    const [run = ''] = await waiting(caller, 1);
    const { database, keys, operations } = { ...project, database: project.test.database };
    const killed = promisify(execFile)(process.execPath, [join(import.meta.dirname, 'bulk-killed.ts'), project.test.url, project.masterKeys, caller.orgId, run], { timeout: 60_000 });
    await expect(killed).rejects.toMatchObject({ signal: 'SIGKILL' });
    const left = await database.withOrg(caller.orgId, (tx) => tx.selectFrom('bulk_actions').selectAll().execute());
    expect(left).toHaveLength(1);
    // The payload may name people: it does not lie open in the table.
    expect(left[0]?.start_sealed?.toString('latin1')).not.toContain('title');
    const { id = '' } = left[0] ?? {};
    expect(await bulk.report(caller, id)).toMatchObject({ counts: { waiting: 1 } });
    const drain = createBulkRecovery({ database, keys, operations, logger: pino({ level: 'silent' }) });
    await expect.poll(async () => {
      await drain.run(AbortSignal.timeout(10_000));
      return (await bulk.report(caller, id)).counts.done;
    }).toBe(1);
    expect(await project.operations.result(caller, run, 20_000)).toEqual({ status: 'completed', result: { greeting: 'Good day, Dr Ada.' } });
    // Nothing is left to begin.
    expect(await database.withOrg(caller.orgId, (tx) => tx.selectFrom('bulk_actions').select('start_sealed').execute())).toEqual([{ start_sealed: null }]);
  });

  it('acts on nothing that the caller may not change', async () => {
    const caller = await somebody();
    const [run = ''] = await waiting(caller, 1);
    await expect(begin({ ...caller, scopes: ['runs:read'] }, { action: 'cancel', runIds: [run] })).rejects.toMatchObject({ type: 'Forbidden' });
    await expect(begin({ ...caller, scopes: ['runs:write:type=remediate'] }, { action: 'cancel', query: { tag: 'many' } })).rejects.toMatchObject({ type: 'NotFound' });
    const stranger = await somebody();
    const theirs = await begin(stranger, { action: 'cancel', runIds: [run] });
    expect(await project.operations.result(stranger, theirs.runId, 20_000)).toEqual({ status: 'completed', result: { done: 0, failed: 1, aborted: 0 } });
    await expect(bulk.report(caller, theirs.id)).rejects.toMatchObject({ type: 'NotFound' });
    expect(await project.operations.result(caller, run, 0)).toEqual({ status: 'running' });
  });
});
