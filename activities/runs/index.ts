import { cancellationSignal, heartbeat } from '@temporalio/activity';
import { v5 } from 'uuid';
import { BulkActionStore, type BulkAction } from '../../database/bulk-actions.ts';
import type { Caller } from '../../platform/identity/caller.ts';
import type { OperationsPort } from '../../platform/operations/contract.ts';
import { HalError } from '../../schemas/errors.ts';
import { TASK_QUEUES } from '../../schemas/names/task-queues.ts';
import { bulkInputSchema, type BulkInput } from '../../schemas/operations/bulk.ts';
import { activityOrganisation } from '../activity-run.ts';
import type { ActivityDependencies, RegisteredActivities } from '../dependencies.ts';
import type { BulkActivities } from './activity-contract.ts';

/** Discovered: actions on many runs. */
export default function register({ database, operations }: Pick<ActivityDependencies, 'database' | 'operations'>): RegisteredActivities {
  const store = new BulkActionStore(database);
  const activities: BulkActivities = {
    async actOnRuns(given) {
      const input = bulkInputSchema.parse(given);
      const orgId = activityOrganisation();
      const action = await written(store, orgId, input.bulkId);
      const caller: Caller = { orgId, actor: { kind: kindOf(action.actor.kind), id: action.actor.id }, scopes: action.scopes, requestId: `bulk~${input.bulkId}`, traceparent: undefined };
      for (const item of await store.take(orgId, input.bulkId, input.perSecond)) {
        cancellationSignal().throwIfAborted();
        await store.finish(orgId, input.bulkId, item.n, await outcomeOf(item, () => act(operations, caller, action, input, item)));
        heartbeat(item.n);
      }
      const { waiting, doing, done, failed, aborted } = await store.counts(orgId, input.bulkId);
      return { action: action.action, waiting: waiting + doing, done, failed, aborted };

      async function outcomeOf({ again }: { again: boolean }, work: () => Promise<string | null>): Promise<{ failure: string | null; newRunId: string | null }> {
        if (again && (action.action === 'signal' || action.action === 'replay')) return { failure: 'OutcomeUnknown', newRunId: null };
        try {
          return { failure: null, newRunId: await work() };
        } catch (error) {
          // What is away comes back: the whole is tried again. What the run says to it is the item's own.
          if (!(error instanceof HalError) || error.type === 'DependencyUnavailable') throw error;
          return { failure: error.type, newRunId: null };
        }
      }
    },
    async abortBulk(bulkId) {
      await store.abort(activityOrganisation(), bulkId);
    },
  };
  return { queues: { [TASK_QUEUES.core]: { ...activities } } };
}

async function act(operations: OperationsPort, caller: Caller, { action }: BulkAction, input: BulkInput, item: { n: number; runId: string }): Promise<string | null> {
  const { runId } = item;
  switch (action) {
    case 'signal':
      await operations.signal(caller, runId, input.signal?.name ?? '', input.signal?.payload);
      return null;
    case 'cancel':
      await operations.cancel(caller, runId);
      return null;
    case 'terminate':
      await operations.terminate(caller, runId, input.reason);
      return null;
    case 'pause':
      await operations.pause(caller, runId);
      return null;
    case 'resume':
      await operations.resume(caller, runId);
      return null;
    case 'retry':
      return (await operations.retry(caller, runId, v5(String(item.n), input.bulkId))).runId;
    case 'replay':
      await operations.replay(caller, runId, undefined, input.reason);
      return null;
  }
}

async function written(store: BulkActionStore, orgId: string, bulkId: string): Promise<BulkAction> {
  const action = await store.get(orgId, bulkId);
  if (action === undefined) throw new HalError('NotFound', 'no such bulk action');
  return action;
}

function kindOf(kind: string): Caller['actor']['kind'] {
  if (kind === 'api-key' || kind === 'user' || kind === 'service' || kind === 'system') return kind;
  throw new TypeError(`no actor is a ${kind}`);
}
