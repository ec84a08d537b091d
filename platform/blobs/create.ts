import { join } from 'node:path';
import type { Config } from '../config/config.ts';
import type { KeyRing } from '../keys/key-ring.ts';
import type { SubjectKeyPort } from '../keys/subject-keys.ts';
import type { BlobStore } from './blob-store.ts';
import { FileBlobStore } from './file-blob-store.ts';

/** The blob store of this installation: files in the data folder, which every process must share. */
export function createBlobStore(config: Pick<Config, 'HAL9_DATA'>, keys: KeyRing, subjects?: SubjectKeyPort): BlobStore {
  return new FileBlobStore(join(config.HAL9_DATA, 'blobs'), keys, subjects);
}
