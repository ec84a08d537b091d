import { ApplicationFailure } from '@temporalio/activity';
import { ExternalCallStore, type CallOutcome } from '../../database/external-calls.ts';
import { isExternal } from '../../neurons/external.ts';
import { Egress } from '../../platform/connections/egress.ts';
import { loadKeyRing } from '../../platform/keys/load.ts';
import type { Layer } from '../../schemas/names/layers.ts';
import { TASK_QUEUES } from '../../schemas/names/task-queues.ts';
import { activityOrganisation } from '../activity-run.ts';
import { beating } from '../beating.ts';
import type { ActivityDependencies, RegisteredActivities } from '../dependencies.ts';
import { createCallDependencies } from './call-dependencies.ts';
import { callNeuron, type CallDependencies } from './call-neuron.ts';

/** Calls one activity has under way at once. */
const PARALLEL = 5;

export interface LayerCalls {
  readonly batchId: string;
  readonly layer: Layer;
  /** Most calls of this activity. */
  readonly limit: number;
}

export interface ExternalActivities {
  /**
   * Makes calls of a layer that have no outcome yet and stores what each came to. A retry makes only those that were under way, and reads
   * what was answered before.
   * @returns how many still wait.
   */
  callNeurons(input: LayerCalls): Promise<{ readonly waiting: number }>;
}

export interface ExternalActivityDependencies extends CallDependencies {
  readonly store: ExternalCallStore;
}

export function createExternalActivities(deps: ExternalActivityDependencies): ExternalActivities {
  return {
    async callNeurons({ batchId, layer, limit }) {
      const orgId = activityOrganisation();
      return beating(async (signal) => {
        // One more than is called, to know whether any is left.
        const ids = await deps.store.unanswered(orgId, batchId, layer, limit + 1);
        const queue = ids.slice(0, limit);
        const lane = async (): Promise<void> => {
          for (let id = queue.shift(); id !== undefined; id = queue.shift()) {
            const outcome = await outcomeOf(deps, orgId, id, signal);
            await deps.store.settle(orgId, id, outcome);
          }
        };
        // All lanes end before the activity does, whatever became of one: nothing may still be calling after it failed.
        const ended = await Promise.allSettled(Array.from({ length: PARALLEL }, lane));
        const failed = ended.find((result) => result.status === 'rejected');
        if (failed !== undefined) throw failed.reason;
        return { waiting: ids.length - Math.min(ids.length, limit) };
      });
    },
  };
}

async function outcomeOf(deps: ExternalActivityDependencies, orgId: string, id: string, signal: AbortSignal): Promise<CallOutcome> {
  const call = await deps.store.find(orgId, id);
  if (call === undefined) throw ApplicationFailure.nonRetryable('the call is gone', 'NotFound');
  const neuron = await deps.calls.neuronAt(orgId, call.neuronId, call.neuronVersion);
  if (neuron === undefined || !isExternal(neuron)) return { fallback: true, reason: 'the neuron is not there any more', costUsd: '0' };
  const { outcome, costUsd } = await callNeuron(deps, { orgId, batchId: call.batchId, neuron, signal: call.signal }, signal);
  return { ...outcome, costUsd };
}

/** Discovered: calls of llm and http neurons. */
export default async function register({ config, database }: ActivityDependencies): Promise<RegisteredActivities> {
  const egress = new Egress({ allowPrivate: config.HAL9_ALLOW_PRIVATE_ADDRESSES });
  const activities = createExternalActivities({ ...createCallDependencies({ config, database }, await loadKeyRing(config), egress), store: new ExternalCallStore(database) });
  return { queues: { [TASK_QUEUES.neuronsExternal]: { ...activities } }, shutdown: () => egress.close() };
}
