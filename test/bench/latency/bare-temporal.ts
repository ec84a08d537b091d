import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { Client, Connection, WithStartWorkflowOperation } from '@temporalio/client';
import { bundleWorkflowCode, NativeConnection, Worker, type Logger } from '@temporalio/worker';

const TASK_QUEUE = 'bench-bare';
const QUIET: Logger = { log() {}, trace() {}, debug() {}, info() {}, warn() {}, error() {} };

/** The bare library on the same server: an update that starts its workflow and is answered by a local activity that does nothing. */
export interface BareTemporal {
  /** Starts one and resolves with its answer. */
  answered(): Promise<void>;
  close(): Promise<void>;
}

export async function startBareTemporal(address: string, namespace: string): Promise<BareTemporal> {
  const workflowBundle = await bundleWorkflowCode({ workflowsPath: join(import.meta.dirname, 'bare-workflow.ts'), logger: QUIET });
  const [native, connection] = await Promise.all([NativeConnection.connect({ address }), Connection.connect({ address })]);
  const worker = await Worker.create({ connection: native, namespace, taskQueue: TASK_QUEUE, workflowBundle, activities: { decide: async (value: string) => value } });
  const running = worker.run();
  const { workflow } = new Client({ connection, namespace });
  return {
    async answered() {
      const startWorkflowOperation = new WithStartWorkflowOperation('bare', { workflowId: randomUUID(), taskQueue: TASK_QUEUE, args: ['x'], workflowIdConflictPolicy: 'FAIL' });
      await workflow.executeUpdateWithStart('answer', { startWorkflowOperation });
    },
    async close() {
      worker.shutdown();
      await running;
      await Promise.all([native.close(), connection.close()]);
    },
  };
}
