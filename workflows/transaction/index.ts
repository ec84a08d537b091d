import { allHandlersFinished, condition, continueAsNew, defineQuery, defineSignal, proxyActivities, setHandler, workflowInfo } from '@temporalio/workflow';
import type { ChainActivities } from '../../activities/chain/index.ts';
import { RESERVED_QUERIES, TRANSACTION_WAKE_SIGNAL, type Progress } from '../../schemas/names/messages.ts';
import { TASK_QUEUES } from '../../schemas/names/task-queues.ts';
import type { TransactionInput, TransactionResult } from '../../schemas/operations/transaction.ts';

const { driveSigner } = proxyActivities<ChainActivities>({
  taskQueue: TASK_QUEUES.chain,
  startToCloseTimeout: '10 minutes',
  // A worker that was killed is missed for so long.
  heartbeatTimeout: '10 seconds',
  retry: { initialInterval: '1 second', maximumInterval: '10 seconds' },
});

/** Sends what a signer has to send until all of it is final. */
export async function transaction({ signerId, confirmed = 0 }: TransactionInput): Promise<TransactionResult> {
  let woken = false;
  let done = confirmed;
  setHandler(defineSignal(TRANSACTION_WAKE_SIGNAL), () => {
    woken = true;
  });
  setHandler(defineQuery<Progress>(RESERVED_QUERIES.progress), () => ({ step: 'sending', done, total: null, message: `${String(done)} confirmed` }));
  for (;;) {
    woken = false;
    const round = await driveSigner({ signerId });
    done += round.confirmed;
    if (workflowInfo().continueAsNewSuggested) await continueAsNew<typeof transaction>({ signerId, confirmed: done });
    if (round.idle && !woken) break;
  }
  await condition(allHandlersFinished);
  return { confirmed: done };
}
