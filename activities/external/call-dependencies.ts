import { NeuronBreakerStore } from '../../database/neuron-breakers.ts';
import { NeuronCallStore } from '../../database/neuron-calls.ts';
import { createBlobStore } from '../../platform/blobs/create.ts';
import { Budgets } from '../../platform/budgets/budgets.ts';
import { Connections } from '../../platform/connections/connections.ts';
import type { Egress } from '../../platform/connections/egress.ts';
import type { KeyRing } from '../../platform/keys/key-ring.ts';
import { SubjectKeys } from '../../platform/keys/subject-keys.ts';
import { Memories } from '../../platform/memory/memories.ts';
import type { ActivityDependencies } from '../dependencies.ts';
import type { CallDependencies } from './call-neuron.ts';

/** What a process calls neurons with, by its settings: whether models are asked, and what they may cost. */
export function createCallDependencies({ config, database }: Pick<ActivityDependencies, 'config' | 'database'>, keys: KeyRing, egress: Egress): CallDependencies {
  const subjects = new SubjectKeys({ database, keys });
  return {
    connections: new Connections({ database, keys, egress }),
    egress,
    budgets: new Budgets(database, config.HAL9_MODEL_MONTHLY_USD),
    models: config.HAL9_MODELS,
    calls: new NeuronCallStore(database),
    breakers: new NeuronBreakerStore(database),
    blobs: createBlobStore(config, keys, subjects),
    memories: new Memories({ database, keys, subjects }),
  };
}
