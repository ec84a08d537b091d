import { execFile, type ChildProcess } from 'node:child_process';
import { chown, copyFile, mkdir, mkdtemp, readFile, readdir, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { awaitRecovered } from '../../activities/recovery/restored-database.ts';
import type { RestoredServer } from '../../activities/recovery/restored-server.ts';
import type { Config } from '../../platform/config/config.ts';
import { HalError } from '../../schemas/errors.ts';
import { endProcess, spawnOwned } from './child-process.ts';
import { reachableFolder, reachablePrograms, serverAccount, type Account } from './postgres-account.ts';
import { installedPrograms } from './postgres-cluster.ts';
import { systemCode } from './setup-error.ts';

const RESTORE = join(import.meta.dirname, '../recovery/restore.sh');
/** Sized for a worker's machine, whatever the live server has; beside the settings that restore.sh writes for scratch databases. */
const SETTINGS = { shared_buffers: '128MB', max_connections: '20', max_wal_senders: '0', max_wal_size: '1GB', huge_pages: 'off', logging_collector: 'off', log_destination: 'stderr', listen_addresses: '', external_pid_file: '', full_page_writes: 'off' } as const;
const WAIT_MS = 100;
/** A file of the folder of a drill: where its socket is. */
const SOCKET = 'socket';

const run = promisify(execFile);

type RecoverySettings = Pick<Config, 'HAL9_DATA' | 'HAL9_RECOVERY_SCRATCH' | 'HAL9_POSTGRES_BIN' | 'DATABASE_URL'>;

/**
 * PostgreSQL for drills: the embedded one or that of HAL9_POSTGRES_BIN, reached by a socket in a folder that only its account may enter.
 * @throws {SetupError} where there is none.
 */
export async function openRestoredServer(config: RecoverySettings): Promise<RestoredServer> {
  const account = serverAccount();
  const programs = await programsOf(config.HAL9_POSTGRES_BIN, account);
  const root = await reachableFolder(resolve(config.HAL9_RECOVERY_SCRATCH ?? join(config.HAL9_DATA, 'recovery')), account);
  const live = new URL(config.DATABASE_URL ?? 'postgres://hal9@localhost/hal9');
  return {
    major: programs.major,
    walCopies: account === undefined ? 0 : 1,
    root,
    async layOut(folder, { backups, base, firstSegment, at }, signal) {
      await rm(join(folder, 'data'), { recursive: true, force: true });
      for (const left of (await readdir(folder)).filter((name) => name.startsWith('draft-'))) await rm(join(folder, left), { recursive: true, force: true, maxRetries: 10, retryDelay: 200 });
      // A name of its own: what a killed attempt was copying goes on for a moment.
      const draft = await mkdtemp(join(folder, 'draft-'));
      const readable = account === undefined ? resolve(backups) : await readableCopy(resolve(backups), folder, firstSegment, account, signal);
      await untilEnd(spawnOwned('sh', [RESTORE, readable, draft, at ?? '', 'scratch', base], { deathSignal: 'KILL' }), signal);
      if (account !== undefined) await run('chown', ['-R', `${account.uid}:${account.gid}`, draft], { signal });
      await rename(draft, join(folder, 'data'));
    },
    async serve(folder, signal, work) {
      const socket = await socketFolder(folder, account);
      const hba = join(folder, 'hba');
      await writeFile(hba, 'local all all trust\n', { mode: 0o644 });
      const settings = Object.entries({ ...SETTINGS, hba_file: hba, unix_socket_directories: socket }).flatMap(([key, value]) => ['-c', `${key}=${value}`]);
      const server = spawnOwned(programs.server, ['-D', join(folder, 'data'), ...settings], { deathSignal: 'KILL', uid: account?.uid, gid: account?.gid, cwd: '/', env: { PATH: process.env['PATH'], LC_ALL: 'C.UTF-8' } });
      const ended = whyEnded(server);
      const stopped = AbortSignal.any([signal, ended.signal]);
      const url = `postgres://${live.username}@localhost${live.pathname}?host=${encodeURIComponent(socket)}`;
      try {
        await awaitRecovered(url, stopped, () => delay(WAIT_MS, undefined, { signal: stopped }));
        return await work(url);
      } catch (error) {
        signal.throwIfAborted();
        if (ended.signal.aborted) throw ended.signal.reason;
        throw error;
      } finally {
        await endProcess(server, 'SIGINT', 60_000);
        await rm(socket, { recursive: true, force: true });
      }
    },
    async forget(folder) {
      const socket = await readFile(join(folder, SOCKET), 'utf8').catch((error: unknown) => {
        if (systemCode(error) === 'ENOENT') return undefined;
        throw error;
      });
      if (socket !== undefined) await rm(socket, { recursive: true, force: true });
    },
  };
}

async function programsOf(bin: string | undefined, account: Account): Promise<{ readonly server: string; readonly major: string }> {
  if (bin === undefined) {
    const { bin: shipped, version } = await installedPrograms();
    return { server: join(await reachablePrograms(shipped, version, account), 'postgres'), major: version.split('.')[0] ?? '' };
  }
  const { stdout } = await run(join(bin, 'postgres'), ['--version']);
  const version = /\d+[.\d]*(?=\s|$)/.exec(stdout)?.[0] ?? '';
  return { server: join(await reachablePrograms(bin, version, account), 'postgres'), major: version.split('.')[0] ?? '' };
}

/** Paths of sockets have 107 bytes at the most, so it is not in the folder of the drill, which remembers it. */
async function socketFolder(folder: string, account: Account): Promise<string> {
  const socket = await mkdtemp(join(tmpdir(), 'hal9-drill-'));
  await writeFile(join(folder, SOCKET), socket);
  if (account !== undefined) await chown(socket, account.uid, account.gid);
  return socket;
}

/** Root can read what the server's account cannot: WAL is copied for it. The base backup is copied anyway. */
async function readableCopy(backups: string, folder: string, firstSegment: string, account: NonNullable<Account>, signal: AbortSignal): Promise<string> {
  const copy = join(folder, 'backups');
  await rm(copy, { recursive: true, force: true });
  await mkdir(join(copy, 'wal'), { recursive: true });
  await symlink(join(backups, 'base'), join(copy, 'base'));
  for (const name of await readdir(join(backups, 'wal'))) {
    signal.throwIfAborted();
    if (!name.endsWith('.history') && name < firstSegment) continue;
    await copyFile(join(backups, 'wal', name), join(copy, 'wal', name)).catch((error: unknown) => {
      // What was being written may have its final name by now.
      if (systemCode(error) !== 'ENOENT' || !name.endsWith('.partial')) throw error;
      return copyFile(join(backups, 'wal', name.slice(0, -'.partial'.length)), join(copy, 'wal', name.slice(0, -'.partial'.length)));
    });
  }
  await run('chown', ['-R', '-P', `${account.uid}:${account.gid}`, join(copy, 'wal')], { signal });
  return copy;
}

/** Its whole group is ended with the signal: a shell would leave what it was copying with. */
async function untilEnd(child: ChildProcess, signal: AbortSignal): Promise<void> {
  let words = '';
  child.stdout?.resume();
  child.stderr?.on('data', (chunk: Buffer) => (words = (words + chunk.toString()).slice(-2000)));
  const end = (): void => {
    if (child.pid === undefined) return;
    try {
      process.kill(-child.pid, 'SIGKILL');
    } catch (error) {
      if (systemCode(error) !== 'ESRCH') throw error;
    }
  };
  signal.addEventListener('abort', end, { once: true });
  try {
    const code = await new Promise<number | null>((settle, reject) => void child.once('error', reject).once('close', settle));
    signal.throwIfAborted();
    if (code !== 0) throw new Error(`the backup cannot be laid out: ${words.trim()}`);
  } finally {
    signal.removeEventListener('abort', end);
  }
}

/** Aborted when the server ends by itself, with what it said of it. */
function whyEnded(server: ChildProcess): { readonly signal: AbortSignal } {
  const ended = new AbortController();
  let log = '';
  server.stdout?.resume();
  server.stderr?.on('data', (chunk: Buffer) => (log = (log + chunk.toString()).slice(-20_000)));
  server.once('error', (error) => ended.abort(error));
  server.once('close', () => {
    const fatal = log.split('\n').findLast((line) => /\b(FATAL|PANIC):/.test(line))?.replace(/^.*?(FATAL|PANIC):\s*/, '');
    if (fatal?.includes('recovery ended before configured recovery target was reached') === true) ended.abort(new HalError('InvalidInput', 'the WAL ends before the moment that the database was to be restored to'));
    else if (fatal === undefined) ended.abort(new Error('PostgreSQL ended'));
    else ended.abort(new HalError('BackupDamaged', `PostgreSQL cannot replay it: ${fatal}`));
  });
  return ended;
}
