import { randomBytes, randomUUID } from 'node:crypto';
import { mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { isBlobRef, type BlobStore } from '../../platform/blobs/blob-store.ts';
import { createBlobStore } from '../../platform/blobs/create.ts';
import { KeyRing } from '../../platform/keys/key-ring.ts';

describe('blobs in files', () => {
  const keys = new KeyRing([{ id: 'a', key: randomBytes(32) }]);
  const org = randomUUID();
  let folder: string;
  let blobs: BlobStore;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'hal9-blobs-'));
    blobs = createBlobStore({ HAL9_DATA: folder }, keys);
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  const files = async (): Promise<string[]> =>
    (await readdir(folder, { recursive: true, withFileTypes: true })).filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));

  it('returns the bytes, stores equal ones once, and only as ciphertext', async () => {
    const bytes = Buffer.from('Ada Lovelace was here');
    const [first, second] = await Promise.all([blobs.put(org, bytes), blobs.put(org, bytes)]);
    expect(first).toBe(second);
    expect(isBlobRef(first)).toBe(true);
    expect(await blobs.get(org, first)).toEqual(bytes);
    const stored = await files();
    expect(stored).toHaveLength(1);
    expect((await readFile(stored[0] ?? '', 'latin1')).includes('Ada')).toBe(false);
  });

  it('belongs to one organisation', async () => {
    const ref = await blobs.put(org, Buffer.from('mine'));
    const other = randomUUID();
    await expect(blobs.get(other, ref)).rejects.toMatchObject({ type: 'NotFound' });
    expect(await blobs.put(other, Buffer.from('mine'))).not.toBe(ref);
  });

  it('notices a changed file', async () => {
    const ref = await blobs.put(org, Buffer.from('to be damaged'));
    const path = (await files()).find((file) => file.endsWith(ref.slice(7))) ?? '';
    const bytes = await readFile(path);
    bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) ^ 1;
    await writeFile(path, bytes);
    await expect(blobs.get(org, ref)).rejects.toMatchObject({ type: 'Internal' });
  });

  it('forgets what is deleted, and builds no path from anything but a reference', async () => {
    const ref = await blobs.put(org, Buffer.from('short-lived'));
    await blobs.delete(org, ref);
    await blobs.delete(org, ref);
    await expect(blobs.get(org, ref)).rejects.toMatchObject({ type: 'NotFound' });
    await expect(blobs.get(org, 'blob:../../keys/master')).rejects.toMatchObject({ type: 'NotFound' });
    await expect(blobs.get('../..', ref)).rejects.toMatchObject({ type: 'NotFound' });
  });
});
