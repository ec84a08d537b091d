import { createHash } from 'node:crypto';
import { open, readFile, readdir, stat, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { HalError } from '../../schemas/errors.ts';
import { crc32c } from './crc32c.ts';
import { firstGap, segmentHolding } from './wal-segments.ts';

/** Room that PostgreSQL needs to work at all: WAL it writes itself, temporary files. */
const ROOM_TO_WORK_BYTES = 512 * 1024 * 1024;
/** Read at once. */
const READ_BYTES = 1024 * 1024;
const HASHES: Readonly<Record<string, string>> = { SHA224: 'sha224', SHA256: 'sha256', SHA384: 'sha384', SHA512: 'sha512' };

/** What pg_basebackup writes down of its files (https://www.postgresql.org/docs/current/backup-manifest-format.html). */
const manifestSchema = z.object({
  Files: z.array(
    z.object({ Path: z.string().optional(), 'Encoded-Path': z.string().optional(), Size: z.int().min(0), 'Checksum-Algorithm': z.string().optional(), Checksum: z.string().optional() }),
  ),
  'WAL-Ranges': z.array(z.object({ Timeline: z.int(), 'Start-LSN': z.string(), 'End-LSN': z.string() })).min(1),
});
type Manifest = z.output<typeof manifestSchema>;

/** A base backup, and what must lie beside it. */
export interface BaseBackup {
  readonly name: string;
  readonly folder: string;
  readonly manifest: Manifest;
  readonly files: number;
  readonly bytes: number;
  /** Major version of the PostgreSQL it was taken of. */
  readonly major: string;
  /** Segment of WAL that restoring begins with. */
  readonly firstSegment: string;
  readonly walBytes: number;
}

/**
 * Finds the backup to begin with, and looks whether all that it needs is there. Reads no contents.
 * @param folder has `base/` and `wal/`.
 * @throws {HalError} NoBackup; BackupDamaged for a missing file or a hole in the WAL.
 */
export async function chooseBaseBackup(folder: string, { at, backup }: { readonly at?: string | undefined; readonly backup?: string | undefined }): Promise<BaseBackup> {
  const names = (await namesIn(join(folder, 'base'))).filter((name) => /^\d{8}T\d{6}Z$/.test(name)).toSorted();
  // Names are moments without punctuation, and sort as such.
  const latest = at === undefined ? undefined : `${new Date(at).toISOString().replace(/[-:]|\.\d+/g, '')}`;
  const name = backup === undefined ? names.findLast((one) => latest === undefined || one <= latest) : names.find((one) => one === backup);
  if (name === undefined) throw new HalError('NoBackup', `${backup === undefined ? `there is no base backup${at === undefined ? '' : ` before ${at}`}` : `there is no base backup ${backup}`} in ${join(folder, 'base')}`);
  const own = join(folder, 'base', name);
  const manifest = await readManifest(own, name);
  for (const file of manifest.Files) {
    const size = await stat(join(own, pathOf(file))).then((found) => found.size, () => undefined);
    if (size !== file.Size) throw damaged(name, `${pathOf(file)} ${size === undefined ? 'is missing' : `has ${size} bytes, not ${file.Size}`}`);
  }
  const label = await readFile(join(own, 'backup_label'), 'utf8');
  const firstSegment = /^START WAL LOCATION: .*\(file ([0-9A-F]{24})\)$/m.exec(label)?.[1];
  if (firstSegment === undefined) throw damaged(name, 'backup_label does not say where WAL begins');
  const walBytes = await checkWal(join(folder, 'wal'), name, firstSegment, manifest);
  return { name, folder: own, manifest, files: manifest.Files.length, bytes: manifest.Files.reduce((sum, { Size }) => sum + Size, 0), major: (await readFile(join(own, 'PG_VERSION'), 'utf8')).trim(), firstSegment, walBytes };
}

/** When a backup of this name was begun. */
export function takenAt(name: string): Date {
  return new Date(name.replace(/^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/, '$1-$2-$3T$4:$5:$6Z'));
}

/** @param copies of the WAL that are laid beside the database. @throws {HalError} ScratchFull. */
export async function assertRoom(folder: string, { bytes, walBytes }: Pick<BaseBackup, 'bytes' | 'walBytes'>, copies: number): Promise<void> {
  const { bavail, bsize } = await statfs(folder);
  // Replaying adds no more than it reads.
  const needed = bytes + walBytes * (1 + copies) + ROOM_TO_WORK_BYTES;
  if (bavail * bsize < needed) throw new HalError('ScratchFull', `${folder} has ${mebibytes(bavail * bsize)} MiB left, and the restored database may need ${mebibytes(needed)} MiB`);
}

/**
 * Reads every file of the backup and holds it to its checksum.
 * @throws {HalError} BackupDamaged naming the first file that is not as it was written.
 */
export async function verifyBaseBackup({ name, folder, manifest }: Pick<BaseBackup, 'name' | 'folder' | 'manifest'>, signal: AbortSignal): Promise<void> {
  const buffer = Buffer.allocUnsafe(READ_BYTES);
  for (const file of manifest.Files) {
    const algorithm = file['Checksum-Algorithm'];
    if (algorithm === undefined || file.Checksum === undefined) throw damaged(name, `${pathOf(file)} has no checksum`);
    const found = await checksumOf(join(folder, pathOf(file)), algorithm, buffer, signal);
    if (found === undefined) throw damaged(name, `checksums of the kind ${algorithm} are not known here`);
    if (found !== file.Checksum.toLowerCase()) throw damaged(name, `${pathOf(file)} is not as it was written`);
  }
}

/** The manifest is held to its own checksum: that of all lines before the one that says it. */
async function readManifest(folder: string, name: string): Promise<Manifest> {
  const bytes = await readFile(join(folder, 'backup_manifest')).catch(() => undefined);
  if (bytes === undefined) throw damaged(name, 'backup_manifest is missing');
  const last = bytes.lastIndexOf('"Manifest-Checksum"');
  const stated = /"Manifest-Checksum":\s*"([0-9a-f]{64})"/.exec(bytes.toString('utf8', Math.max(0, last)))?.[1];
  if (stated === undefined || stated !== createHash('sha256').update(bytes.subarray(0, last)).digest('hex')) throw damaged(name, 'backup_manifest is not as it was written');
  const parsed = manifestSchema.safeParse(JSON.parse(bytes.toString('utf8')));
  if (!parsed.success) throw damaged(name, 'backup_manifest is not of a form that is known here');
  return parsed.data;
}

/** @returns bytes of WAL from the first segment on. */
async function checkWal(folder: string, name: string, first: string, manifest: Manifest): Promise<number> {
  // The one that is still being written is restored too.
  const files = (await namesIn(folder)).filter((file) => /^[0-9A-F]{24}(\.partial)?$/.test(file) && file >= first);
  const sizes = new Map(await Promise.all(files.map(async (file) => [file, (await stat(join(folder, file))).size] as const)));
  if (sizes.size === 0) throw damaged(name, `there is no WAL from ${first} on`);
  const size = Math.max(...sizes.values());
  const shorter = files.find((file) => !file.endsWith('.partial') && sizes.get(file) !== size);
  if (shorter !== undefined) throw damaged(name, `WAL ${shorter} is shorter than the rest`);
  const end = manifest['WAL-Ranges'].at(-1);
  const needed = end === undefined ? first : segmentHolding(end['End-LSN'], end.Timeline, size);
  const gap = firstGap(new Set(files.map((file) => file.slice(0, 24))), first, needed, size);
  if (gap !== undefined) throw damaged(name, `WAL ${gap} is missing`);
  return [...sizes.values()].reduce((sum, bytes) => sum + bytes, 0);
}

/** @param buffer for reading: a backup has thousands of small files. */
async function checksumOf(path: string, algorithm: string, buffer: Buffer, signal: AbortSignal): Promise<string | undefined> {
  const sum = summing(algorithm);
  if (sum === undefined) return undefined;
  const file = await open(path);
  try {
    for (;;) {
      signal.throwIfAborted();
      const { bytesRead } = await file.read(buffer, 0, buffer.length);
      if (bytesRead === 0) return sum.end();
      sum.add(buffer.subarray(0, bytesRead));
    }
  } finally {
    await file.close();
  }
}

function summing(algorithm: string): { readonly add: (bytes: Buffer) => void; readonly end: () => string } | undefined {
  const name = HASHES[algorithm];
  if (name !== undefined) {
    const hash = createHash(name);
    return { add: (bytes) => void hash.update(bytes), end: () => hash.digest('hex') };
  }
  if (algorithm !== 'CRC32C') return undefined;
  let sum = 0;
  return {
    add(bytes) {
      sum = crc32c(bytes, sum);
    },
    end() {
      // PostgreSQL writes its bytes as they lie in memory, the lowest first.
      const bytes = Buffer.alloc(4);
      bytes.writeUInt32LE(sum);
      return bytes.toString('hex');
    },
  };
}

function pathOf(file: Manifest['Files'][number]): string {
  return file.Path ?? Buffer.from(file['Encoded-Path'] ?? '', 'hex').toString('utf8');
}

async function namesIn(folder: string): Promise<string[]> {
  return readdir(folder).catch((error: unknown) => {
    throw new HalError('NoBackup', `the folder ${folder} cannot be read`, { cause: error });
  });
}

function damaged(name: string, detail: string): HalError {
  return new HalError('BackupDamaged', `base backup ${name}: ${detail}`);
}

function mebibytes(bytes: number): number {
  return Math.ceil(bytes / 1_048_576);
}
