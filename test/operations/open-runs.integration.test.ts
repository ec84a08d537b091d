import pino from 'pino';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { PlanStore } from '../../database/plans.ts';
import { RunStore } from '../../database/runs.ts';
import { systemCaller } from '../../platform/identity/caller.ts';
import type { Operations } from '../../platform/operations/contract.ts';
import { createOperations } from '../../platform/operations/operations.ts';
import { RunProjection } from '../../platform/operations/run-projection.ts';
import { QuotaGate } from '../../platform/usage/quota-gate.ts';
import { serveProject, type ServedProject } from './project.ts';

describe('the open runs of a plan', () => {
  let project: ServedProject;
  let processes: Operations[];
  beforeAll(async () => {
    project = await serveProject();
    const logger = pino({ level: 'silent' });
    const { database } = project.test;
    // Each with a gate and a memory of its own, as API processes and workers have.
    processes = [1, 2].map(() => createOperations({ client: project.temporal.client, database, contracts: project.operations.contracts, keys: project.keys, logger, admission: new QuotaGate({ database, defaultPlan: 'enterprise', logger }) }));
  });
  afterAll(async () => {
    for (const one of processes) await one.close();
    await project.close();
  });

  it('are never more than it allows, whoever starts at the same moment, and make room when they end', async () => {
    const caller = systemCaller(await project.test.organisation(), 'test');
    await new PlanStore(project.test.database).setForAnyOrganisation(caller.orgId, 'free', { limits: { openRuns: 3 } }, 'system:test', []);
    const start = async (n: number) => processes[n % 2]?.start(caller, { operation: 'greet', input: { name: 'Ada', waitFor: true }, origin: 'api' });
    const answers = await Promise.allSettled(Array.from({ length: 16 }, (_, n) => start(n)));
    const started = answers.flatMap((answer) => (answer.status === 'fulfilled' && answer.value !== undefined ? [answer.value.runId] : []));
    expect(started).toHaveLength(3);
    expect(answers.find(({ status }) => status === 'rejected')).toMatchObject({ reason: { type: 'QuotaExceeded', message: 'the plan free has 3 open runs at once, and so many are open' } });
    // Written down, they count as before, and not twice.
    for (const one of processes) await one.close();
    await expect(start(0)).rejects.toMatchObject({ type: 'QuotaExceeded' });
    const [first = ''] = started;
    await project.operations.terminate(caller, first, 'test');
    const projection = new RunProjection(project.temporal.client, new RunStore(project.test.database));
    await expect
      .poll(async () => {
        await projection.advance(AbortSignal.timeout(10_000));
        return start(1).then((run) => run?.created, (error: { type: string }) => error.type);
      })
      .toBe(true);
    await expect(start(0)).rejects.toMatchObject({ type: 'QuotaExceeded' });
  });
});
