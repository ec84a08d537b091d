import { z } from 'zod';
import { auditEntry, openedFields } from './entry.ts';

const hash = z.base64().length(44);

/** First line of an export: whose log it is, and what precedes its first entry. */
export const exportHeader = z.strictObject({
  kind: z.literal('header'),
  version: z.literal(1),
  origin: z.string(),
  orgId: z.uuid(),
  from: z.int().min(0).describe('Number of the first entry.'),
  size: z.int().min(0).describe('Entries of the log when the export began: its entries are `from` to `size - 1`.'),
  roots: z.array(hash).describe('Roots of the perfect subtrees of the entries before `from`, largest first.'),
});

export const exportedEntry = z.strictObject({
  kind: z.literal('entry'),
  entry: auditEntry,
  leafHash: hash,
  personal: openedFields.describe('Personal values that were not erased, with the salts of their commitments.'),
});

/** Stands where the log had this size. */
export const exportedCheckpoint = z.strictObject({ kind: z.literal('checkpoint'), size: z.int().min(0), note: z.string() });

/** Last line: without it the export was cut off on its way. */
export const exportEnd = z.strictObject({ kind: z.literal('end'), size: z.int().min(0) });

/** A line of an export (NDJSON) that can be verified without a server. */
export const exportLine = z.discriminatedUnion('kind', [exportHeader, exportedEntry, exportedCheckpoint, exportEnd]);
export type ExportHeader = z.output<typeof exportHeader>;
export type ExportLine = z.output<typeof exportLine>;
