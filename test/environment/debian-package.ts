import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { cacheFolder } from '../../deploy/local/cache-folder.js';

const run = promisify(execFile);
/** Longest time for one call of a package tool, milliseconds: it may have to fetch some ten megabytes. */
const CALL_MS = 180_000;

/**
 * A Debian package, unpacked into the cache and never installed, with the libraries that this system lacks.
 * @param name of the package, e.g. `slapd`.
 * @param needs further packages to unpack beside it: interpreters and modules that are no libraries.
 * @returns the folder that stands for `/`; undefined where apt or the package is not to be had, with the reason on stderr.
 */
export async function debianPackage(name: string, needs: readonly string[] = []): Promise<string | undefined> {
  const folder = join(cacheFolder(process.env), 'tools', `${name}-debian`);
  const root = join(folder, 'root');
  if (existsSync(folder)) return root;
  await mkdir(dirname(folder), { recursive: true });
  const staging = await mkdtemp(`${folder}-new-`);
  try {
    const apt = await ownIndex(join(staging, 'apt'));
    const libraries = new Set<string>();
    for (const one of [name, ...needs]) for (const library of await librariesOf(one, apt)) libraries.add(library);
    const missing: string[] = [];
    for (const library of libraries) if (!(await isInstalled(library))) missing.push(library);
    await run('apt-get', [...apt, 'download', name, ...needs, ...missing], { cwd: staging, timeout: CALL_MS });
    for (const file of await readdir(staging)) {
      if (!file.endsWith('.deb')) continue;
      await run('dpkg-deb', ['-x', file, 'root'], { cwd: staging, timeout: CALL_MS });
      await rm(join(staging, file));
    }
    await rm(join(staging, 'apt'), { recursive: true, force: true });
    await rename(staging, folder);
    return root;
  } catch (error) {
    // Another test process may have put it there meanwhile.
    if (existsSync(folder)) return root;
    process.stderr.write(`${name} cannot be had: ${error instanceof Error ? error.message : String(error)}\n`);
    return undefined;
  } finally {
    await rm(staging, { recursive: true, force: true });
  }
}

/** Folder of the shared libraries under an unpacked root, for LD_LIBRARY_PATH; undefined when it brought none. */
export async function librariesUnder(root: string): Promise<string | undefined> {
  const parent = join(root, 'usr/lib');
  if (!existsSync(parent)) return undefined;
  const architecture = (await readdir(parent)).find((entry) => entry.endsWith('-linux-gnu'));
  return architecture === undefined ? undefined : join(parent, architecture);
}

/** Options for a package index of our own: the system's may be empty or old, and is not ours to update. */
async function ownIndex(folder: string): Promise<string[]> {
  await mkdir(join(folder, 'lists/partial'), { recursive: true });
  await mkdir(join(folder, 'cache/archives/partial'), { recursive: true });
  const options = ['-o', `Dir::State::lists=${join(folder, 'lists')}`, '-o', `Dir::Cache=${join(folder, 'cache')}`, '-o', 'Debug::NoLocking=1', '-o', 'APT::Sandbox::User='];
  await run('apt-get', [...options, 'update'], { timeout: CALL_MS });
  return options;
}

async function librariesOf(name: string, apt: readonly string[]): Promise<string[]> {
  const { stdout } = await run('apt-cache', [...apt, 'depends', '--recurse', '--no-recommends', '--no-suggests', '--no-conflicts', '--no-breaks', '--no-replaces', '--no-enhances', name], { timeout: CALL_MS });
  return stdout.split('\n').filter((line) => /^lib(?!.*-perl)/.test(line) && line !== name);
}

async function isInstalled(name: string): Promise<boolean> {
  return run('dpkg-query', ['-W', '-f', '${db:Status-Status}', name]).then(({ stdout }) => stdout === 'installed', () => false);
}
