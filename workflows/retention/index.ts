import { ActivityFailure, defineQuery, isCancellation, proxyActivities, setHandler } from '@temporalio/workflow';
import type { RetentionActivities } from '../../activities/retention/activity-contract.ts';
import { RESERVED_QUERIES, type Progress } from '../../schemas/names/messages.ts';
import type { RetentionInput, RetentionResult } from '../../schemas/operations/retention.ts';

const { planRetention, finishRetention } = proxyActivities<RetentionActivities>({ startToCloseTimeout: '2 hours', heartbeatTimeout: '30 seconds', retry: { maximumAttempts: 10, maximumInterval: '1 minute' } });
const { sweepTable } = proxyActivities<RetentionActivities>({ startToCloseTimeout: '12 hours', heartbeatTimeout: '30 seconds', retry: { maximumAttempts: 10, maximumInterval: '1 minute' } });

/** Counts, deletes table by table, counts again. A table that cannot be swept is a reason, for others are still worth it. */
export async function retention(input: RetentionInput): Promise<RetentionResult> {
  let [done, total] = [0, 0];
  setHandler(defineQuery<Progress>(RESERVED_QUERIES.progress), () => ({ step: input.dryRun === true ? 'counting' : 'deleting', done, total, message: '' }));
  const { tables, reasons } = await planRetention(input);
  if (input.dryRun === true || reasons.length > 0) return finishRetention(input, reasons);
  total = tables.length;
  const failed: string[] = [];
  for (const table of tables) {
    try {
      await sweepTable(input, table);
    } catch (error) {
      if (isCancellation(error) || !(error instanceof ActivityFailure)) throw error;
      failed.push(`${table}: ${error.cause?.message ?? error.message}`);
    }
    done += 1;
  }
  return finishRetention(input, failed);
}
