import { parseSubject } from '../../schemas/operations/operation.ts';
import type { KeyRing } from '../keys/key-ring.ts';

/** What a person is looked up by: values by kind, e.g. `{email: ['a@example.com']}`. */
export type Identities = Readonly<Record<string, readonly string[]>>;

/** How identities are compared: without case and outer blanks. */
export function normalised(value: string): string {
  return value.trim().toLowerCase();
}

/** Keyed hashes of a person's identities, sorted: they find the person again, and tell nobody who it is. */
export function subjectHashes(keys: KeyRing, orgId: string, identities: Identities): Buffer[] {
  const hashes = Object.entries(identities).flatMap(([kind, values]) => values.map((value) => keys.hmac(orgId, 'privacy/subject', `${kind}\0${normalised(value)}`).toString('hex')));
  return [...new Set(hashes)].toSorted().map((hash) => Buffer.from(hash, 'hex'));
}

/** The hash of a person who is stated as `kind:value`; undefined when the text is not that. */
export function subjectHash(keys: KeyRing, orgId: string, text: string): Buffer | undefined {
  const subject = parseSubject(text);
  return subject === undefined ? undefined : subjectHashes(keys, orgId, { [subject.kind]: [subject.value] })[0];
}
