import { access, constants, mkdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { userInfo } from 'node:os';
import { join, resolve } from 'node:path';
import { takeLock, type FolderLock } from './folder-lock.ts';
import { endStranger, isAlive, type ProcessIdentity } from './process-identity.ts';
import { SetupError, systemCode } from './setup-error.ts';

/** A process this folder's stack started, so that the next start can end it should it have outlived its owner. */
export interface RecordedProcess extends ProcessIdentity {
  readonly name: string;
}

/** Ports chosen for this folder, kept so that addresses stay the same from start to start. */
export type RememberedPorts = Readonly<Record<string, number>>;

/** The folder a stack keeps everything in; at most one stack works in it at a time. */
export class DataFolder {
  readonly path: string;
  readonly #lock: FolderLock;

  private constructor(path: string, lock: FolderLock) {
    this.path = path;
    this.#lock = lock;
  }

  /**
   * Creates the folder when missing, takes its lock, and ends processes an earlier stack left behind.
   * @throws {SetupError} when the folder cannot be used, or another stack works in it.
   */
  static async open(path: string): Promise<DataFolder> {
    const absolute = resolve(path);
    await assertUsable(absolute);
    const taken = await takeLock(join(absolute, 'lock'));
    if ('holder' in taken) {
      throw new SetupError(`HAL9 already runs in ${absolute} (process ${taken.holder.pid})`, 'stop it first, or start a second one with HAL9_DATA=OTHER-FOLDER HAL9_PORT=0');
    }
    const folder = new DataFolder(absolute, taken.lock);
    try {
      await folder.#endOrphans();
    } catch (error) {
      await taken.lock.release();
      throw error;
    }
    return folder;
  }

  /** A subfolder, created when missing. */
  async folder(name: string): Promise<string> {
    const path = join(this.path, name);
    await mkdir(path, { recursive: true });
    return path;
  }

  async readPorts(): Promise<RememberedPorts> {
    const content = await readJson(join(this.path, 'ports.json'));
    if (typeof content !== 'object' || content === null) return {};
    return Object.fromEntries(Object.entries(content).filter((entry): entry is [string, number] => Number.isInteger(entry[1])));
  }

  async writePorts(ports: RememberedPorts): Promise<void> {
    await replaceFile(join(this.path, 'ports.json'), `${JSON.stringify(ports, undefined, 2)}\n`, 0o644);
  }

  async writeProcesses(processes: readonly RecordedProcess[]): Promise<void> {
    await replaceFile(join(this.path, 'processes.json'), `${JSON.stringify(processes)}\n`, 0o644);
  }

  /** Content of a secret file, or undefined when it is missing or empty. */
  async readSecret(name: string): Promise<string | undefined> {
    const text = (await readText(join(this.path, name)))?.trim();
    return text === '' ? undefined : text;
  }

  /** Keeps a secret where only this user can read it. */
  async writeSecret(name: string, secret: string): Promise<void> {
    await replaceFile(join(this.path, name), `${secret}\n`, 0o600);
  }

  /** Gives the folder free for the next stack. */
  async close(): Promise<void> {
    await this.writeProcesses([]);
    await this.#lock.release();
  }

  async #endOrphans(): Promise<void> {
    const content = await readJson(join(this.path, 'processes.json'));
    if (!Array.isArray(content)) return;
    const orphans = content.filter(isRecord).filter(isAlive);
    // The databases last, and gently: they have things to write.
    const databases = new Set(['postgres', 'temporal']);
    await Promise.all(orphans.filter((orphan) => !databases.has(orphan.name)).map((orphan) => endStranger(orphan, 'SIGKILL', 0)));
    await Promise.all(orphans.filter((orphan) => databases.has(orphan.name)).map((orphan) => endStranger(orphan, 'SIGINT', 10_000)));
  }
}

async function assertUsable(path: string): Promise<void> {
  const elsewhere = 'set HAL9_DATA to a folder of yours';
  try {
    // Root's database server runs as another user, who must be able to pass through; secrets in it are files of mode 0600.
    await mkdir(path, { recursive: true, mode: process.getuid?.() === 0 ? 0o711 : 0o700 });
    if (!(await stat(path)).isDirectory()) throw new SetupError(`the data folder ${path} is a file`, elsewhere);
    await access(path, constants.R_OK | constants.W_OK | constants.X_OK);
    await writeFile(join(path, '.probe'), 'probe', { flush: true });
    await rm(join(path, '.probe'));
  } catch (error) {
    switch (systemCode(error)) {
      case 'EEXIST':
      case 'ENOTDIR':
        throw new SetupError(`the data folder ${path} is a file, or lies below one`, elsewhere);
      case 'EACCES':
      case 'EPERM':
        throw new SetupError(`the data folder ${path} cannot be written by ${userInfo().username}`, `give the folder to that user, or ${elsewhere}`);
      case 'EROFS':
        throw new SetupError(`the data folder ${path} lies on a file system that is read-only`, elsewhere);
      case 'ENOSPC':
      case 'EDQUOT':
        throw new SetupError(`the disk of the data folder ${path} is full`, 'make room, or set HAL9_DATA to a folder on another disk');
      default:
        throw error;
    }
  }
}

/** Writes the whole file or nothing of it. */
async function replaceFile(path: string, content: string, mode: number): Promise<void> {
  const staging = `${path}.new`;
  await writeFile(staging, content, { mode, flush: true });
  await rename(staging, path);
}

async function readText(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined;
    if (systemCode(error) === 'EACCES') throw new SetupError(`${path} cannot be read by ${userInfo().username}`, 'start as the user who created the data folder, or set HAL9_DATA to another folder');
    throw error;
  }
}

async function readJson(path: string): Promise<unknown> {
  const text = await readText(path);
  if (text === undefined) return undefined;
  try {
    return JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

function isRecord(value: unknown): value is RecordedProcess {
  return typeof value === 'object' && value !== null && 'name' in value && 'pid' in value && 'started' in value && typeof value.pid === 'number' && typeof value.started === 'string';
}
