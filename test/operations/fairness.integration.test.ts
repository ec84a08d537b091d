import { join } from 'node:path';
import { NativeConnection, Worker } from '@temporalio/worker';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { createDataConverter } from '../../platform/codec/data-converter.ts';
import { systemCaller, type Caller } from '../../platform/identity/caller.ts';
import { discoverProjects } from '../../platform/operations/discovery.ts';
import { loadBundle } from '../../workers/bundle.ts';
import { PROJECT, serveProject, type ServedProject } from './project.ts';

/** Runs that wait for a worker. */
const QUEUED = 200;
const QUEUE = 'not-served-yet';

describe('organisations that share a queue', () => {
  let project: ServedProject;
  let connection: NativeConnection;
  beforeAll(async () => {
    project = await serveProject();
    connection = await NativeConnection.connect({ address: inject('temporalAddress') });
  });
  afterAll(async () => {
    await connection.close();
    await project.close();
  });

  it('take turns: one that has queued 200 runs does not hold up another, and priorities come first', async () => {
    const [many, few] = [systemCaller(await project.test.organisation(), 'test'), systemCaller(await project.test.organisation(), 'test')];
    const start = (caller: Caller, name: string, priority?: number) =>
      project.operations.start(caller, { operation: 'greet', input: { name }, origin: 'dispatcher', taskQueue: QUEUE, ...(priority === undefined ? {} : { priority }) });
    for (let n = 0; n < QUEUED; n += 20) await Promise.all(Array.from({ length: 20 }, () => start(many, 'many')));
    const late = await start(few, 'few');
    const urgent = await start(many, 'urgent', 1);

    const order: string[] = [];
    const bundle = await loadBundle(await discoverProjects([PROJECT]), join(project.config.HAL9_DATA, 'bundles'));
    const worker = await Worker.create({
      connection, namespace: project.namespace, taskQueue: QUEUE, dataConverter: createDataConverter(project.keys), workflowBundle: { code: bundle.code },
      // One thing at a time, so that the order is the server's.
      maxConcurrentWorkflowTaskExecutions: 2, maxConcurrentActivityTaskExecutions: 1,
      activities: {
        async compose(name: string) {
          order.push(name);
          return name;
        },
      },
    });
    await worker.runUntil(async () => {
      expect(await project.operations.result(few, late.runId, 60_000)).toMatchObject({ status: 'completed' });
      expect(await project.operations.result(many, urgent.runId, 60_000)).toMatchObject({ status: 'completed' });
    });
    // In the order of the starts both would come after all the others.
    expect(order.indexOf('urgent')).toBeLessThan(QUEUED / 10);
    expect(order.indexOf('few')).toBeLessThan(QUEUED / 10);
  });
});
