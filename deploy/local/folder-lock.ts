import { mkdir, readFile, rm, rmdir, stat, unlink, writeFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { identify, isAlive, type ProcessIdentity } from './process-identity.ts';
import { systemCode } from './setup-error.ts';

/** A takeover lasts milliseconds; a guard older than this was left by a process that was killed in the middle. */
const GUARD_STALE_MS = 10_000;

export interface FolderLock {
  release(): Promise<void>;
}

/**
 * Takes the lock file, or says who holds it. The lock of a process that is gone (also after a reboot that gave its number
 * to another) is taken over.
 * @returns the lock, or the living holder.
 */
export async function takeLock(path: string): Promise<{ lock: FolderLock } | { holder: ProcessIdentity }> {
  const self = identify(process.pid);
  if (self === undefined) throw new Error('cannot read the identity of this process');
  for (;;) {
    try {
      await writeFile(path, JSON.stringify(self), { flag: 'wx', mode: 0o644 });
      return { lock: { release: () => rm(path, { force: true }) } };
    } catch (error) {
      if (systemCode(error) !== 'EEXIST') throw error;
    }
    const holder = await readHolder(path);
    if (holder !== undefined && isAlive(holder)) return { holder };
    await removeStale(path);
  }
}

/** Waits for the lock; `onWait` is told once who holds it. */
export async function waitForLock(path: string, onWait: (holder: ProcessIdentity) => void): Promise<FolderLock> {
  for (let told = false; ; told = true) {
    const taken = await takeLock(path);
    if ('lock' in taken) return taken.lock;
    if (!told) onWait(taken.holder);
    await sleep(250);
  }
}

/** Removes the lock if it is still stale, one process at a time: else a slow one could remove a quicker one's fresh lock. */
async function removeStale(path: string): Promise<void> {
  const guard = `${path}.takeover`;
  try {
    await mkdir(guard);
  } catch (error) {
    if (systemCode(error) !== 'EEXIST') throw error;
    const age = Date.now() - (await stat(guard).then((found) => found.mtimeMs, () => Date.now()));
    if (age > GUARD_STALE_MS) await rm(guard, { recursive: true, force: true });
    await sleep(50);
    return;
  }
  try {
    const holder = await readHolder(path);
    // An empty file is one being written this moment, unless it stays empty.
    if (holder === undefined && (await ageMs(path)) < 2000) await sleep(100);
    else if (holder === undefined || !isAlive(holder)) await unlink(path).catch(ignoreMissing);
  } finally {
    await rmdir(guard).catch(ignoreMissing);
  }
}

async function readHolder(path: string): Promise<ProcessIdentity | undefined> {
  try {
    const parsed: unknown = JSON.parse(await readFile(path, 'utf8'));
    if (typeof parsed !== 'object' || parsed === null || !('pid' in parsed) || !('started' in parsed)) return undefined;
    const { pid, started } = parsed;
    return typeof pid === 'number' && typeof started === 'string' ? { pid, started } : undefined;
  } catch (error) {
    if (error instanceof SyntaxError || systemCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}

async function ageMs(path: string): Promise<number> {
  return stat(path).then((found) => Date.now() - found.mtimeMs, () => 0);
}

function ignoreMissing(error: unknown): void {
  if (systemCode(error) !== 'ENOENT') throw error;
}
