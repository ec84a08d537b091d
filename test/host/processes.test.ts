import { randomUUID } from 'node:crypto';
import { afterEach, describe, expect, it } from 'vitest';
import { act, reconcile, refusal } from '../../activities/host/actions.ts';
import { gatherEvidence } from '../../activities/host/evidence.ts';
import { isAlive } from '../../activities/host/processes.ts';
import { readProcess, readProcesses } from '../../activities/host/process-table.ts';
import { measureSymptom } from '../../activities/host/symptom.ts';
import { BURN, IDLE, IGNORES_SIGTERM, ownProcess, type OwnedProcess } from './fault-process.ts';
import { testPolicy } from './policy.ts';

const owned: OwnedProcess[] = [];
async function start(script: string, mark: string): Promise<OwnedProcess> {
  const found = await ownProcess(script, mark);
  owned.push(found);
  return found;
}
const target = (found: OwnedProcess) => ({ kind: 'process' as const, pid: found.reading().pid, startTicks: found.reading().startTicks, name: found.reading().name });

describe('processes', () => {
  const mark = `mark-${randomUUID()}`;
  const reach = { policy: testPolicy(mark), sessions: undefined };
  afterEach(async () => {
    await Promise.all(owned.splice(0).map((found) => found.end()));
  });

  it('reads itself as ps does', () => {
    const own = readProcess(process.pid);
    expect(own).toMatchObject({ pid: process.pid, parentPid: process.ppid });
    expect(own?.memoryBytes).toBeGreaterThan(10_000_000);
    expect(readProcesses().length).toBeGreaterThan(2);
  });

  it('terminates a process that is allowed, and says so when it was gone already', async () => {
    const idle = await start(IDLE, mark);
    const request = { action: 'terminateProcess' as const, target: target(idle) };
    expect(await refusal(request, reach)).toBeUndefined();
    expect(await act(request, reach)).toMatchObject({ state: 'done' });
    expect(isAlive(request.target)).toBe(false);
    expect(await act(request, reach)).toMatchObject({ state: 'done', detail: expect.stringContaining('gone already') });
    expect(await reconcile(request, reach)).toMatchObject({ state: 'done' });
  });

  it('fails to terminate a process that ignores SIGTERM, and kills it', async () => {
    const stubborn = await start(IGNORES_SIGTERM, mark);
    const aimed = target(stubborn);
    expect(await act({ action: 'terminateProcess', target: aimed }, reach)).toMatchObject({ state: 'failed' });
    expect(isAlive(aimed)).toBe(true);
    expect(await act({ action: 'killProcess', target: aimed }, reach)).toMatchObject({ state: 'done' });
  }, 20_000);

  it('refuses another process that took over the pid', async () => {
    const idle = await start(IDLE, mark);
    const recycled = { ...target(idle), startTicks: target(idle).startTicks - 1 };
    expect(await refusal({ action: 'killProcess', target: recycled }, reach)).toMatch(/another one than was meant/);
    expect(await act({ action: 'killProcess', target: recycled }, reach)).toMatchObject({ state: 'done', detail: expect.stringContaining('gone already') });
    expect(isAlive(target(idle))).toBe(true);
  });

  it('refuses what is not on the list, itself, its parents, pid 1 and protected programs', async () => {
    const stranger = await start(IDLE, 'somebody-else');
    expect(await refusal({ action: 'terminateProcess', target: target(stranger) }, reach)).toMatch(/not on the list/);
    const everything = { policy: testPolicy(''), sessions: undefined };
    for (const pid of [1, process.pid, process.ppid]) {
      const found = readProcess(pid);
      expect(found).toBeDefined();
      const aimed = { kind: 'process' as const, pid, startTicks: found?.startTicks ?? 0, name: 'x' };
      expect(await refusal({ action: 'killProcess', target: aimed }, everything)).toMatch(/protected/);
    }
    const own = await start(IDLE, '/app/workers/core/main.ts');
    expect(await refusal({ action: 'killProcess', target: target(own) }, everything)).toMatch(/protected/);
  });

  it('refuses an action that is off', async () => {
    const idle = await start(IDLE, mark);
    const off = { policy: testPolicy(mark, { actions: new Set(['gatherEvidence']) }), sessions: undefined };
    expect(await refusal({ action: 'terminateProcess', target: target(idle) }, off)).toMatch(/not allowed/);
  });

  it('resumes a stopped process and sees it as a symptom before', async () => {
    const idle = await start(IDLE, mark);
    const symptom = { cause: 'worker-stopped', processName: null, before: 1 };
    idle.child.kill('SIGSTOP');
    while (idle.reading().state !== 'T') await new Promise((resolve) => setTimeout(resolve, 10));
    expect((await measureSymptom(symptom, reach.policy, undefined)).value).toBe(1);
    const evidence = await gatherEvidence(reach.policy, undefined);
    expect(evidence.processes).toContainEqual(expect.objectContaining({ pid: idle.child.pid, state: 'T', role: 'supervised' }));
    expect(await act({ action: 'resumeProcess', target: target(idle) }, reach)).toMatchObject({ state: 'done' });
    expect((await measureSymptom(symptom, reach.policy, undefined)).value).toBe(0);
  });

  it('finds a hog among the processes it may end and measures that it is gone', async () => {
    const hog = await start(BURN, mark);
    await new Promise((resolve) => setTimeout(resolve, 300));
    const evidence = await gatherEvidence(reach.policy, undefined);
    const found = evidence.processes.find((candidate) => candidate.pid === hog.child.pid);
    expect(found?.role).toBe('endable');
    expect(found?.cores).toBeGreaterThan(0.2);
    const symptom = { cause: 'cpu-hog', processName: found?.name ?? '', before: found?.cores ?? 0 };
    const during = await measureSymptom(symptom, reach.policy, undefined);
    expect(during.value).toBeGreaterThan(during.limit);
    await act({ action: 'killProcess', target: target(hog) }, reach);
    const after = await measureSymptom(symptom, reach.policy, undefined);
    expect(after.value).toBeLessThanOrEqual(after.limit);
  });

  it('restarts a process through the supervisor that watches it', async () => {
    const supervisor = await start(
      `const run = () => require('node:child_process').spawn(process.execPath, ['-e', ${JSON.stringify(IDLE)}, '${mark}-child'], { stdio: 'ignore' }).on('exit', () => setTimeout(run, 50)); run(); process.on('exit', () => {})`,
      `${mark}-supervisor`,
    );
    const children = () => readProcesses().filter((found) => found.parentPid === supervisor.child.pid);
    while (children().length === 0) await new Promise((resolve) => setTimeout(resolve, 20));
    await new Promise((resolve) => setTimeout(resolve, 200));
    const [first] = children();
    if (first === undefined) throw new Error('no child');
    const answer = await act({ action: 'restartProcess', target: { kind: 'process', pid: first.pid, startTicks: first.startTicks, name: first.name } }, reach);
    expect(answer).toMatchObject({ state: 'done', detail: expect.stringContaining('replaced by') });
    await supervisor.end();
    for (const orphan of readProcesses().filter((found) => found.pid === Number(/replaced by (\d+)/.exec(answer.detail)?.[1]))) process.kill(orphan.pid, 'SIGKILL');
  }, 20_000);
});
