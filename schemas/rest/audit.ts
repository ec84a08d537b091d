import { z } from 'zod';
import { auditEntry, PERSONAL_FIELDS } from '../audit/entry.ts';

const base64 = z.base64();
const text = z.string().max(200);

/** What narrows a list of acts. */
export const auditFilter = z.object({
  action: text.optional().describe('Exactly, e.g. `api-key.create`.'),
  actor: text.optional().describe("Id of who did it: a key's, a user's, or the name of a process."),
  resource: text.optional().describe('Id of what it was done to.'),
  result: auditEntry.shape.result.optional(),
  from: z.iso.datetime({ offset: true }).optional().describe('Acts at this time or later.'),
  to: z.iso.datetime({ offset: true }).optional().describe('Acts before this time.'),
  minRisk: z.coerce.number().int().min(0).max(100).optional(),
});

export const auditParams = z.object({ seq: z.coerce.number().int().min(0) });

export const auditEntryView = z
  .object({
    entry: auditEntry,
    leafHash: base64.describe('RFC 6962 hash of the RFC 8785 form of `entry`.'),
    personal: z.partialRecord(z.enum(PERSONAL_FIELDS), z.string()).describe('What was not erased.'),
  })
  .meta({ id: 'AuditEntry' });

const proof = z.array(base64).describe('From the bottom up (RFC 9162 section 2.1.3).');

export const inclusionProof = z
  .object({
    leafIndex: z.int(),
    treeSize: z.int(),
    leafHash: base64,
    root: base64,
    proof,
    checkpoint: z.string().nullable().describe('Signed note of the tree; null when no checkpoint of this size was made.'),
  })
  .meta({ id: 'AuditInclusionProof' });

export const consistencyProof = z
  .object({ from: z.int(), to: z.int(), fromRoot: base64, toRoot: base64, proof: z.array(base64).describe('RFC 9162 section 2.1.4.') })
  .meta({ id: 'AuditConsistencyProof' });

export const auditEntryDetail = auditEntryView
  .extend({ inclusion: inclusionProof.nullable().describe('In the tree of the latest checkpoint; null until the entry is in one, a second or two.') })
  .meta({ id: 'AuditEntryWithProof' });

export const checkpointView = z
  .object({ size: z.int(), note: z.string().describe('C2SP signed note with the signatures of the log and of its witness.'), at: z.iso.datetime() })
  .meta({ id: 'AuditCheckpoint' });

export const auditKeys = z
  .object({
    origin: z.string(),
    log: z.string().describe('Verifier key of the log. Keep it where nobody who rules the database can change it.'),
    witness: z.string().describe('Verifier key of the witness.'),
  })
  .meta({ id: 'AuditKeys' });

export const inclusionQuery = z.object({ seq: z.coerce.number().int().min(0), size: z.coerce.number().int().min(1).optional().describe('Default: of the latest checkpoint.') });
export const consistencyQuery = z.object({ from: z.coerce.number().int().min(1), to: z.coerce.number().int().min(1).optional().describe('Default: the latest checkpoint.') });

export const exportQuery = z.object({
  format: z.enum(['verifiable', 'jsonl', 'cef']).default('verifiable').describe('`verifiable` for `hal9 audit verify`; JSON lines or CEF for a SIEM.'),
  after: z.coerce.number().int().min(0).optional().describe('Only entries after this number: the last one a SIEM has.'),
  from: z.iso.datetime({ offset: true }).optional().describe('Only from the first entry of this time on.'),
});

export const erasureRequest = z.strictObject({ userId: z.uuid() });
export const erasureAnswer = z.object({ erased: z.int().describe('Acts whose personal values were erased.') }).meta({ id: 'AuditErasure' });
