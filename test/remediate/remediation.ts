import { randomBytes, randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { Client, Connection } from '@temporalio/client';
import { NativeConnection, Runtime, Worker, DefaultLogger } from '@temporalio/worker';
import { pino } from 'pino';
import { createApprovalActivities } from '../../activities/approvals/index.ts';
import { createHostActivities } from '../../activities/host/index.ts';
import type { HostPolicy } from '../../activities/host/policy.ts';
import { Sessions } from '../../activities/host/sessions.ts';
import type { Escalation } from '../../activities/remediation/index.ts';
import { ApprovalStore } from '../../database/approvals.ts';
import { RemediationActionStore } from '../../database/remediation-actions.ts';
import { Approvals } from '../../platform/approvals/approvals.ts';
import { Connections } from '../../platform/connections/connections.ts';
import { Egress } from '../../platform/connections/egress.ts';
import { KeyRing } from '../../platform/keys/key-ring.ts';
import { createNotify } from '../../platform/notify/notify.ts';
import { createOperations } from '../../platform/operations/operations.ts';
import remediateContract from '../../schemas/operations/remediate.ts';
import { hostTaskQueue, TASK_QUEUES } from '../../schemas/names/task-queues.ts';
import type { RemediateResult } from '../../schemas/operations/remediate.ts';
import type { TestDatabase } from '../environment/database.ts';
import { createTestNamespace } from '../environment/temporal.ts';
import { testPolicy } from '../host/policy.ts';

Runtime.install({ logger: new DefaultLogger('ERROR') });

export interface RemediationBench {
  readonly orgId: string;
  readonly hostId: string;
  readonly client: Client;
  readonly actions: RemediationActionStore;
  readonly escalations: Escalation[];
  readonly approvals: Approvals;
  start(input: object): Promise<{ result(): Promise<RemediateResult>; workflowId: string; handle: Awaited<ReturnType<Client['workflow']['start']>> }>;
  stop(): Promise<void>;
}

/**
 * The workflow and one host agent with a policy of the test's choice, in a namespace of their own, against real servers.
 * @param watched where the agent asks for sessions that block others.
 */
export async function remediationBench(temporalAddress: string, test: TestDatabase, mark: string, changes: Partial<HostPolicy> = {}, watched = test.url): Promise<RemediationBench> {
  const [connection, clientConnection, orgId] = [await NativeConnection.connect({ address: temporalAddress }), await Connection.connect({ address: temporalAddress }), await test.organisation()];
  const namespace = await createTestNamespace();
  const client = new Client({ connection: clientConnection, namespace });
  const hostId = `host-${randomUUID().slice(0, 8)}`;
  const taskQueue = TASK_QUEUES.core;
  const sessions = new Sessions(watched);
  const actions = new RemediationActionStore(test.database);
  const escalations: Escalation[] = [];
  const policy = testPolicy(mark, { hostId, orgId, ...changes });
  const keys = new KeyRing([{ id: 'a', key: randomBytes(32) }]);
  const logger = pino({ level: 'silent' });
  const operations = createOperations({ client, database: test.database, contracts: new Map([[remediateContract.name, remediateContract]]), keys, logger });
  const egress = new Egress({ allowPrivate: true });
  const connections = new Connections({ database: test.database, keys, egress });
  const asking = createApprovalActivities({ store: new ApprovalStore(test.database), connections, notify: createNotify({ database: test.database, connections, egress }), operations, keys, publicUrl: 'http://127.0.0.1', logger });
  const workflows = await Worker.create({
    connection,
    namespace,
    taskQueue,
    workflowsPath: join(import.meta.dirname, '../../workflows/remediate/index.ts'),
    activities: { ...asking, async escalate(escalation: Escalation) { escalations.push(escalation); } },
    shutdownForceTime: '5 seconds',
  });
  const agent = await Worker.create({ connection, namespace, taskQueue: hostTaskQueue(hostId), activities: { ...createHostActivities({ policy, sessions, actions }) }, shutdownForceTime: '5 seconds' });
  const running = Promise.all([workflows.run(), agent.run()]);
  return {
    orgId,
    hostId,
    client,
    actions,
    escalations,
    approvals: new Approvals({ database: test.database, keys, operations }),
    async start(input) {
      const workflowId = `${orgId}/remediate/${randomUUID()}`;
      const handle = await client.workflow.start('remediate', { taskQueue, workflowId, args: [{ hostId, incidentId: `incident-${randomUUID().slice(0, 8)}`, checkSeconds: 6, ...input }], workflowExecutionTimeout: '5 minutes' });
      return { workflowId, handle, result: () => handle.result() as Promise<RemediateResult> };
    },
    async stop() {
      workflows.shutdown();
      agent.shutdown();
      await running;
      await operations.close();
      await egress.close();
      await Promise.all([sessions.close(), clientConnection.close(), connection.close()]);
    },
  };
}
