import { join } from 'node:path';
import { Client, Connection } from '@temporalio/client';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { endProcess, spawnOwned } from '../../deploy/local/child-process.ts';
import { hasUnfairBacklog } from '../../deploy/local/queue-backlog.ts';
import { prepareTemporal } from '../../deploy/local/temporal.ts';
import { resolveTool, temporalTool } from '../../deploy/local/tools.ts';
import { freePort } from '../../platform/telemetry/free-port.ts';
import { removeFolder, temporaryFolder } from './launched.ts';

const FAIRNESS = 'matching.enableFairness=true';

describe('a Temporal file of a server without fairness', () => {
  let folder: string;
  beforeEach(() => {
    folder = temporaryFolder();
  });
  afterEach(() => removeFolder(folder));

  it('is served without fairness until its tasks are handed out', async () => {
    const executable = await resolveTool(temporalTool(), { env: process.env, progress: () => undefined });
    const options = { executable, folder: join(folder, 'temporal'), port: await freePort() };
    const file = join(options.folder, 'temporal.db');
    const prepared = await prepareTemporal(options);
    const fair = prepared.launch();
    const args = fair.spawnargs.slice(fair.spawnargs.indexOf('server'));
    await endProcess(fair, 'SIGKILL', 5_000);
    expect(args).toContain(FAIRNESS);

    // As HAL9 started it before.
    const at = args.indexOf(FAIRNESS) - 1;
    const before = spawnOwned(executable, args.toSpliced(at, 2), { deathSignal: 'TERM', env: { PATH: process.env['PATH'], HOME: process.env['HOME'] } });
    await prepared.ready(before);
    await withClient(prepared.address, async (client) => {
      for (const n of [1, 2]) await client.workflow.start('any', { taskQueue: 'q', workflowId: `w${n}` });
    });
    await endProcess(before, 'SIGTERM', 10_000);
    expect(hasUnfairBacklog(file)).toBe(true);

    const again = await prepareTemporal(options);
    const unfair = again.launch();
    expect(unfair.spawnargs).not.toContain(FAIRNESS);
    await again.ready(unfair);
    const taken = await withClient(again.address, async (client) => {
      const poll = (waitMs = 30_000) => client.withDeadline(Date.now() + waitMs, () => client.workflowService.pollWorkflowTaskQueue({ namespace: 'default', taskQueue: { name: 'q' }, identity: 'test' }));
      const both = [await poll(), await poll()].map(({ workflowExecution }) => workflowExecution?.workflowId);
      for (const workflowId of both) await client.workflow.getHandle(workflowId ?? '').terminate();
      // Whatever the server wrote anew meanwhile is of ended runs: a poll takes it away and is given nothing.
      expect(await poll(5_000).then(({ taskToken }) => taskToken?.length, (error: unknown) => String(error))).toSatisfy((none) => none === 0 || /deadline/i.test(String(none)));
      return both;
    });
    expect(new Set(taken)).toEqual(new Set(['w1', 'w2']));
    await endProcess(unfair, 'SIGTERM', 10_000);
    expect(hasUnfairBacklog(file)).toBe(false);

    const now = (await prepareTemporal(options)).launch();
    expect(now.spawnargs).toContain(FAIRNESS);
    await endProcess(now, 'SIGKILL', 5_000);
  });
});

async function withClient<T>(address: string, work: (client: Client) => Promise<T>): Promise<T> {
  const connection = await Connection.connect({ address });
  try {
    return await work(new Client({ connection }));
  } finally {
    await connection.close();
  }
}
