import { z } from 'zod';
import { defineOperation } from './operation.ts';

export const anchorInputSchema = z.strictObject({ stream: z.uuid().describe('Of `GET /v1/anchor-streams`.') });
export type AnchorInput = z.infer<typeof anchorInputSchema>;

export const anchorResultSchema = z.object({ batches: z.int(), hashes: z.int() });
export type AnchorResult = z.infer<typeof anchorResultSchema>;

export default defineOperation({
  name: 'anchor',
  summary: 'Anchor what waits in a stream on its chain',
  description: 'Makes batches of up to 10,000 hashes, a Merkle tree each, and writes their roots into MemoryAnchor, one transaction a batch. A stream of the audit log takes its newest checkpoint first, one of memory what was remembered since; a schedule of this operation anchors them regularly. One run a stream: a start while one works joins it.',
  input: anchorInputSchema,
  result: anchorResultSchema,
  permission: 'chain-transactions:write',
  id: ({ stream }) => stream,
  conflictPolicy: 'use-existing',
  timeouts: { execution: '30 days' },
  effect: 'idempotent',
  versioning: 'auto-upgrade',
});
