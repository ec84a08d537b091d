import { randomBytes } from 'node:crypto';
import { access, mkdir, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { HalError } from '../../schemas/errors.ts';
import { KeyError, type KeyRing } from '../keys/key-ring.ts';
import { isSubjectKeyId, SubjectKeyDestroyed, type SubjectKeyPort } from '../keys/subject-keys.ts';
import { isBlobRef, type BlobRef, type BlobStore } from './blob-store.ts';

const PURPOSE = 'blobs';

/**
 * Blobs as files `<folder>/<orgId>/<2 digits>/<62 digits>`, sealed with the key of the organisation or of a person. The name is an HMAC of the
 * content, so that equal bytes meet without the name telling what they are.
 */
export class FileBlobStore implements BlobStore {
  readonly #folder: string;
  readonly #keys: KeyRing;
  readonly #subjects: SubjectKeyPort | undefined;

  /** @param subjects keys of people; without them blobs about a person can be neither written nor read. */
  constructor(folder: string, keys: KeyRing, subjects?: SubjectKeyPort) {
    this.#folder = folder;
    this.#keys = keys;
    this.#subjects = subjects;
  }

  async put(orgId: string, bytes: Uint8Array, subjectKey?: string): Promise<BlobRef> {
    const ring = subjectKey === undefined ? this.#keys : await this.#ringOf(orgId, subjectKey);
    const ref: BlobRef = `blob:${ring.hmac(orgId, PURPOSE, bytes).toString('hex')}`;
    const path = this.#path(orgId, ref);
    if (await exists(path)) return ref;
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    // Written aside, flushed, then named: a reader sees all of it or nothing, also after a crash.
    const draft = `${path}.${randomBytes(6).toString('hex')}.draft`;
    const file = await open(draft, 'wx', 0o600);
    try {
      await file.writeFile(ring.seal(orgId, PURPOSE, bytes, ref));
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(draft, path);
    await syncFolder(dirname(path));
    return ref;
  }

  async get(orgId: string, ref: BlobRef): Promise<Buffer> {
    let sealed: Buffer;
    try {
      sealed = await readFile(this.#path(orgId, ref));
    } catch (error) {
      if (isMissing(error)) throw new HalError('NotFound', 'no such blob');
      throw error;
    }
    try {
      const keyId = this.#keys.sealedWith(sealed);
      const ring = isSubjectKeyId(keyId) ? await this.#ringOf(orgId, keyId) : this.#keys;
      return ring.open(orgId, PURPOSE, sealed, ref);
    } catch (error) {
      if (error instanceof SubjectKeyDestroyed) throw new HalError('NotFound', 'the blob was erased with the key of the person it was about', { cause: error });
      if (error instanceof KeyError) throw new HalError('Internal', `the blob cannot be opened: ${error.message}`, { cause: error });
      throw error;
    }
  }

  async delete(orgId: string, ref: BlobRef): Promise<void> {
    await rm(this.#path(orgId, ref), { force: true });
  }

  async *list(orgId: string): AsyncIterable<BlobRef> {
    if (!/^[0-9a-f-]{36}$/.test(orgId)) return;
    const folder = join(this.#folder, orgId);
    for (const shard of await entriesOf(folder)) {
      for (const name of await entriesOf(join(folder, shard))) {
        const ref = `blob:${shard}${name}`;
        if (isBlobRef(ref)) yield ref;
      }
    }
  }

  async storedBytes(orgId: string): Promise<number> {
    if (!/^[0-9a-f-]{36}$/.test(orgId)) return 0;
    const folder = join(this.#folder, orgId);
    let bytes = 0;
    for (const shard of await entriesOf(folder)) {
      for (const name of await entriesOf(join(folder, shard))) bytes += await sizeOf(join(folder, shard, name));
    }
    return bytes;
  }

  async #ringOf(orgId: string, keyId: string): Promise<KeyRing> {
    if (this.#subjects === undefined) throw new KeyError('keys of people are not at hand here');
    return this.#subjects.ring(orgId, keyId);
  }

  #path(orgId: string, ref: BlobRef): string {
    // Both come from rows and histories; a path must not be built from anything else.
    if (!isBlobRef(ref) || !/^[0-9a-f-]{36}$/.test(orgId)) throw new HalError('NotFound', 'no such blob');
    const digits = ref.slice('blob:'.length);
    return join(this.#folder, orgId, digits.slice(0, 2), digits.slice(2));
  }
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}

/** Nothing for a folder that is not there. */
async function entriesOf(folder: string): Promise<string[]> {
  return readdir(folder).catch((error: unknown) => {
    if (isMissing(error)) return [];
    throw error;
  });
}

/** 0 for a file that went meanwhile. */
async function sizeOf(path: string): Promise<number> {
  return stat(path).then(
    ({ size }) => size,
    (error: unknown) => {
      if (isMissing(error)) return 0;
      throw error;
    },
  );
}

/** A name is durable once its folder is. */
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT';
}
