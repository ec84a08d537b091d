import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { assertRoom, chooseBaseBackup, takenAt, verifyBaseBackup } from '../../activities/recovery/base-backups.ts';
import { crc32c } from '../../activities/recovery/crc32c.ts';
import { firstGap, segmentHolding } from '../../activities/recovery/wal-segments.ts';

const SEGMENT = 16 * 1024 * 1024;

describe('CRC-32C', () => {
  it('is that of RFC 3720, appendix B.4, in one piece and in several', () => {
    expect(crc32c(Buffer.from('123456789')).toString(16)).toBe('e3069283');
    expect(crc32c(Buffer.alloc(32)).toString(16)).toBe('8a9136aa');
    expect(crc32c(Buffer.alloc(32, 0xff)).toString(16)).toBe('62a8ab43');
    expect(crc32c(Buffer.from('6789'), crc32c(Buffer.from('12345'))).toString(16)).toBe('e3069283');
  });
});

describe('segments of WAL', () => {
  it('are found by a place in it; the place behind the last byte belongs to the segment', () => {
    expect(segmentHolding('0/3000120', 1, SEGMENT)).toBe('000000010000000000000003');
    expect(segmentHolding('0/3000000', 1, SEGMENT)).toBe('000000010000000000000002');
    expect(segmentHolding('A/0', 3, SEGMENT)).toBe('0000000300000009000000FF');
  });

  it('have no hole up to the last that is there, or needed', () => {
    const there = new Set(['0000000100000000000000FE', '0000000100000000000000FF', '000000010000000100000000', '000000020000000100000005']);
    expect(firstGap(there, '0000000100000000000000FE', '0000000100000000000000FF', SEGMENT)).toBeUndefined();
    expect(firstGap(there, '0000000100000000000000FE', '000000010000000100000001', SEGMENT)).toBe('000000010000000100000001');
    there.delete('0000000100000000000000FF');
    expect(firstGap(there, '0000000100000000000000FE', '0000000100000000000000FE', SEGMENT)).toBe('0000000100000000000000FF');
  });
});

describe('base backups', () => {
  const NAME = '20261121T020000Z';
  const signal = new AbortController().signal;
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'hal9-backups-'));
    await mkdir(join(folder, 'base', NAME), { recursive: true });
    await mkdir(join(folder, 'wal'));
    await writeFile(join(folder, 'wal/000000010000000000000002'), '');
    await truncate(join(folder, 'wal/000000010000000000000002'), SEGMENT);
    await write({ 'PG_VERSION': '18\n', 'backup_label': 'START WAL LOCATION: 0/2000028 (file 000000010000000000000002)\n' });
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  /** Writes the files with a manifest of the form that pg_basebackup writes. */
  async function write(files: Record<string, string>, algorithm = 'CRC32C'): Promise<void> {
    const listed = Object.entries(files).map(([Path, text]) => ({ Path, Size: text.length, 'Checksum-Algorithm': algorithm, Checksum: Buffer.from(Uint32Array.of(crc32c(Buffer.from(text))).buffer).toString('hex') }));
    const lines = `{ "PostgreSQL-Backup-Manifest-Version": 2,\n"Files": ${JSON.stringify(listed)},\n"WAL-Ranges": [{ "Timeline": 1, "Start-LSN": "0/2000028", "End-LSN": "0/2000030" }],\n`;
    for (const [path, text] of Object.entries(files)) await writeFile(join(folder, 'base', NAME, path), text);
    await writeFile(join(folder, 'base', NAME, 'backup_manifest'), `${lines}"Manifest-Checksum": "${createHash('sha256').update(lines).digest('hex')}"}\n`);
  }

  it('are whole when every file has its checksum', async () => {
    const chosen = await chooseBaseBackup(folder, { at: '2026-11-21T02:00:00.500Z' });
    expect(chosen).toMatchObject({ name: NAME, major: '18', files: 2, firstSegment: '000000010000000000000002', walBytes: SEGMENT });
    await verifyBaseBackup(chosen, signal);
    expect(takenAt(NAME)).toEqual(new Date('2026-11-21T02:00:00Z'));
    await writeFile(join(folder, 'base', NAME, 'PG_VERSION'), '17\n');
    await expect(verifyBaseBackup(chosen, signal)).rejects.toMatchObject({ type: 'BackupDamaged', message: expect.stringContaining('PG_VERSION is not as it was written') as string });
  });

  it('are refused before the first, with a manifest that was changed, without WAL, or with checksums nobody knows', async () => {
    await expect(chooseBaseBackup(folder, { at: '2026-11-21T01:59:59Z' })).rejects.toMatchObject({ type: 'NoBackup' });
    await expect(chooseBaseBackup(join(folder, 'nowhere'), {})).rejects.toMatchObject({ type: 'NoBackup' });
    await write({ 'PG_VERSION': '18\n', 'backup_label': 'START WAL LOCATION: 0/2000028 (file 000000010000000000000002)\n' }, 'MD5');
    await expect(verifyBaseBackup(await chooseBaseBackup(folder, {}), signal)).rejects.toMatchObject({ type: 'BackupDamaged' });
    await rm(join(folder, 'wal/000000010000000000000002'));
    await expect(chooseBaseBackup(folder, {})).rejects.toMatchObject({ type: 'BackupDamaged', message: expect.stringContaining('there is no WAL from 000000010000000000000002 on') as string });
    await writeFile(join(folder, 'base', NAME, 'backup_manifest'), '{"Files": []}');
    await expect(chooseBaseBackup(folder, {})).rejects.toMatchObject({ type: 'BackupDamaged', message: expect.stringContaining('backup_manifest is not as it was written') as string });
  });

  it('need room for themselves and the WAL', async () => {
    await assertRoom(folder, { bytes: 0, walBytes: 0 }, 1);
    await expect(assertRoom(folder, { bytes: 2 ** 52, walBytes: 0 }, 0)).rejects.toMatchObject({ type: 'ScratchFull' });
  });
});
