import { randomBytes, randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client, Connection, type WorkflowHandle } from '@temporalio/client';
import { DefaultLogger, NativeConnection, Runtime, Worker } from '@temporalio/worker';
import { pino } from 'pino';
import { expect } from 'vitest';
import { createApprovalActivities } from '../../activities/approvals/index.ts';
import { Clusters } from '../../activities/kubernetes/cluster.ts';
import { createKubernetesActivities, createRolloutNeuronActivities } from '../../activities/kubernetes/index.ts';
import { RolloutRecorder } from '../../activities/kubernetes/recorder.ts';
import { createCallDependencies } from '../../activities/external/call-dependencies.ts';
import { ApprovalStore } from '../../database/approvals.ts';
import { NeuronStore } from '../../database/neurons.ts';
import { RolloutStore } from '../../database/rollouts.ts';
import { SignalReadStore } from '../../database/signal-reads.ts';
import { Approvals } from '../../platform/approvals/approvals.ts';
import { actOf } from '../../platform/audit/act.ts';
import { loadConfig } from '../../platform/config/config.ts';
import { Connections } from '../../platform/connections/connections.ts';
import { Egress } from '../../platform/connections/egress.ts';
import { systemCaller } from '../../platform/identity/caller.ts';
import { KeyRing } from '../../platform/keys/key-ring.ts';
import { createNotify } from '../../platform/notify/notify.ts';
import { createOperations } from '../../platform/operations/operations.ts';
import { ProgressReporter } from '../../platform/operations/progress-reporter.ts';
import { RolloutRecords } from '../../platform/rollouts/records.ts';
import { startTracing } from '../../platform/telemetry/tracing.ts';
import { RESERVED_UPDATES } from '../../schemas/names/messages.ts';
import { ROLLOUT_DECISION_UPDATE, ROLLOUT_QUERY } from '../../schemas/names/rollouts.ts';
import { TASK_QUEUES } from '../../schemas/names/task-queues.ts';
import { formatRunId, parseWorkflowId } from '../../schemas/names/workflow-id.ts';
import { neuronDraftSchema } from '../../schemas/neurons/definition.ts';
import rolloutContract, { rolloutInputSchema, rolloutResultSchema, type RolloutResult, type RolloutStanding } from '../../schemas/operations/rollout.ts';
import type { ConnectionSettings } from '../../schemas/rest/connections.ts';
import { progressSink } from '../../workers/interceptors/progress-sink.ts';
import { traceSink } from '../../workers/interceptors/trace-sink.ts';
import type { ControlPlane } from '../cluster/control-plane.ts';
import type { TestDatabase } from '../environment/database.ts';
import { HISTORIES, recordHistory } from '../replay/recorder.ts';
import { createTestNamespace } from '../environment/temporal.ts';

Runtime.install({ logger: new DefaultLogger('ERROR') });

export interface RolloutRun {
  readonly handle: WorkflowHandle;
  readonly runId: string;
  result(): Promise<RolloutResult>;
  standing(): Promise<RolloutStanding>;
  decide(action: 'abort' | 'retry' | 'promote', reason?: string): Promise<void>;
  pause(): Promise<void>;
  resume(): Promise<void>;
  /** Answers the question it waits with, as somebody who may. @throws {HalError} as the run refuses the answer. */
  answer(who: string, approved: boolean): Promise<void>;
  /** What is on record of it. */
  record(): ReturnType<RolloutRecords['read']>;
  /** Newest first. */
  verdicts(): ReturnType<RolloutRecords['verdicts']>;
}

export interface RolloutBench {
  connect(name: string, settings: ConnectionSettings): Promise<void>;
  /** Makes a neuron of layer 2 that listens to looks of rollouts. */
  teach(name: string, behaviour: object): Promise<void>;
  start(input: object): Promise<RolloutRun>;
  /** Keeps the history of a run for `test/replay`, where HAL9_RECORD_HISTORIES says so. */
  record(run: RolloutRun, name: string): Promise<void>;
  stop(): Promise<void>;
}

