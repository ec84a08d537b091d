import { randomBytes, randomUUID } from 'node:crypto';
import type { Database } from '../../database/database.ts';
import { SubjectKeyStore, type SubjectKeyRecord } from '../../database/subject-keys.ts';
import { KeyError, KeyRing } from './key-ring.ts';

const PURPOSE = 'subject-keys';
/** A process goes on using a key it has read for so long, ms. Whoever destroys one waits this out. */
export const SUBJECT_KEY_TTL_MS = 3_000;
/** Keys kept in memory. */
const CACHE_LIMIT = 5_000;

/** The key of the person it is about was destroyed: this data is erased, not damaged. */
export class SubjectKeyDestroyed extends KeyError {}

/** How keys of people look wherever ids of keys are written: 32 hex digits, which no master key has. */
export function isSubjectKeyId(id: string): boolean {
  return /^[0-9a-f]{32}$/.test(id);
}

/** Opens and makes keys of people. */
export interface SubjectKeyPort {
  /** @throws {SubjectKeyDestroyed}; {KeyError} when there never was such a key. */
  ring(orgId: string, keyId: string): Promise<KeyRing>;
}

/**
 * A key for each person that data is declared to be about, random, wrapped by the key ring. Everything sealed with it is gone once it is
 * destroyed, wherever copies are. Keys are read anew every {@link SUBJECT_KEY_TTL_MS}.
 */
export class SubjectKeys implements SubjectKeyPort {
  readonly #store: SubjectKeyStore;
  readonly #keys: KeyRing;
  readonly #known = new Map<string, { readonly ring: Promise<KeyRing>; readonly until: number }>();

  constructor({ database, keys }: { readonly database: Database; readonly keys: KeyRing }) {
    this.#store = new SubjectKeyStore(database);
    this.#keys = keys;
  }

  /** Id of the person's key, made on first use. @param subject keyed hash of the identity (`subjectHashes`). */
  async keyOf(orgId: string, subject: Buffer): Promise<string> {
    const living = await this.#store.living(orgId, subject);
    if (living !== undefined) return hexOf(living.id);
    const id = randomUUID();
    return hexOf((await this.#store.findOrInsert(orgId, subject, { id, wrapped: this.#keys.seal(orgId, PURPOSE, randomBytes(32), id) })).id);
  }

  /** The ring that a row is sealed with: of the person it is about, or of the organisation where it is about nobody. @param subjectKey id of the person's key, as a row or a ring writes it. @throws as {@link ring}. */
  async ringOf(orgId: string, subjectKey: string | null | undefined): Promise<KeyRing> {
    return subjectKey === null || subjectKey === undefined ? this.#keys : this.ring(orgId, hexOf(subjectKey));
  }

  async ring(orgId: string, keyId: string): Promise<KeyRing> {
    const name = `${orgId}/${keyId}`;
    const known = this.#known.get(name);
    if (known !== undefined && known.until > Date.now()) return known.ring;
    if (this.#known.size >= CACHE_LIMIT) this.#known.clear();
    const until = Date.now() + SUBJECT_KEY_TTL_MS;
    const ring = this.#open(orgId, keyId);
    this.#known.set(name, { ring, until });
    // A database that is away is asked again at once.
    ring.catch(() => this.#known.delete(name));
    return ring;
  }

  /** All keys these people ever had. `usableMs`: so long another process may still use one that was destroyed. */
  async idsOf(orgId: string, subjects: readonly Buffer[]): Promise<{ readonly id: string; readonly living: boolean; readonly usableMs: number }[]> {
    return (await this.#store.ofSubjects(orgId, subjects)).map(({ id, destroyedMsAgo }) => ({ id: hexOf(id), living: destroyedMsAgo === null, usableMs: destroyedMsAgo === null ? Infinity : Math.max(0, SUBJECT_KEY_TTL_MS - destroyedMsAgo) }));
  }

  /** For good. Other processes may use them for {@link SUBJECT_KEY_TTL_MS} still. @returns keys that this call destroyed. */
  async destroy(orgId: string, subjects: readonly Buffer[]): Promise<number> {
    const destroyed = await this.#store.destroy(orgId, subjects);
    this.#known.clear();
    return destroyed;
  }

  async #open(orgId: string, keyId: string): Promise<KeyRing> {
    const record: SubjectKeyRecord | undefined = isSubjectKeyId(keyId) ? await this.#store.find(orgId, keyId) : undefined;
    if (record === undefined) throw new KeyError('there is no such key of a person');
    if (record.wrapped === null) throw new SubjectKeyDestroyed('the key of the person this is about was destroyed');
    return new KeyRing([{ id: keyId, key: this.#keys.open(orgId, PURPOSE, record.wrapped, record.id) }]);
  }
}

function hexOf(uuid: string): string {
  return uuid.replaceAll('-', '');
}
