import type { DecisionStore, StoredDecision } from '../../database/decisions.ts';
import type { SignalReadStore } from '../../database/signal-reads.ts';
import { HalError } from '../../schemas/errors.ts';
import { CASCADE_DECIDE_UPDATE } from '../../schemas/names/messages.ts';
import { TASK_QUEUES } from '../../schemas/names/task-queues.ts';
import type { SignalDecision } from '../../schemas/rest/decisions.ts';
import type { Caller } from '../identity/caller.ts';
import { systemCaller } from '../identity/caller.ts';
import type { OperationsPort } from '../operations/contract.ts';
import type { DecidedBatches } from './decided-batches.ts';
import type { Decide } from './waiting.ts';

export interface DecideDependencies {
  readonly operations: Pick<OperationsPort, 'startWithUpdate'>;
  readonly decisions: DecisionStore;
  readonly decided: Pick<DecidedBatches, 'expect'>;
}

/** How often a signal that another cascade works on is looked at, ms. */
const POLL_MS = 25;

/**
 * Starts the cascade of a waiting signal on the interactive queue and answers once it is decided. The run carries ids only; the
 * decision is read from the database. It counts from the commit that makes it, so the sender does not wait for the run to end after it;
 * the run's own answer is for when that commit is not heard of.
 */
export function createDecide({ operations, decisions, decided }: DecideDependencies): Decide {
  return async (caller, { key, batchId }, { timeoutMs, signal }) => {
    signal.throwIfAborted();
    const expected = decided.expect(batchId);
    try {
      // A signal is HAL9's own to decide: who may send one need not be allowed to start operations.
      const run = operations.startWithUpdate(
        systemCaller(caller.orgId, 'signals', caller.traceparent),
        { operation: 'cascade', uuid: batchId, origin: 'dispatcher', input: { batchId, interactive: true }, taskQueue: TASK_QUEUES.interactive },
        { name: CASCADE_DECIDE_UPDATE, payload: {}, timeoutMs },
      );
      await Promise.race([expected.decided, run]);
    } catch (error) {
      // The dispatcher took the batch over and its cascade has ended already: the answer is in the database.
      if (!(error instanceof HalError) || (error.type !== 'Conflict' && error.type !== 'RunClosed')) throw error;
    } finally {
      expected.forget();
    }
    return answer(decisions, caller.orgId, key, batchId);
  };
}

async function answer(decisions: DecisionStore, orgId: string, key: string, batchId: string): Promise<SignalDecision> {
  const found = await decisions.ofBatch(orgId, batchId, key);
  if (found === undefined || found.state === 'open') throw new HalError('Timeout', 'the signal is accepted and not decided yet; read /v1/signals/{id}/trace later');
  return { signalId: key, batchId, state: found.state, ...(found.failure === null ? {} : { failure: found.failure }), decisions: found.decisions.map(decisionOf) };
}

function decisionOf({ id, summary, reason, severity, layer, neuronName, effect, state }: StoredDecision): SignalDecision['decisions'][number] {
  return { id, summary, reason, severity, layer, neuron: neuronName, effect, effectState: state };
}

/**
 * Answers a signal that was accepted before: with what was decided, waiting for it while its batch is open.
 * @throws {HalError} Timeout when it takes longer; NotFound when it left the dedup window meanwhile.
 */
export async function knownDecision(
  stores: { readonly decisions: DecisionStore; readonly reads: SignalReadStore },
  caller: Caller,
  key: string,
  { timeoutMs, signal }: { timeoutMs: number; signal: AbortSignal },
): Promise<SignalDecision> {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    const known = await stores.reads.find(caller.orgId, key);
    if (known === undefined) throw new HalError('NotFound', 'the signal left the dedup window');
    if (known.batchId !== null && known.batchState !== 'open' && known.batchState !== null) return answer(stores.decisions, caller.orgId, key, known.batchId);
    if (Date.now() > deadline) throw new HalError('Timeout', 'the signal is accepted and not decided yet; read /v1/signals/{id}/trace later');
    signal.throwIfAborted();
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}
