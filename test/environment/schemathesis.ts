import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { waitForLock } from '../../deploy/local/folder-lock.ts';
import { cacheFolder } from '../../deploy/local/tools.ts';

const run = promisify(execFile);

const VERSION = '4.32.5';
const REQUIREMENTS = resolve(import.meta.dirname, '../api/schemathesis/requirements.txt');
const INSTALL_MS = 300_000;

/**
 * Schemathesis, in this order: HAL9_SCHEMATHESIS, PATH, the cache, pip into a virtual environment in the cache. It is never installed
 * system-wide.
 * @returns path of the executable; undefined when there is no way to get it: the caller says {@link SCHEMATHESIS_MISSING} and, under CI, fails.
 */
export async function findSchemathesis(): Promise<string | undefined> {
  const set = process.env['HAL9_SCHEMATHESIS'];
  if (set !== undefined && set !== '') return resolve(set);
  for (const folder of (process.env['PATH'] ?? '').split(':')) if (existsSync(join(folder, 'schemathesis'))) return join(folder, 'schemathesis');
  const folder = join(cacheFolder(process.env), 'tools', `schemathesis-${VERSION}`);
  await mkdir(folder, { recursive: true });
  const lock = await waitForLock(join(folder, 'lock'), () => undefined);
  try {
    return await install(folder);
  } finally {
    await lock.release();
  }
}

export const SCHEMATHESIS_MISSING = `NOT RUN: Schemathesis against the API; get it with \`pip install schemathesis==${VERSION}\`, or set HAL9_SCHEMATHESIS to its executable`;

/** Environments keep absolute paths, so it is made where it stays, and a last file says that it is whole. */
async function install(folder: string): Promise<string | undefined> {
  const home = join(folder, 'venv');
  const whole = join(folder, 'whole');
  const executable = join(home, 'bin', 'schemathesis');
  if (existsSync(whole)) return executable;
  await rm(home, { recursive: true, force: true });
  try {
    await run('python3', ['-m', 'venv', home], { timeout: INSTALL_MS });
    await run(join(home, 'bin', 'pip'), ['install', '--quiet', '--disable-pip-version-check', '--requirement', REQUIREMENTS], { timeout: INSTALL_MS });
  } catch (error) {
    process.stderr.write(`Schemathesis cannot be had: ${error instanceof Error ? error.message : String(error)}\n`);
    return undefined;
  }
  await writeFile(whole, '');
  return executable;
}
