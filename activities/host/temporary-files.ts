import { constants } from 'node:fs';
import { lstat, open, opendir, realpath, unlink } from 'node:fs/promises';
import { join, sep } from 'node:path';
import { readCommandLine, readProcFile, readProcess } from './process-table.ts';
import { readdirSync, readlinkSync } from 'node:fs';

/** Most entries looked at in one pass: a folder with more is measured in part and says so. */
const MAX_ENTRIES = 50_000;

export interface TemporaryFile {
  /** Path below the folder. */
  readonly name: string;
  readonly bytes: number;
  /** Since its last change, seconds. */
  readonly ageSeconds: number;
  readonly deletable: boolean;
}

export interface TemporaryUsage {
  readonly bytes: number;
  readonly files: number;
  readonly deletableBytes: number;
  readonly deletableFiles: number;
  /** The largest five. */
  readonly largest: readonly TemporaryFile[];
  /** False when there were more than 50,000 entries. */
  readonly complete: boolean;
}

export interface DeletionRule {
  readonly minAgeSeconds: number;
  /** Ending of names that may go at any age. */
  readonly mark: string | undefined;
}

/** Sizes of the regular files below the folder; symbolic links are neither followed nor counted. */
export async function measureTemporary(folder: string, rule: DeletionRule): Promise<TemporaryUsage> {
  const files: TemporaryFile[] = [];
  const complete = await walk(await realpath(folder), rule, (file) => void files.push(file));
  const deletable = files.filter((file) => file.deletable);
  return {
    bytes: total(files),
    files: files.length,
    deletableBytes: total(deletable),
    deletableFiles: deletable.length,
    largest: files.toSorted((a, b) => b.bytes - a.bytes).slice(0, 5),
    complete,
  };
}

/**
 * Deletes the regular files below the folder that the rule lets go. Folders stay. A symbolic link is never followed: neither
 * one in place of the folder's contents, nor one that replaces a sub-folder between the look and the deletion.
 * @returns what was deleted.
 */
export async function deleteTemporary(folder: string, rule: DeletionRule, signal?: AbortSignal): Promise<{ files: number; bytes: number }> {
  const root = await realpath(folder);
  const deleted = { files: 0, bytes: 0 };
  const candidates: TemporaryFile[] = [];
  await walk(root, rule, (file) => void (file.deletable && candidates.push(file)));
  for (const file of candidates) {
    signal?.throwIfAborted();
    if (await unlinkInside(root, file.name)) {
      deleted.files += 1;
      deleted.bytes += file.bytes;
    }
  }
  return deleted;
}

/** Processes with a file open for writing below the folder, most files first. Linux only. */
export function writersInto(folder: string): { pid: number; startTicks: number; files: number }[] {
  if (process.platform !== 'linux') return [];
  const prefix = folder.endsWith(sep) ? folder : folder + sep;
  const writers: { pid: number; startTicks: number; files: number }[] = [];
  for (const entry of readdirSync('/proc')) {
    const pid = Number(entry);
    if (!Number.isInteger(pid)) continue;
    const files = openForWriting(pid, prefix);
    const reading = files > 0 ? readProcess(pid) : undefined;
    if (reading !== undefined && readCommandLine(pid) !== '') writers.push({ pid, startTicks: reading.startTicks, files });
  }
  return writers.toSorted((a, b) => b.files - a.files);
}

function openForWriting(pid: number, prefix: string): number {
  let descriptors: string[];
  try {
    descriptors = readdirSync(`/proc/${pid}/fd`);
  } catch {
    // Ended meanwhile, or of another user: then its files are not ours to judge.
    return 0;
  }
  return descriptors.filter((descriptor) => {
    const target = linkTarget(`/proc/${pid}/fd/${descriptor}`);
    if (target === undefined || !target.startsWith(prefix)) return false;
    const flags = /^flags:\s+(\d+)/m.exec(readProcFile(`/proc/${pid}/fdinfo/${descriptor}`) ?? '')?.[1];
    return flags !== undefined && (Number.parseInt(flags, 8) & (constants.O_WRONLY | constants.O_RDWR)) !== 0;
  }).length;
}

function linkTarget(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch {
    // Closed meanwhile.
    return undefined;
  }
}

async function walk(root: string, rule: DeletionRule, visit: (file: TemporaryFile) => void): Promise<boolean> {
  const pending = [''];
  let seen = 0;
  for (let below = pending.pop(); below !== undefined; below = pending.pop()) {
    const folder = await opendir(join(root, below)).catch(ignoreGone);
    if (folder === undefined) continue;
    for await (const entry of folder) {
      if (++seen > MAX_ENTRIES) return false;
      const name = join(below, entry.name);
      if (entry.isDirectory()) pending.push(name);
      if (!entry.isFile()) continue;
      const stats = await lstat(join(root, name)).catch(ignoreGone);
      if (stats === undefined || !stats.isFile()) continue;
      const ageSeconds = Math.max(0, (Date.now() - stats.mtimeMs) / 1000);
      const marked = rule.mark !== undefined && entry.name.endsWith(rule.mark);
      visit({ name, bytes: stats.blocks * 512, ageSeconds, deletable: marked || ageSeconds >= rule.minAgeSeconds });
    }
  }
  return true;
}

/** Unlinks through the real parent folder, held open, so that a sub-folder swapped for a link leads nowhere. */
async function unlinkInside(root: string, name: string): Promise<boolean> {
  const path = join(root, name);
  const parent = join(path, '..');
  const held = await open(parent, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW).catch(ignoreGone);
  if (held === undefined) return false;
  try {
    const real = await realpath(process.platform === 'linux' ? `/proc/self/fd/${held.fd}` : parent);
    if (real !== root && !real.startsWith(root + sep)) return false;
    const leaf = process.platform === 'linux' ? `/proc/self/fd/${held.fd}/${path.slice(parent.length + 1)}` : path;
    const stats = await lstat(leaf).catch(ignoreGone);
    if (stats === undefined || !stats.isFile()) return false;
    await unlink(leaf);
    return true;
  } finally {
    await held.close();
  }
}

function ignoreGone(error: unknown): undefined {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  // ELOOP and ENOTDIR: a link or file stands where a folder was; it is left alone.
  if (code === 'ENOENT' || code === 'ELOOP' || code === 'ENOTDIR') return undefined;
  throw error;
}

function total(files: readonly TemporaryFile[]): number {
  return files.reduce((sum, file) => sum + file.bytes, 0);
}
