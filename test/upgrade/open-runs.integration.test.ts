import { join } from 'node:path';
import { NativeConnection, Worker } from '@temporalio/worker';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import pino from 'pino';
import { createDataConverter } from '../../platform/codec/data-converter.ts';
import { systemCaller, type Caller } from '../../platform/identity/caller.ts';
import type { Operations } from '../../platform/operations/contract.ts';
import { contractsByName, discoverProjects } from '../../platform/operations/discovery.ts';
import { createOperations } from '../../platform/operations/operations.ts';
import { loadBundle, type WorkflowBundle } from '../../workers/bundle.ts';
import { checkOpenRuns } from '../../workers/core/open-runs.ts';
import { serveProject, type ServedProject } from '../operations/project.ts';

const VERSIONS = join(import.meta.dirname, '../fixtures/upgrade');

/** A build ends, the next one takes its runs over. The project's own worker does not poll: the queue of these tests is `upgrade`. */
describe('upgrade with open runs', () => {
  let project: ServedProject;
  let operations: Operations;
  let caller: Caller;
  let connection: NativeConnection;
  beforeAll(async () => {
    project = await serveProject();
    caller = systemCaller(await project.test.organisation(), 'test');
    connection = await NativeConnection.connect({ address: inject('temporalAddress') });
    const contracts = contractsByName(await discoverProjects([join(VERSIONS, 'first')]));
    operations = createOperations({ client: project.temporal.client, database: project.test.database, contracts, keys: project.keys, logger: pino({ level: 'silent' }) });
  });
  afterAll(async () => {
    await operations.close();
    await connection.close();
    await project.close();
  });

  const build = async (version: string): Promise<WorkflowBundle> => loadBundle(await discoverProjects([join(VERSIONS, version)]), join(project.config.HAL9_DATA, 'bundles'));

  const serving = async <T>(bundle: WorkflowBundle, work: () => Promise<T>): Promise<T> => {
    const worker = await Worker.create({
      connection,
      namespace: project.namespace,
      taskQueue: 'upgrade',
      workflowBundle: { code: bundle.code },
      dataConverter: createDataConverter(project.keys),
      activities: { note: (text: string) => Promise.resolve(text) },
    });
    return worker.runUntil(work);
  };

  const begin = (): Promise<string> => operations.start(caller, { operation: 'tally', input: { name: 'x' }, origin: 'api', taskQueue: 'upgrade' }).then(({ runId }) => runId);
  const finish = async (runId: string): Promise<unknown> => {
    await operations.signal(caller, runId, 'proceed', {});
    return operations.result(caller, runId, 20_000);
  };
  const check = (bundle: WorkflowBundle) =>
    checkOpenRuns({ client: project.temporal.client, dataConverter: createDataConverter(project.keys), bundle, queues: ['upgrade'], dataFolder: project.config.HAL9_DATA });

  it('finishes old runs as they began and new ones the new way, and warns of a build that cannot', async () => {
    const [first, second, careless] = [await build('first'), await build('second'), await build('careless')];
    expect(new Set([first.hash, second.hash, careless.hash]).size).toBe(3);
    const old = await serving(first, async () => {
      const runId = await begin();
      await expect.poll(async () => (await operations.describe(caller, runId)).historyLength).toBeGreaterThanOrEqual(10);
      return runId;
    });

    expect(await check(careless)).toMatchObject([{ workflowId: expect.stringContaining('/tally/'), reason: expect.any(String) }]);
    expect(await check(second)).toEqual([]);

    await serving(second, async () => {
      const fresh = await begin();
      expect(await finish(old)).toEqual({ status: 'completed', result: ['began x', 'ended'] });
      expect(await finish(fresh)).toEqual({ status: 'completed', result: ['counted', 'began x', 'ended'] });
    });
  });

  it('does not look again at a build that passed', async () => {
    const second = await build('second');
    expect(await check(second)).toEqual([]);
    const started = Date.now();
    expect(await check(second)).toEqual([]);
    expect(Date.now() - started).toBeLessThan(200);
  });
});
