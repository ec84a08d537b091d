import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { Client, Connection } from '@temporalio/client';
import { NativeConnection, Runtime, Worker, DefaultLogger } from '@temporalio/worker';
import { createHostActivities } from '../../activities/host/index.ts';
import type { HostPolicy } from '../../activities/host/policy.ts';
import { Sessions } from '../../activities/host/sessions.ts';
import type { Escalation } from '../../activities/remediation/index.ts';
import { RemediationActionStore } from '../../database/remediation-actions.ts';
import { hostTaskQueue } from '../../schemas/names/task-queues.ts';
import type { RemediateResult } from '../../schemas/operations/remediate.ts';
import type { TestDatabase } from '../environment/database.ts';
import { testPolicy } from '../host/policy.ts';

Runtime.install({ logger: new DefaultLogger('ERROR') });

export interface RemediationBench {
  readonly orgId: string;
  readonly hostId: string;
  readonly client: Client;
  readonly actions: RemediationActionStore;
  readonly escalations: Escalation[];
  start(input: object): Promise<{ result(): Promise<RemediateResult>; workflowId: string; handle: Awaited<ReturnType<Client['workflow']['start']>> }>;
  stop(): Promise<void>;
}

/** The workflow and one host agent with a policy of the test's choice, on queues of their own, against real servers. */
export async function remediationBench(temporalAddress: string, test: TestDatabase, mark: string, changes: Partial<HostPolicy> = {}): Promise<RemediationBench> {
  const [connection, clientConnection, orgId] = [await NativeConnection.connect({ address: temporalAddress }), await Connection.connect({ address: temporalAddress }), await test.organisation()];
  const client = new Client({ connection: clientConnection });
  const hostId = `host-${randomUUID().slice(0, 8)}`;
  const taskQueue = `core-${hostId}`;
  const sessions = new Sessions(test.url);
  const actions = new RemediationActionStore(test.database);
  const escalations: Escalation[] = [];
  const policy = testPolicy(mark, { hostId, orgId, ...changes });
  const workflows = await Worker.create({
    connection,
    taskQueue,
    workflowsPath: join(import.meta.dirname, '../../workflows/remediate/index.ts'),
    activities: { async escalate(escalation: Escalation) { escalations.push(escalation); } },
    shutdownForceTime: '5 seconds',
  });
  const agent = await Worker.create({ connection, taskQueue: hostTaskQueue(hostId), activities: { ...createHostActivities({ policy, sessions, actions }) }, shutdownForceTime: '5 seconds' });
  const running = Promise.all([workflows.run(), agent.run()]);
  return {
    orgId,
    hostId,
    client,
    actions,
    escalations,
    async start(input) {
      const workflowId = `${orgId}/remediate/${randomUUID()}`;
      const handle = await client.workflow.start('remediate', { taskQueue, workflowId, args: [{ hostId, incidentId: `incident-${randomUUID().slice(0, 8)}`, checkSeconds: 6, ...input }], workflowExecutionTimeout: '5 minutes' });
      return { workflowId, handle, result: () => handle.result() as Promise<RemediateResult> };
    },
    async stop() {
      workflows.shutdown();
      agent.shutdown();
      await running;
      await Promise.all([sessions.close(), clientConnection.close(), connection.close()]);
    },
  };
}
