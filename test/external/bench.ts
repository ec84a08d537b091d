import { randomBytes, randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { callNeuron, type CallDependencies, type NeuronCallResult } from '../../activities/external/call-neuron.ts';
import type { Picture } from '../../activities/external/model-call.ts';
import { NeuronBreakerStore } from '../../database/neuron-breakers.ts';
import { NeuronCallStore } from '../../database/neuron-calls.ts';
import { isExternal, type ExternalNeuron } from '../../neurons/external.ts';
import type { NeuronSignal } from '../../neurons/layer.ts';
import { createBlobStore } from '../../platform/blobs/create.ts';
import { Budgets } from '../../platform/budgets/budgets.ts';
import { Connections } from '../../platform/connections/connections.ts';
import { Egress } from '../../platform/connections/egress.ts';
import { systemCaller, type Caller } from '../../platform/identity/caller.ts';
import { KeyRing } from '../../platform/keys/key-ring.ts';
import { SubjectKeys } from '../../platform/keys/subject-keys.ts';
import { Memories } from '../../platform/memory/memories.ts';
import { neuronDraftSchema } from '../../schemas/neurons/definition.ts';
import type { ConnectionSettings } from '../../schemas/rest/connections.ts';
import { createTestDatabase, type TestDatabase } from '../environment/database.ts';

export interface ExternalBench extends CallDependencies {
  readonly test: TestDatabase;
  readonly memories: Memories;
  readonly subjects: SubjectKeys;
  readonly keys: KeyRing;
  organisation(): Promise<Caller>;
  connect(caller: Caller, name: string, settings: ConnectionSettings): Promise<unknown>;
  call(caller: Caller, neuron: ExternalNeuron, signal: NeuronSignal, options?: { batchId?: string; abort?: AbortSignal; pictures?: readonly Picture[] }): Promise<NeuronCallResult>;
  close(): Promise<void>;
}

/** Everything a call needs, real, against local servers. */
export async function externalBench(options: { allowPrivate: boolean } = { allowPrivate: true }): Promise<ExternalBench> {
  const test = await createTestDatabase();
  const folder = await mkdtemp(join(tmpdir(), 'hal9-external-'));
  const keys = new KeyRing([{ id: 'a', key: randomBytes(32) }]);
  const egress = new Egress(options);
  const subjects = new SubjectKeys({ database: test.database, keys });
  const memories = new Memories({ database: test.database, keys, subjects });
  const deps: CallDependencies = {
    connections: new Connections({ database: test.database, keys, egress }),
    egress,
    budgets: new Budgets(test.database),
    calls: new NeuronCallStore(test.database),
    breakers: new NeuronBreakerStore(test.database),
    blobs: createBlobStore({ HAL9_DATA: folder }, keys, subjects),
    memories,
  };
  return {
    ...deps,
    test,
    memories,
    subjects,
    keys,
    organisation: async () => systemCaller(await test.organisation(), 'test'),
    connect: (caller, name, settings) => deps.connections.create(caller, { name, settings }, { test: false, signal: AbortSignal.timeout(5000) }),
    call: (caller, neuron, signal, { batchId = randomUUID(), abort = AbortSignal.timeout(30_000), pictures = [] } = {}) => callNeuron(deps, { orgId: caller.orgId, batchId, neuron, signal, pictures }, abort),
    async close() {
      await egress.close();
      await test.drop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

export function neuronOf(behaviour: Record<string, unknown>, change: Record<string, unknown> = {}): ExternalNeuron {
  const draft = neuronDraftSchema.parse({ name: 'judge', layer: 'L4', subscription: { types: ['*'] }, behaviour, ...change });
  const neuron = { ...draft, id: randomUUID(), version: 1 };
  if (!isExternal(neuron)) throw new Error('not external');
  return neuron;
}

export function signalOf(data: unknown): NeuronSignal {
  return { ref: randomUUID(), id: 'e1', source: 'host/web-1', type: 'hal9.incident', subject: 'web-1', timeMs: Date.UTC(2026, 0, 2), data };
}
