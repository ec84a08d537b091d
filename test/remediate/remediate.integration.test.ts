import { randomUUID } from 'node:crypto';
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { CancelledFailure, WorkflowFailedError } from '@temporalio/client';
import { isAlive } from '../../activities/host/processes.ts';
import { readProcesses } from '../../activities/host/process-table.ts';
import { systemCaller } from '../../platform/identity/caller.ts';
import { TASK_QUEUES } from '../../schemas/names/task-queues.ts';
import { remediateResultSchema } from '../../schemas/operations/remediate.ts';
import { createTestDatabase, type TestDatabase } from '../environment/database.ts';
import { BURN, IDLE, ownProcess } from '../host/fault-process.ts';
import { freePort } from '../../platform/telemetry/free-port.ts';
import { lockPileUp } from './lock-pile-up.ts';
import { remediationBench, type RemediationBench } from './remediation.ts';

describe('remediate', () => {
  const mark = `mark-${randomUUID()}`;
  let test: TestDatabase;
  let bench: RemediationBench;
  let folder: string;
  beforeAll(async () => {
    test = await createTestDatabase();
    folder = join(await mkdtemp(join(tmpdir(), 'hal9-remedy-')), 'temporary');
    await mkdir(folder);
    bench = await remediationBench(inject('temporalAddress'), test, mark, { temporaryFolder: folder, maxPerHour: 100 });
  });
  afterAll(async () => {
    await bench.stop();
    await rm(join(folder, '..'), { recursive: true, force: true });
    await test.drop();
  });

  it('ends the process that burns processor time and finds that it helped', async () => {
    const hog = await ownProcess(BURN, mark);
    const { pid, startTicks } = hog.reading();
    const run = await bench.start({ cause: 'cpu-hog' });
    const result = remediateResultSchema.parse(await run.result());
    await hog.end();
    expect(result).toMatchObject({ confirmedCause: 'cpu-hog', action: 'terminateProcess', helped: true, escalated: false });
    expect(isAlive({ pid, startTicks })).toBe(false);
    const recorded = await bench.actions.list(bench.orgId, { incidentId: result.incidentId, limit: 10 });
    expect(recorded[0]).toMatchObject({ state: 'done', action: result.action, workflowId: run.workflowId });
  });

  it('wakes a stopped process', async () => {
    const stopped = await ownProcess(IDLE, mark);
    stopped.child.kill('SIGSTOP');
    const result = await (await bench.start({ cause: 'worker-stopped' })).result();
    expect(result).toMatchObject({ action: 'resumeProcess', helped: true });
    expect(stopped.reading().state).not.toBe('T');
    await stopped.end();
  });

  it('ends the root of a lock pile-up only, and the waiters go on', async () => {
    const pileUp = await lockPileUp(test.url, mark, 4);
    await new Promise((resolve) => setTimeout(resolve, 1500));
    const result = remediateResultSchema.parse(await (await bench.start({ cause: 'lock-pile-up' })).result());
    expect(result).toMatchObject({ action: 'terminateBackend', helped: true });
    expect(result.attempts[0]?.detail).toContain(String(pileUp.holderPid));
    expect(JSON.stringify(result.evidence)).not.toContain('Jane');
    expect((await pileUp.waiters).map((waiter) => waiter.status)).toEqual(['fulfilled', 'fulfilled', 'fulfilled', 'fulfilled']);
    await pileUp.end();
  });

  it('clears the folder of temporary files', async () => {
    await writeFile(join(folder, 'a'), Buffer.alloc(2_000_000));
    const result = await (await bench.start({ cause: 'disk-filling' })).result();
    expect(result).toMatchObject({ action: 'deleteTemporaryFiles', helped: true });
    expect(await readdir(folder)).toEqual([]);
  });

  it('acts on what the machine shows when the named cause is not there', async () => {
    await writeFile(join(folder, 'b'), Buffer.alloc(2_000_000));
    const result = await (await bench.start({ cause: 'worker-stopped' })).result();
    expect(result).toMatchObject({ cause: 'worker-stopped', confirmedCause: 'disk-filling', helped: true });
  });

  it('closes without an action when the symptom is gone, and escalates a cause it does not know', async () => {
    expect(await (await bench.start({ cause: 'lock-pile-up' })).result()).toMatchObject({ action: null, helped: true, escalated: false });
    const unknown = await (await bench.start({ cause: 'cosmic-rays' })).result();
    expect(unknown).toMatchObject({ action: null, helped: false, escalated: true });
    expect(bench.escalations).toContainEqual(expect.objectContaining({ incidentId: unknown.incidentId, cause: 'cosmic-rays' }));
  });

  it('escalates when every action was tried and the hog comes back each time', async () => {
    const supervisor = await ownProcess(
      `const run = () => require('node:child_process').spawn(process.execPath, ['-e', 'for(;;);', '${mark}-hog'], { stdio: 'ignore' }).on('exit', () => setTimeout(run, 20)); run()`,
      'respawner-of-the-test',
    );
    await new Promise((resolve) => setTimeout(resolve, 500));
    const result = await (await bench.start({ cause: 'cpu-hog', checkSeconds: 3 })).result();
    const hogs = () => readProcesses().filter((found) => found.parentPid === supervisor.child.pid);
    const left = hogs();
    await supervisor.end();
    for (const hog of left) process.kill(hog.pid, 'SIGKILL');
    expect(result).toMatchObject({ helped: false, escalated: true });
    expect(result.attempts.map((attempt) => attempt.action)).toEqual(['terminateProcess', 'killProcess']);
    expect(left.length).toBe(1);
  });

  it('tells what it would do in a dry run and does nothing', async () => {
    const stopped = await ownProcess(IDLE, mark);
    stopped.child.kill('SIGSTOP');
    const result = await (await bench.start({ cause: 'worker-stopped', dryRun: true })).result();
    expect(result).toMatchObject({ action: null, helped: false, escalated: false, reason: expect.stringContaining('would resumeProcess') });
    expect(stopped.reading().state).toBe('T');
    await stopped.end();
  });

  it('stops at the blast radius, on record', async () => {
    const incidentId = `incident-${randomUUID()}`;
    const results = [];
    for (let round = 0; round < 4; round += 1) {
      await writeFile(join(folder, 'again'), Buffer.alloc(1_000_000));
      results.push(await (await bench.start({ cause: 'disk-filling', incidentId })).result());
    }
    expect(results.map((result) => result.helped)).toEqual([true, true, true, false]);
    expect(results[3]).toMatchObject({ escalated: true, reason: expect.stringContaining('limit of 3 actions') });
    const states = (await bench.actions.list(bench.orgId, { incidentId, limit: 10 })).map((action) => action.state);
    expect(states).toEqual(['refused', 'done', 'done', 'done']);
    await rm(join(folder, 'again'), { force: true });
  });

  it('refuses a run of another organisation', async () => {
    const other = await test.organisation('other');
    const handle = await bench.client.workflow.start('remediate', { taskQueue: TASK_QUEUES.core, workflowId: `${other}/remediate/${randomUUID()}`, args: [{ hostId: bench.hostId, incidentId: 'x', cause: 'cpu-hog' }], workflowExecutionTimeout: '1 minute' });
    expect(await handle.result()).toMatchObject({ helped: false, escalated: true, reason: expect.stringContaining('does not obey') });
  });

  it('is cancelled while it checks, and what it did stays on record', async () => {
    const hog = await ownProcess(BURN, mark);
    const incidentId = `incident-${randomUUID()}`;
    const run = await bench.start({ cause: 'cpu-hog', incidentId, checkSeconds: 60 });
    const { handle } = run;
    for (;;) {
      const remedy: { step: string } = await handle.query('remedy');
      if (remedy.step === 'check') break;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    await handle.cancel();
    await expect(handle.result()).rejects.toSatisfy((error) => error instanceof WorkflowFailedError && error.cause instanceof CancelledFailure);
    await hog.end();
    expect(await bench.actions.list(bench.orgId, { incidentId, limit: 10 })).toMatchObject([{ action: 'terminateProcess', state: 'done' }]);
  });
});

describe('remediate under a policy that asks', () => {
  const mark = `mark-${randomUUID()}`;
  let test: TestDatabase;
  let bench: RemediationBench;
  beforeAll(async () => {
    test = await createTestDatabase();
    bench = await remediationBench(inject('temporalAddress'), test, mark, { approval: new Set(['resumeProcess']), actions: new Set(['gatherEvidence', 'resumeProcess']) });
  });
  afterAll(async () => {
    await bench.stop();
    await test.drop();
  });

  const question = async (): Promise<string> => {
    for (;;) {
      const [open] = await bench.approvals.list(systemCaller(bench.orgId, 'test'), { state: 'open' }, 1);
      if (open !== undefined) return open.id;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  };

  it('acts only once a person has agreed', async () => {
    const stopped = await ownProcess(IDLE, mark);
    stopped.child.kill('SIGSTOP');
    const run = await bench.start({ cause: 'worker-stopped' });
    const id = await question();
    expect(stopped.reading().state).toBe('T');
    expect(await bench.approvals.answer(systemCaller(bench.orgId, 'tester'), id, { approved: true })).toMatchObject({ summary: expect.stringContaining('resumeProcess') });
    expect(await run.result()).toMatchObject({ action: 'resumeProcess', helped: true });
    await stopped.end();
  });

  it('escalates when a person refuses, and asks for nothing stronger', async () => {
    const stopped = await ownProcess(IDLE, mark);
    stopped.child.kill('SIGSTOP');
    const run = await bench.start({ cause: 'worker-stopped' });
    await bench.approvals.answer(systemCaller(bench.orgId, 'tester'), await question(), { approved: false });
    expect(await run.result()).toMatchObject({ helped: false, escalated: true, attempts: [{ action: 'resumeProcess', state: 'denied' }] });
    expect(stopped.reading().state).toBe('T');
    await stopped.end();
  });

  it('refuses what is not allowed and touches nothing', async () => {
    const hog = await ownProcess(BURN, mark);
    const result = await (await bench.start({ cause: 'cpu-hog' })).result();
    expect(result).toMatchObject({ helped: false, escalated: true, attempts: [{ action: 'terminateProcess', state: 'refused', detail: expect.stringContaining('not allowed') }] });
    expect(isAlive(hog.reading())).toBe(true);
    await hog.end();
  });
});

describe('remediate without evidence', () => {
  let test: TestDatabase;
  let bench: RemediationBench;
  beforeAll(async () => {
    test = await createTestDatabase();
    bench = await remediationBench(inject('temporalAddress'), test, `mark-${randomUUID()}`, {}, `postgres://nobody@127.0.0.1:${await freePort()}/none`);
  });
  afterAll(async () => {
    await bench.stop();
    await test.drop();
  });

  it('escalates a lock pile-up when PostgreSQL could not be asked, instead of taking the symptom for gone', async () => {
    const result = remediateResultSchema.parse(await (await bench.start({ cause: 'lock-pile-up' })).result());
    expect(result).toMatchObject({ action: null, helped: false, escalated: true, reason: 'no evidence: PostgreSQL did not tell which sessions block others (ECONNREFUSED)', evidence: { sessions: null } });
    expect(bench.escalations).toContainEqual(expect.objectContaining({ incidentId: result.incidentId, cause: 'lock-pile-up' }));
  });
});