/** The workflow and its activities in a namespace of their own, against real servers; the cluster is the connection `cluster`. */
export async function rolloutBench(temporalAddress: string, test: TestDatabase, cluster: ControlPlane): Promise<RolloutBench> {
  const [connection, clientConnection, orgId] = [await NativeConnection.connect({ address: temporalAddress }), await Connection.connect({ address: temporalAddress }), await test.organisation()];
  const namespace = await createTestNamespace();
  const client = new Client({ connection: clientConnection, namespace });
  const taskQueue = TASK_QUEUES.core;
  const folder = await mkdtemp(join(tmpdir(), 'hal9-rollout-'));
  const keys = new KeyRing([{ id: 'a', key: randomBytes(32) }]);
  const logger = pino({ level: 'silent' });
  const operations = createOperations({ client, database: test.database, contracts: new Map([[rolloutContract.name, rolloutContract]]), keys, logger });
  const egress = new Egress({ allowPrivate: true });
  const connections = new Connections({ database: test.database, keys, egress });
  const caller = systemCaller(orgId, 'test');
  const [approvals, records] = [new Approvals({ database: test.database, keys, operations }), new RolloutRecords(test.database)];
  const [progress, tracing] = [new ProgressReporter(test.database, logger), await startTracing(loadConfig({ DATABASE_URL: test.url, TEMPORAL_ADDRESS: temporalAddress, TEMPORAL_NAMESPACE: namespace }), 'test')];
  const asking = createApprovalActivities({ store: new ApprovalStore(test.database), connections, notify: createNotify({ database: test.database, connections, egress }), operations, keys, publicUrl: 'http://127.0.0.1', logger });
  const [neurons, recorder] = [new NeuronStore(test.database), new RolloutRecorder(new RolloutStore(test.database), logger)];
  const calls = createCallDependencies({ config: loadConfig({ DATABASE_URL: test.url, TEMPORAL_ADDRESS: temporalAddress, HAL9_DATA: folder, HAL9_ALLOW_PRIVATE_ADDRESSES: 'true' }), database: test.database }, keys, egress);
  const asker = await Worker.create({ connection, namespace, taskQueue: TASK_QUEUES.neuronsExternal, activities: { ...createRolloutNeuronActivities({ neurons, signals: new SignalReadStore(test.database), calls, recorder }) }, shutdownForceTime: '5 seconds' });
  const worker = await Worker.create({
    connection,
    namespace,
    taskQueue,
    workflowsPath: join(import.meta.dirname, '../../workflows/rollout/index.ts'),
    activities: { ...asking, ...createKubernetesActivities({ clusters: new Clusters(connections, egress), connections, egress, neurons, recorder }) },
    interceptors: { workflowModules: [join(import.meta.dirname, '../../workers/interceptors/workflow.ts')] },
    sinks: { ...traceSink(tracing), ...progressSink(progress) },
    shutdownForceTime: '5 seconds',
  });
  const running = Promise.all([worker.run(), asker.run()]);
  const bench: RolloutBench = {
    async teach(name, behaviour) {
      const draft = neuronDraftSchema.parse({ name, layer: 'L2', subscription: { types: ['hal9.rollout.look'] }, behaviour });
      await neurons.create(orgId, randomUUID(), draft, 'test', actOf(caller, 'neuron.create', { kind: 'neuron', id: name }));
    },
    async connect(name, settings) {
      await connections.create(caller, { name, settings }, { test: settings.kind === 'kubernetes', signal: AbortSignal.timeout(20_000) });
    },
    async start(input) {
      const handle = await client.workflow.start('rollout', { taskQueue, workflowId: `${orgId}/rollout/${randomUUID()}`, args: [rolloutInputSchema.parse(input)], workflowExecutionTimeout: '10 minutes' });
      const parts = parseWorkflowId(handle.workflowId);
      if (parts === undefined) throw new TypeError('the workflow id names a run');
      const runId = formatRunId(parts);
      return {
        handle,
        runId,
        result: async () => rolloutResultSchema.parse(await handle.result()),
        standing: () => handle.query<RolloutStanding>(ROLLOUT_QUERY),
        async decide(action, reason = '') {
          await handle.executeUpdate(ROLLOUT_DECISION_UPDATE, { args: [{ action, reason }] });
        },
        pause: async () => void (await handle.executeUpdate(RESERVED_UPDATES.pause)),
        resume: async () => void (await handle.executeUpdate(RESERVED_UPDATES.resume)),
        async answer(who, approved) {
          const open = async () => (await approvals.list(caller, { state: 'open' }, 50)).find((approval) => approval.runId === runId);
          await expect.poll(open).toBeDefined();
          await approvals.answer({ ...caller, actor: { kind: 'api-key', id: who }, scopes: ['approvals:write'] }, (await open())?.id ?? '', { approved });
        },
        record: () => records.read(caller, runId),
        verdicts: () => records.verdicts(caller, runId, 200, {}),
      };
    },
    async record(run, name) {
      if (process.env['HAL9_RECORD_HISTORIES'] === 'true') await recordHistory(client, keys, run.handle.workflowId, name, HISTORIES);
    },
    async stop() {
      worker.shutdown();
      asker.shutdown();
      await running;
      await progress.close();
      await operations.close();
      await tracing.shutdown();
      await egress.close();
      await rm(folder, { recursive: true, force: true });
      await Promise.all([clientConnection.close(), connection.close()]);
    },
  };
  await bench.connect('cluster', { kind: 'kubernetes', server: cluster.server, ca: cluster.ca, token: cluster.token });
  return bench;
}
