import { open, readdir, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { FsBlockstore } from 'blockstore-fs';
import { NextToLast } from 'blockstore-fs/sharding';
import { CID } from 'multiformats/cid';
import { isOf, linksOf, type Cid } from './cid.ts';
import { ProviderFailed, type ContentProvider } from './provider.ts';

/** No connection may be called so. */
export const EMBEDDED = '(embedded)';

/**
 * Keeps the blocks of an organisation in a folder of this machine, as a node of Helia does (its own block store), and calls nobody: no peers, no dials. What it holds
 * is pinned, for every block belongs to one content; so nothing is ever collected behind the back of another process.
 */
export function embedded(folder: string, orgId: string): ContentProvider {
  // A path must not be built from anything else.
  if (!/^[0-9a-f-]{36}$/.test(orgId)) throw new TypeError('not the id of an organisation');
  const sharding = new NextToLast();
  const store = new FsBlockstore(join(folder, orgId), { shardingStrategy: sharding });
  const read = async (cid: Cid, signal: AbortSignal): Promise<Buffer> => {
    const parts: Uint8Array[] = [];
    for await (const part of store.get(CID.parse(cid), { signal })) parts.push(part);
    return Buffer.concat(parts);
  };
  const reading = (cid: Cid, signal: AbortSignal): Promise<Buffer> => told(read(cid, signal), signal);
  return {
    name: EMBEDDED,
    takesBlocks: true,
    isReachable: false,
    put: async ({ cid, bytes }, signal) => void (await told(store.put(CID.parse(cid), bytes, { signal }), signal)),
    /** Everything is on the disk then, whatever happens to the machine. */
    async pin(root, _, signal) {
      const cids = [...linksOf(await reading(root, signal)), root];
      const places = cids.map((cid) => sharding.encode(CID.parse(cid)));
      const folders = new Set([...places.map(({ dir }) => join(store.path, dir)), store.path, dirname(store.path)]);
      for (const path of [...places.map(({ dir, file }) => join(store.path, dir, file)), ...folders]) await told(flush(path), signal);
    },
    async isPinned(root, signal) {
      if (!(await store.has(CID.parse(root), { signal }))) return false;
      const top = await reading(root, signal);
      if (!isOf(root, top)) return false;
      for (const cid of linksOf(top)) if (!(await store.has(CID.parse(cid), { signal })) || !isOf(cid, await reading(cid, signal))) return false;
      return true;
    },
    async unpin(root, blocks, signal) {
      for (const cid of [...blocks, root]) await told(store.delete(CID.parse(cid), { signal }), signal);
    },
    read: reading,
    origins: () => Promise.resolve([]),
  };
}

/**
 * Deletes what an upload left whose process was killed: files that are older than any upload takes and belong to none of the blocks that are named.
 * @param before files written since are left alone.
 * @param named all blocks of the organisation.
 * @returns how many files were deleted.
 */
export async function removeRemains(folder: string, orgId: string, before: Date, named: AsyncIterable<Cid>): Promise<number> {
  const sharding = new NextToLast();
  const own = join(folder, orgId);
  const old = new Set<string>();
  for (const entry of await readdir(own, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    if (entry.isFile() && (await isOlder(path, before))) old.add(path);
  }
  if (old.size === 0) return 0;
  for await (const cid of named) {
    const { dir, file } = sharding.encode(CID.parse(cid));
    old.delete(join(own, dir, file));
  }
  for (const path of old) await rm(path, { force: true });
  return old.size;
}

/** False where it is gone by now: a block that is being written has another name until it is whole. */
async function isOlder(path: string, than: Date): Promise<boolean> {
  try {
    return (await stat(path)).mtime < than;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return false;
    throw error;
  }
}

/** What the file system says, without its paths. */
async function told<Result>(work: Promise<Result>, signal: AbortSignal): Promise<Result> {
  try {
    return await work;
  } catch (error) {
    signal.throwIfAborted();
    const said = String(error);
    if (said.includes('ENOENT')) throw new ProviderFailed('the block is not here', { cause: error });
    throw new ProviderFailed(/ENOSPC|EDQUOT/.test(said) ? 'the disk of the data folder is full' : 'the data folder cannot be read or written', { cause: error });
  }
}

/** A file, or the names in a folder. */
async function flush(path: string): Promise<void> {
  const handle = await open(path, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
