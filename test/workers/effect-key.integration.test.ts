import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { systemCaller, type Caller } from '../../platform/identity/caller.ts';
import { formatEffectKey } from '../../schemas/names/effect-key.ts';
import { startHttpServer, type LocalServer } from '../environment/http-server.ts';
import { startProcess } from '../environment/worker.ts';
import { PROJECT } from '../operations/project.ts';
import { startCoreProcess, type CoreProcess } from './core-process.ts';

/** The fixture's `knock` calls this server under its effect key; the worker is the shipped process. */
describe('the key of an effect', () => {
  let core: CoreProcess;
  let target: LocalServer;
  let caller: Caller;
  beforeAll(async () => {
    target = await startHttpServer();
    core = await startCoreProcess(PROJECT);
    caller = { ...systemCaller(await core.test.organisation(), 'test'), actor: { kind: 'api-key', id: '00000000-0000-4000-8000-00000000000a' } };
  });
  afterAll(async () => {
    await core.close();
    await target.close();
  });

  const keys = (): (string | undefined)[] => target.received.map(({ headers }) => headers['idempotency-key']?.toString());

  it('outlives the worker that dies in the middle of the effect, and is another one after a replay', async () => {
    // The target has acted, but its answer never comes: the worker is killed while it waits.
    target.answer = () => undefined;
    const { runId } = await core.operations.start(caller, { operation: 'greet', input: { name: 'Ada', knock: target.url }, origin: 'api' });
    await expect.poll(() => target.received.length).toBe(1);
    core.worker.child.kill('SIGKILL');
    target.answer = (_, response) => response.end();
    const successor = await startProcess('workers/core/main.ts', core.env);
    try {
      expect(await core.operations.result(caller, runId, 40_000)).toMatchObject({ status: 'completed' });
      const [first] = keys();
      expect(first).toMatch(new RegExp(`^${runId}/\\d+/[0-9a-f-]{36}$`));
      expect(keys()).toEqual([first, first]);

      const { steps } = await core.operations.timeline(caller, runId, false);
      const knock = steps.find(({ name }) => name === 'knock');
      expect(await core.operations.replay(caller, runId, knock?.eventId, 'test')).toMatchObject({ epoch: 1, repeated: [{ name: 'knock' }, { name: 'compose' }] });
      expect(await core.operations.result(caller, runId, 40_000)).toMatchObject({ status: 'completed' });
      expect(keys()).toHaveLength(3);
      expect(keys()[2]).not.toBe(first);
      // The same step of the same run, in another epoch.
      expect(keys()[2]?.split('/').slice(0, 2)).toEqual(first?.split('/').slice(0, 2));
    } finally {
      await successor.stop();
    }
  });

  it('tells effects of one step apart and keeps the organisation to itself', () => {
    const step = { workflowId: `${caller.orgId}/greet/00000000-0000-4000-8000-000000000001`, executionId: 'e', activityId: '3' };
    expect(formatEffectKey(step)).toBe('greet~00000000-0000-4000-8000-000000000001/3/e');
    expect(formatEffectKey(step, 'mail')).toBe('greet~00000000-0000-4000-8000-000000000001/3/e/mail');
  });
});
