import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { delimiter, join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { waitForLock } from './folder-lock.ts';
import { SetupError } from './setup-error.ts';
import { cacheFolder } from './cache-folder.js';

const run = promisify(execFile);
const INSTALL_MS = 300_000;

/** A program of a Python package, with everything it needs pinned in a requirements file. */
export interface PythonTool {
  /** Name of the package and of its executable. */
  readonly name: string;
  readonly version: string;
  /** Variable that names an executable of the user's own. */
  readonly setting: string;
  /** Absolute path. */
  readonly requirements: string;
}

/**
 * Finds the tool, in this order: its setting, PATH, the cache, pip into a virtual environment in the cache. It is never installed system-wide.
 * @returns absolute path of the executable.
 * @throws {SetupError} when there is no way to get it.
 */
export async function resolvePythonTool(tool: PythonTool, env: Readonly<Record<string, string | undefined>>): Promise<string> {
  const set = env[tool.setting];
  if (set !== undefined && set !== '') return resolve(set);
  for (const folder of (env['PATH'] ?? '').split(delimiter)) if (existsSync(join(folder, tool.name))) return join(folder, tool.name);
  const folder = join(cacheFolder(env), 'tools', `${tool.name}-${tool.version}`);
  await mkdir(folder, { recursive: true });
  const lock = await waitForLock(join(folder, 'lock'), () => undefined);
  try {
    return await install(tool, folder);
  } finally {
    await lock.release();
  }
}

/** Environments keep absolute paths, so it is made where it stays, and a last file says that it is whole. */
async function install(tool: PythonTool, folder: string): Promise<string> {
  const home = join(folder, 'venv');
  const whole = join(folder, 'whole');
  const executable = join(home, 'bin', tool.name);
  if (existsSync(whole)) return executable;
  await rm(home, { recursive: true, force: true });
  try {
    await run('python3', ['-m', 'venv', home], { timeout: INSTALL_MS });
    await run(join(home, 'bin', 'pip'), ['install', '--quiet', '--disable-pip-version-check', '--requirement', tool.requirements], { timeout: INSTALL_MS });
  } catch (error) {
    throw new SetupError(`${tool.name} cannot be installed: ${error instanceof Error ? error.message : String(error)}`, `install Python 3.11 with venv, or \`pip install ${tool.name}==${tool.version}\`, or set ${tool.setting} to its executable`, { cause: error });
  }
  await writeFile(whole, '');
  return executable;
}
