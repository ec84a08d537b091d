import { createHmac } from 'node:crypto';
import canonicalize from 'canonicalize';
import { z } from 'zod';

/** Personal fields an act may carry. The log holds commitments to them; the values are kept apart and can be erased. */
export const PERSONAL_FIELDS = ['address', 'userAgent', 'userName'] as const;
export type PersonalField = (typeof PERSONAL_FIELDS)[number];

const hex = (bytes: number) => z.string().regex(new RegExp(`^[0-9a-f]{${String(2 * bytes)}}$`));

/** Bytes of a salt: as many as the hash, so that a commitment says nothing once its salt is gone. */
export const SALT_BYTES = 32;

/** An act with its number, as it is hashed. Its RFC 8785 form is the leaf; whoever adds a member raises `v`. */
export const auditEntry = z.strictObject({
  v: z.literal(1),
  orgId: z.uuid(),
  seq: z.int().min(0).describe('Its place in the log, from 0, without gaps: the index of its leaf.'),
  id: z.uuid(),
  at: z.iso.datetime({ precision: 3 }).describe("When it happened, by the database's clock."),
  action: z.string().describe('`<resource>.<verb>`, e.g. `api-key.revoke`.'),
  result: z.enum(['succeeded', 'refused', 'failed']),
  actor: z.strictObject({ kind: z.string(), id: z.string() }),
  impersonatorId: z.string().nullable().describe('The user who acted as the actor.'),
  resource: z.strictObject({ kind: z.string(), id: z.string() }),
  requestId: z.string(),
  risk: z.int().min(0).max(100).describe('0 (nothing unusual) to 100.'),
  details: z.record(z.string(), z.unknown()).describe('Neither personal nor secret.'),
  commitments: z.partialRecord(z.enum(PERSONAL_FIELDS), hex(32)).describe('HMAC-SHA256 by a salt of each personal field.'),
});
export type AuditEntry = z.output<typeof auditEntry>;

/** Personal values that were not erased, each with the salt that opens its commitment. */
export const openedFields = z.partialRecord(z.enum(PERSONAL_FIELDS), z.strictObject({ salt: hex(SALT_BYTES), value: z.string() }));
export type OpenedFields = z.output<typeof openedFields>;

/** The bytes of an entry's leaf: RFC 8785 canonical JSON in UTF-8. */
export function encodeEntry(entry: AuditEntry): Buffer {
  const text = canonicalize(entry);
  if (text === undefined) throw new TypeError('an audit entry is an object');
  return Buffer.from(text, 'utf8');
}

/**
 * Commits to a personal value: HMAC-SHA256 keyed with the salt over `field NUL value`. It binds, and tells nothing without the salt.
 * @param salt {@link SALT_BYTES} random bytes, for this field of this entry only.
 * @returns 64 hex digits.
 */
export function commitTo(field: PersonalField, salt: Uint8Array, value: string): string {
  return createHmac('sha256', salt).update(`${field}\0${value}`, 'utf8').digest('hex');
}
