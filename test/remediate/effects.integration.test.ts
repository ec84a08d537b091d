import { randomUUID } from 'node:crypto';
import { MockActivityEnvironment } from '@temporalio/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createHostActivities } from '../../activities/host/index.ts';
import type { ActionRequest } from '../../activities/host/action.ts';
import { isAlive } from '../../activities/host/processes.ts';
import { RemediationActionStore } from '../../database/remediation-actions.ts';
import { createTestDatabase, type TestDatabase } from '../environment/database.ts';
import { IDLE, ownProcess } from '../host/fault-process.ts';
import { testPolicy } from '../host/policy.ts';

/** The agent's one effect a step, whatever is retried; the activity context is the SDK's own for tests. */
describe('effects of the agent', () => {
  const mark = `mark-${randomUUID()}`;
  let test: TestDatabase;
  let orgId: string;
  let actions: RemediationActionStore;
  beforeAll(async () => {
    test = await createTestDatabase();
    orgId = await test.organisation();
    actions = new RemediationActionStore(test.database);
  });
  afterAll(() => test.drop());

  const agent = (changes: Parameters<typeof testPolicy>[1] = {}) => createHostActivities({ policy: testPolicy(mark, { orgId, ...changes }), sessions: undefined, actions });
  const contextOf = (uuid: string) => new MockActivityEnvironment({ workflowExecution: { workflowId: `${orgId}/remediate/${uuid}`, runId: uuid } });
  const requestFor = (found: { pid: number; startTicks: number; name: string }, change: Partial<ActionRequest> = {}): ActionRequest => ({
    incidentId: `incident-${randomUUID()}`,
    cause: 'cpu-hog',
    step: 1,
    action: 'terminateProcess',
    target: { kind: 'process', ...found },
    approved: false,
    ...change,
  });

  it('answers a retry from the record and does not act again', async () => {
    const idle = await ownProcess(IDLE, mark);
    const { pid, startTicks, name } = idle.reading();
    const request = requestFor({ pid, startTicks, name });
    const context = contextOf(randomUUID());
    const first: unknown = await context.run(agent().takeAction, request);
    expect(await context.run(agent().takeAction, request)).toEqual(first);
    expect(await actions.list(orgId, { incidentId: request.incidentId, limit: 10 })).toHaveLength(1);
    await idle.end();
  });

  it('reads whether an interrupted action took effect, and leaves the target alone', async () => {
    const idle = await ownProcess(IDLE, mark);
    const { pid, startTicks, name } = idle.reading();
    const uuid = randomUUID();
    const request = requestFor({ pid, startTicks, name });
    // An attempt that died between its record and its effect: what `takeAction` itself writes first.
    const dying = createHostActivities({
      policy: testPolicy(mark, { orgId }),
      sessions: undefined,
      actions: {
        find: (...args) => actions.find(...args),
        refuse: (...args) => actions.refuse(...args),
        finish: (...args) => actions.finish(...args),
        reserve: async (...args: Parameters<RemediationActionStore['reserve']>) => {
          await actions.reserve(...args);
          throw new Error('killed here');
        },
      },
    });
    await expect(contextOf(uuid).run(dying.takeAction, request)).rejects.toThrow('killed here');
    expect(await contextOf(uuid).run(agent().takeAction, request)).toMatchObject({ state: 'failed', detail: expect.stringContaining('not tried again') });
    expect(isAlive({ pid, startTicks })).toBe(true);
    await idle.end();
  });

  it('keeps the blast radius when many ask at once', async () => {
    const idle = await Promise.all(Array.from({ length: 6 }, () => ownProcess(IDLE, mark)));
    const incidentId = `incident-${randomUUID()}`;
    const outcomes = await Promise.allSettled(
      idle.map((found) => {
        const { pid, startTicks, name } = found.reading();
        return contextOf(randomUUID()).run(agent({ maxPerHour: 100 }).takeAction, requestFor({ pid, startTicks, name }, { incidentId })) as Promise<unknown>;
      }),
    );
    expect(outcomes.filter((outcome) => outcome.status === 'fulfilled')).toHaveLength(3);
    expect(idle.filter((found) => found.child.exitCode === null && found.child.signalCode === null)).toHaveLength(3);
    await Promise.all(idle.map((found) => found.end()));
  });

  it('wants the approval its policy asks for, whatever the run says', async () => {
    const idle = await ownProcess(IDLE, mark);
    const { pid, startTicks, name } = idle.reading();
    const asking = agent({ approval: new Set(['terminateProcess']) });
    await expect(contextOf(randomUUID()).run(asking.takeAction, requestFor({ pid, startTicks, name }))).rejects.toMatchObject({ type: 'ActionRefused', message: expect.stringContaining('approval') });
    expect(isAlive({ pid, startTicks })).toBe(true);
    await idle.end();
  });
});
