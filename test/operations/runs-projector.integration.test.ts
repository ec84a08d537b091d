import { randomUUID } from 'node:crypto';
import pino from 'pino';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { RunStore } from '../../database/runs.ts';
import { systemCaller, type Caller } from '../../platform/identity/caller.ts';
import { createRunsProjector } from '../../workers/dispatcher/runs-projector.ts';
import { serveProject, type ServedProject } from './project.ts';

describe('runs projector', () => {
  let project: ServedProject;
  let caller: Caller;
  beforeAll(async () => {
    project = await serveProject();
    caller = systemCaller(await project.test.organisation(), 'test');
  });
  afterAll(() => project.close());

  const drain = () => createRunsProjector({ client: project.temporal.client, database: project.test.database, logger: pino({ level: 'silent' }) });
  const idle = new AbortController().signal;
  const statuses = async (): Promise<Record<string, unknown>> =>
    Object.fromEntries((await project.operations.list(caller, {})).runs.map((run) => [run.runId, run.failure ?? run.status]));

  it('learns how runs ended, whoever recorded their start', async () => {
    const projector = drain();
    const start = (input: object) => project.operations.start(caller, { operation: 'greet', input: { name: 'Ada', ...input }, origin: 'api', tags: ['x'] });
    const [done, failed, cancelled, open] = await Promise.all([start({}), start({ fail: true }), start({ waitFor: true }), start({ waitFor: true })]);
    await project.operations.cancel(caller, cancelled.runId);
    for (const { runId } of [done, failed, cancelled]) await project.operations.result(caller, runId, 10_000);
    await expect
      .poll(async () => {
        await projector.run(idle);
        return statuses();
      })
      .toEqual({ [done.runId]: 'completed', [failed.runId]: 'ActionRefused', [cancelled.runId]: 'cancelled', [open.runId]: 'running' });
    const listed = await project.operations.list(caller, { status: 'completed' });
    expect(listed.runs).toMatchObject([{ runId: done.runId, origin: 'api', tags: ['x'], startedBy: 'system:test', closedAt: expect.any(Date) }]);
    await project.operations.terminate(caller, open.runId, 'enough');
  });

  it('rebuilds the read model from nothing', async () => {
    const before = await statuses();
    const store = new RunStore(project.test.database);
    await project.test.database.system.deleteFrom('runs').execute();
    await project.test.database.system.updateTable('run_projections').set({ watermark: new Date(0) }).execute();
    await expect
      .poll(async () => {
        await drain().run(idle);
        return Object.keys(await statuses()).sort();
      })
      .toEqual(Object.keys(before).sort());
    expect(await store.list(caller.orgId, { operations: ['greet'], limit: 10, tag: 'x' })).toHaveLength(4);
  });

  it('keeps an end it knows when news of the start comes late', async () => {
    const store = new RunStore(project.test.database);
    const row = { orgId: caller.orgId, runId: `greet~${randomUUID()}`, operation: 'greet', origin: 'api', status: 'running' as const, tags: [], actor: 'system:x', requestId: null, traceparent: null, startedAt: new Date(1_000_000), closedAt: null, failure: null };
    const end = { ...row, status: 'completed' as const, actor: null, closedAt: new Date(1_000_500) };
    await store.recordOfAllOrganisations([end]);
    await store.recordOfAllOrganisations([row]);
    expect(await store.get(caller.orgId, row.runId)).toMatchObject({ status: 'completed', actor: 'system:x', closedAt: end.closedAt });
    const again = { ...row, startedAt: new Date(1_001_000) };
    await store.recordOfAllOrganisations([again]);
    expect(await store.get(caller.orgId, row.runId)).toMatchObject({ status: 'running', closedAt: null, startedAt: again.startedAt });
  });

  it('answers from the read model once the history is gone', async () => {
    const store = new RunStore(project.test.database);
    const gone = { orgId: caller.orgId, runId: `greet~${randomUUID()}`, operation: 'greet', origin: 'api', status: 'failed' as const, tags: [], actor: null, requestId: null, traceparent: null, startedAt: new Date(), closedAt: new Date(), failure: 'ActionRefused' };
    await store.recordOfAllOrganisations([gone]);
    expect(await project.operations.describe(caller, gone.runId)).toMatchObject({ source: 'read-model', status: 'failed', failure: 'ActionRefused' });
    expect(await project.operations.result(caller, gone.runId, 0)).toMatchObject({ status: 'failed', failure: { type: 'ActionRefused' } });
  });
});
