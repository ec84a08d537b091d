import { defineQuery, proxyActivities, setHandler } from '@temporalio/workflow';
import type { AnchorActivities } from '../../activities/anchor/activity-contract.ts';
import { RESERVED_QUERIES, type Progress } from '../../schemas/names/messages.ts';
import type { AnchorInput, AnchorResult } from '../../schemas/operations/anchor.ts';

/** Batches of one run; what waits after them is anchored by the next start. */
const MOST_BATCHES = 500;

const { anchorBatch } = proxyActivities<AnchorActivities>({ startToCloseTimeout: '7 days', heartbeatTimeout: '20 seconds', retry: { maximumInterval: '30 seconds' } });

/** A batch after the other until nothing waits. */
export async function anchor({ stream }: AnchorInput): Promise<AnchorResult> {
  const done = { batches: 0, hashes: 0 };
  setHandler(defineQuery<Progress>(RESERVED_QUERIES.progress), () => ({ step: 'anchoring', done: done.hashes, total: null, message: `${String(done.batches)} batches` }));
  while (done.batches < MOST_BATCHES) {
    const { hashes } = await anchorBatch(stream);
    if (hashes === null) break;
    done.batches += 1;
    done.hashes += hashes;
  }
  return done;
}
