import { chmod, mkdir, mkdtemp, readdir, realpath, rm, symlink, utimes, writeFile, open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { act, refusal } from '../../activities/host/actions.ts';
import { deleteTemporary, measureTemporary, writersInto } from '../../activities/host/temporary-files.ts';
import { testPolicy } from './policy.ts';

describe('temporary files', () => {
  let base: string;
  let folder: string;
  beforeEach(async () => {
    base = await realpath(await mkdtemp(join(tmpdir(), 'hal9-files-')));
    folder = join(base, 'watched');
    await mkdir(folder);
  });
  afterEach(() => rm(base, { recursive: true, force: true }));

  it('deletes old and marked files and leaves young ones', async () => {
    await writeFile(join(folder, 'old'), Buffer.alloc(10_000));
    await utimes(join(folder, 'old'), 1, 1);
    await writeFile(join(folder, 'young'), 'x');
    await writeFile(join(folder, 'young.scratch'), Buffer.alloc(20_000));
    const rule = { minAgeSeconds: 3600, mark: '.scratch' };
    const before = await measureTemporary(folder, rule);
    expect(before).toMatchObject({ files: 3, deletableFiles: 2, complete: true });
    expect(before.largest[0]?.name).toBe('young.scratch');
    expect(await deleteTemporary(folder, rule)).toMatchObject({ files: 2 });
    expect(await readdir(folder)).toEqual(['young']);
  });

  it('follows no symbolic link: neither to a file nor to a folder, nor in place of a sub-folder', async () => {
    await mkdir(join(base, 'precious'));
    await writeFile(join(base, 'precious', 'data'), 'keep');
    await symlink(join(base, 'precious'), join(folder, 'linked-folder'));
    await symlink(join(base, 'precious', 'data'), join(folder, 'linked-file'));
    expect(await deleteTemporary(folder, { minAgeSeconds: 0, mark: undefined })).toEqual({ files: 0, bytes: 0 });
    expect(await readdir(join(base, 'precious'))).toEqual(['data']);
    expect((await readdir(folder)).sort()).toEqual(['linked-file', 'linked-folder']);
  });

  it('refuses any folder but the configured one, however it is spelt', async () => {
    await mkdir(join(base, 'other'));
    await symlink(join(base, 'other'), join(base, 'alias'));
    const reach = { policy: testPolicy('x', { temporaryFolder: folder }), sessions: undefined };
    const aim = (path: string) => refusal({ action: 'deleteTemporaryFiles' as const, target: { kind: 'folder' as const, folder: path } }, reach);
    expect(await aim(folder)).toBeUndefined();
    expect(await aim(join(folder, '..', 'watched'))).toBeUndefined();
    for (const wrong of [base, join(base, 'other'), join(base, 'alias'), join(folder, '..'), '/', join(base, 'missing')]) expect(await aim(wrong)).toMatch(/not the configured folder/);
  });

  it('deletes through the action', async () => {
    await mkdir(join(folder, 'deep'));
    await writeFile(join(folder, 'deep', 'file'), Buffer.alloc(5000));
    await chmod(join(folder, 'deep', 'file'), 0o400);
    const reach = { policy: testPolicy('x', { temporaryFolder: folder }), sessions: undefined };
    expect(await act({ action: 'deleteTemporaryFiles', target: { kind: 'folder', folder } }, reach)).toMatchObject({ state: 'done', detail: expect.stringMatching(/^1 files/) });
    expect(await readdir(join(folder, 'deep'))).toEqual([]);
  });

  it('names who writes into the folder', async () => {
    expect(writersInto(folder)).toEqual([]);
    const handle = await open(join(folder, 'open'), 'w');
    expect(writersInto(folder)).toContainEqual(expect.objectContaining({ pid: process.pid, files: 1 }));
    await handle.close();
  });
});
