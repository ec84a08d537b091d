import { createHash } from 'node:crypto';
import canonicalize from 'canonicalize';
import { z } from 'zod';
import { auditEntry } from '../audit/entry.ts';
import { erasedTable, keptValue } from './erasure.ts';

const hash = z.string().regex(/^[0-9a-f]{64}$/);

/** What an erasure did. Its SHA-256 is in the audit entry of the erasure's end. */
export const erasureStatement = z.strictObject({
  v: z.literal(1),
  orgId: z.uuid(),
  erasureId: z.uuid(),
  /** Keyed hashes: only the installation can say whose. */
  subjects: z.array(hash),
  requestedAt: z.iso.datetime(),
  finishedAt: z.iso.datetime(),
  tables: z.array(erasedTable),
  kept: z.array(keptValue),
  /** Places where the look-again found the person and nothing allows it: none, or there would be no receipt. */
  left: z.literal(0),
});
export type ErasureStatement = z.infer<typeof erasureStatement>;

/** Payload of the JWS (EdDSA, RFC 8037): the statement, and the proof that the audit log holds its hash. */
export const receiptPayload = z.strictObject({
  statement: erasureStatement,
  audit: z.strictObject({
    entry: auditEntry,
    treeSize: z.int().min(1),
    proof: z.array(hash).describe('RFC 9162, from the leaf to the root.'),
    checkpoint: z.string().describe('Signed note: https://c2sp.org/tlog-checkpoint'),
  }),
});
export type ReceiptPayload = z.infer<typeof receiptPayload>;

export const RECEIPT_TYPE = 'hal9-erasure+jws';

/** SHA-256 of the RFC 8785 form, 64 hex digits. */
export function statementHash(statement: ErasureStatement): string {
  return createHash('sha256').update(canonicalize(statement) ?? '').digest('hex');
}
