import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { Client, Connection } from '@temporalio/client';
import type { DataConverter } from '@temporalio/common';
import { bundleWorkflowCode, NativeConnection, Runtime, Worker, type WorkflowBundle } from '@temporalio/worker';
import pino from 'pino';
import { inject } from 'vitest';
import type { RegisteredActivities } from '../../activities/dependencies.ts';
import { createBatchActivities, createLayerActivities, type NeuronPools } from '../../activities/neurons/index.ts';
import { ThreadPool } from '../../activities/neurons/thread-pool.ts';
import { OpenBatchStore, type OpenedBatch } from '../../database/batches-open.ts';
import { NeuronStore } from '../../database/neurons.ts';
import { SignalStore } from '../../database/signals.ts';
import { parseNeuron } from '../../neurons/validate-neuron.ts';
import { createDataConverter, FAILURE_CONVERTER_PATH } from '../../platform/codec/data-converter.ts';
import type { KeyRing } from '../../platform/keys/key-ring.ts';
import { LaneChooser } from '../../platform/signals/lane.ts';
import { prepareValue } from '../../platform/signals/prepare.ts';
import { TASK_QUEUES } from '../../schemas/names/task-queues.ts';
import { formatWorkflowId } from '../../schemas/names/workflow-id.ts';
import type { CascadeResult } from '../../schemas/operations/cascade.ts';
import { act } from '../audit/acts.ts';
import { createTestDatabase, type TestDatabase } from '../environment/database.ts';
import { createTestNamespace } from '../environment/temporal.ts';

export type Activities = RegisteredActivities['queues'];
type Activity = Activities[string][string];

/** The same activities, but one of a queue is what `wrap` makes of it. */
export function wrapActivity(activities: Activities, queue: string, name: string, wrap: (activity: Activity) => Activity): Activities {
  const activity = activities[queue]?.[name];
  if (activity === undefined) throw new Error(`no ${name} on ${queue}`);
  return { ...activities, [queue]: { ...activities[queue], [name]: wrap(activity) } };
}

/** A cascade's whole world: database, namespace, threads and workers of its own. */
export class CascadeHouse {
  readonly test: TestDatabase;
  readonly client: Client;
  readonly namespace: string;
  readonly pools: NeuronPools;
  readonly lanes = new LaneChooser(4);
  readonly #connection: Connection;
  readonly #native: NativeConnection;
  readonly #bundle: WorkflowBundle;
  readonly #dataConverter: DataConverter | undefined;
  readonly #workers: { worker: Worker; running: Promise<void> }[] = [];

  private constructor(parts: { test: TestDatabase; client: Client; namespace: string; pools: NeuronPools; connection: Connection; native: NativeConnection; bundle: WorkflowBundle; dataConverter: DataConverter | undefined }) {
    this.test = parts.test;
    this.client = parts.client;
    this.namespace = parts.namespace;
    this.pools = parts.pools;
    this.#connection = parts.connection;
    this.#native = parts.native;
    this.#bundle = parts.bundle;
    this.#dataConverter = parts.dataConverter;
  }

  /** @param keys encrypt payloads as in production; default: none are encrypted. */
  static async open(keys?: KeyRing): Promise<CascadeHouse> {
    const logger = pino({ level: 'silent' });
    Runtime.install({ logger: { log() {}, trace() {}, debug() {}, info() {}, warn() {}, error() {} } });
    const address = inject('temporalAddress');
    const dataConverter = keys === undefined ? undefined : createDataConverter(keys);
    const [test, namespace, connection, native, bundle] = await Promise.all([
      createTestDatabase(),
      createTestNamespace(),
      Connection.connect({ address }),
      NativeConnection.connect({ address }),
      bundleWorkflowCode({ workflowsPath: join(import.meta.dirname, '../../workflows/cascade/index.ts'), ...(keys === undefined ? {} : { failureConverterPath: FAILURE_CONVERTER_PATH }), logger: { log() {}, trace() {}, debug() {}, info() {}, warn() {}, error() {} } }),
    ]);
    const pools = {
      batch: new ThreadPool({ database: test.database.options, threads: 2, jobsPerThread: 1, heapMb: 128, logger }),
      interactive: new ThreadPool({ database: test.database.options, threads: 1, jobsPerThread: 8, heapMb: 128, logger }),
    };
    return new CascadeHouse({ test, namespace, connection, native, bundle, pools, dataConverter, client: new Client({ connection, namespace, ...(dataConverter === undefined ? {} : { dataConverter }) }) });
  }

  /** Serves every queue of a cascade; `change` wraps or replaces activities. */
  async serve(change: (activities: Activities) => Activities = (activities) => activities): Promise<void> {
    const layers = { ...createLayerActivities(this.pools, { layerMs: 6000, probeMs: 5000 }) };
    const batches = { ...createBatchActivities(this.pools, { database: this.test.database }) };
    const activities = change({
      [TASK_QUEUES.core]: batches,
      [TASK_QUEUES.interactive]: batches,
      [TASK_QUEUES.neuronsL2]: layers,
      [TASK_QUEUES.neuronsL3]: layers,
      [TASK_QUEUES.neuronsL4]: layers,
    });
    for (const [taskQueue, served] of Object.entries(activities)) {
      const workflows = taskQueue === TASK_QUEUES.core || taskQueue === TASK_QUEUES.interactive;
      const worker = await Worker.create({ connection: this.#native, namespace: this.namespace, taskQueue, activities: { ...served }, ...(workflows ? { workflowBundle: this.#bundle } : {}), shutdownGraceTime: '1 second', ...(this.#dataConverter === undefined ? {} : { dataConverter: this.#dataConverter }) });
      this.#workers.push({ worker, running: worker.run() });
    }
  }

  async stopWorkers(): Promise<void> {
    for (const { worker } of this.#workers) worker.shutdown();
    await Promise.all(this.#workers.map(({ running }) => running));
    this.#workers.length = 0;
  }

  async close(): Promise<void> {
    await this.stopWorkers();
    await Promise.all([this.pools.batch.close(), this.pools.interactive.close()]);
    await this.#connection.close();
    await this.#native.close();
    await this.test.drop();
  }

  /** Creates neurons from what a person would send; answers their ids by name. */
  async neurons(orgId: string, drafts: readonly unknown[]): Promise<Map<string, string>> {
    const parsed = drafts.map((draft) => {
      const result = parseNeuron(draft);
      if ('errors' in result) throw new Error(JSON.stringify(result.errors));
      return { id: randomUUID(), draft: result.draft };
    });
    await new NeuronStore(this.test.database).createMany(orgId, parsed, 'test', act(orgId, { action: 'neuron.create' }));
    return new Map(parsed.map(({ id, draft }) => [draft.name, id]));
  }

  /** Stores signals as the ingest does; answers their ids in order. */
  async ingest(orgId: string, signals: readonly Readonly<Record<string, unknown>>[]): Promise<string[]> {
    const rows = signals.map((signal) => {
      const prepared = prepareValue(signal, { orgId, lanes: this.lanes, receivedAt: new Date().toISOString(), defaultSpecversion: true });
      if (prepared.row === undefined) throw new Error(JSON.stringify(prepared.errors));
      return prepared.row;
    });
    await new SignalStore(this.test.database).commit({ orgId, rows, traceparent: undefined });
    return rows.map(({ key }) => `${key.slice(0, 8)}-${key.slice(8, 12)}-${key.slice(12, 16)}-${key.slice(16, 20)}-${key.slice(20)}`);
  }

  /** Opens a batch for each lane that waits, as the dispatcher does. */
  async openBatches(): Promise<OpenedBatch[]> {
    return new OpenBatchStore(this.test.database).open({ batchSignals: 20_000, batchIds: Array.from({ length: 16 }, () => randomUUID()), interactiveGraceSeconds: 30, restMs: 0 });
  }

  async start(batch: Pick<OpenedBatch, 'orgId' | 'id'>, interactive = false): Promise<{ workflowId: string; result(): Promise<CascadeResult> }> {
    const workflowId = formatWorkflowId({ orgId: batch.orgId, operation: 'cascade', uuid: batch.id });
    const handle = await this.client.workflow.start('cascade', { workflowId, taskQueue: interactive ? TASK_QUEUES.interactive : TASK_QUEUES.core, args: [{ batchId: batch.id, interactive }], workflowExecutionTimeout: '5 minutes' });
    return { workflowId, result: () => handle.result() };
  }

  /** Decides everything that waits, delegations included; answers the results in order. */
  async decideAll(): Promise<CascadeResult[]> {
    const results: CascadeResult[] = [];
    for (;;) {
      const batches = await this.openBatches();
      if (batches.length === 0) {
        if (!(await this.#somethingWaits())) return results;
        await new Promise((resolve) => setTimeout(resolve, 20));
        continue;
      }
      results.push(...(await Promise.all(batches.map(async (batch) => (await this.start(batch)).result()))));
    }
  }

  async #somethingWaits(): Promise<boolean> {
    const { rows } = await this.test.database.systemPool.query('select from chunks where batch_id is null limit 1');
    return rows.length > 0;
  }
}
