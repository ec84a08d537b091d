import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { access, chmod, constants, mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { delimiter, isAbsolute, join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { cacheFolder } from './cache-folder.js';
import { waitForLock } from './folder-lock.ts';
import { SetupError, systemCode } from './setup-error.ts';

const run = promisify(execFile);

/** A native program HAL9 starts but does not install system-wide. */
export interface Tool {
  readonly name: string;
  /** Pinned release; part of the place in the cache. */
  readonly version: string;
  /** Variable that names an executable of the user's own. */
  readonly setting: string;
  /** Archive of the official release for this platform with its SHA-256, where the project publishes one. */
  readonly release?: { readonly url: string; readonly sha256: string };
  /** Go module that pins the tool (`go.mod` with a `tool` directive) and the package to build. */
  readonly module?: { readonly folder: string; readonly package: string; readonly flags: readonly string[]; readonly minutes: number };
}

export interface ResolveOptions {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Told what takes long. */
  readonly progress: (message: string) => void;
  /** Longest wait for the first byte of a download, milliseconds. Default 5,000. */
  readonly connectMs?: number;
  /** Gives up, ending a build in progress. */
  readonly signal?: AbortSignal | undefined;
}

const TEMPORAL_VERSION = '1.5.1';

/** SHA-256 of the release archives of the Temporal CLI, by `<platform>-<arch>` of Node. */
const TEMPORAL_SHA256: Readonly<Record<string, string>> = {
  'linux-x64': 'ddc95e08b0b076efd4ea9733a3f488eb7d2be875f8834e616cd2a37358b4852d',
  'linux-arm64': 'bd1b0db9f18b051026de8bf6cc1505f2510f14bbb7a8b9a4a91fff46c77454f5',
  'darwin-arm64': 'cca01b7ea35ad56e2a328d9ae596bf716bd22313ef63c7a761c88354457c2415',
  'darwin-x64': 'bbb73e2a31135abe50a1f1cdb35030c42961df618e8ce9c60ae89f201540c5d9',
};

/** The Temporal CLI, whose dev server is the embedded engine. */
export function temporalTool(platform: string = process.platform, arch: string = process.arch): Tool {
  const sha256 = TEMPORAL_SHA256[`${platform}-${arch}`];
  const url = `https://temporal.download/cli/archive/v${TEMPORAL_VERSION}?platform=${platform}&arch=${arch === 'x64' ? 'amd64' : arch}`;
  return {
    name: 'temporal',
    version: TEMPORAL_VERSION,
    setting: 'HAL9_TEMPORAL_CLI',
    ...(sha256 === undefined ? {} : { release: { url, sha256 } }),
    module: {
      folder: resolve(import.meta.dirname, '../tools/temporal'),
      package: 'github.com/temporalio/cli/cmd/temporal',
      flags: ['-trimpath', '-ldflags', `-s -w -X github.com/temporalio/cli/temporalcli.Version=${TEMPORAL_VERSION}`],
      minutes: 4,
    },
  };
}

/**
 * Finds the tool, in this order: the setting, PATH, the cache, the official release, a build of the pinned module. What
 * is fetched or built goes to the cache only (`$XDG_CACHE_HOME/hal9` or `~/.cache/hal9`).
 * @returns absolute path of the executable.
 * @throws {SetupError} with the remedy when there is no way to get it.
 */
export async function resolveTool(tool: Tool, options: ResolveOptions): Promise<string> {
  const set = options.env[tool.setting];
  if (set !== undefined && set !== '') {
    if (await isExecutable(set)) return resolve(set);
    throw new SetupError(`${tool.setting} names ${set}, which is no executable file`, 'correct the path, or unset it to let HAL9 find the tool');
  }
  const found = await onPath(tool.name, options.env['PATH']);
  if (found !== undefined) return found;
  const folder = join(cacheFolder(options.env), 'tools', `${tool.name}-${tool.version}`);
  const cached = join(folder, tool.name);
  if (await isExecutable(cached)) return cached;
  await makeCache(folder);
  const lock = await waitForLock(join(folder, 'lock'), (holder) => options.progress(`Waiting for process ${holder.pid}, which is getting ${tool.name} ${tool.version} too`));
  try {
    if (await isExecutable(cached)) return cached;
    return await obtain(tool, folder, cached, options);
  } finally {
    await lock.release();
  }
}

async function obtain(tool: Tool, folder: string, target: string, options: ResolveOptions): Promise<string> {
  const reasons: string[] = [];
  const staging = join(folder, `new-${process.pid}`);
  await rm(staging, { recursive: true, force: true });
  await mkdir(staging, { recursive: true });
  try {
    for (const way of [download, build]) {
      try {
        const made = await way(tool, staging, options);
        await chmod(made, 0o755);
        await rename(made, target);
        return target;
      } catch (error) {
        if (!(error instanceof Unavailable)) throw error;
        reasons.push(error.message);
      }
    }
  } finally {
    await rm(staging, { recursive: true, force: true });
  }
  throw new SetupError(`the \`${tool.name}\` executable is missing (${reasons.join('; ')})`, `install ${tool.name} ${tool.version} on your PATH, or Go 1.26 to let HAL9 build it, or set ${tool.setting} to an executable you have`);
}

/** One way to get a tool does not work here; the next is tried. */
class Unavailable extends Error {
  override readonly name = 'Unavailable';
}

async function download(tool: Tool, staging: string, options: ResolveOptions): Promise<string> {
  if (tool.release === undefined) throw new Unavailable(`no checked release for ${process.platform}-${process.arch}`);
  const connect = new AbortController();
  const timer = setTimeout(() => connect.abort(), options.connectMs ?? 5000);
  let archive: Buffer;
  try {
    const response = await fetch(tool.release.url, { redirect: 'follow', signal: AbortSignal.any([connect.signal, AbortSignal.timeout(300_000), ...(options.signal === undefined ? [] : [options.signal])]) });
    clearTimeout(timer);
    if (!response.ok) throw new Unavailable(`${new URL(tool.release.url).host} answered ${response.status}`);
    options.progress(`Downloading ${tool.name} ${tool.version}`);
    archive = Buffer.from(await response.arrayBuffer());
  } catch (error) {
    options.signal?.throwIfAborted();
    if (error instanceof Unavailable) throw error;
    throw new Unavailable(`${new URL(tool.release.url).host} cannot be reached`, { cause: error });
  } finally {
    clearTimeout(timer);
  }
  const sha256 = createHash('sha256').update(archive).digest('hex');
  if (sha256 !== tool.release.sha256) throw new Unavailable(`the download from ${new URL(tool.release.url).host} is not the release HAL9 was checked with`);
  await writeFile(join(staging, 'release.tar.gz'), archive);
  await run('tar', ['-xzf', 'release.tar.gz', tool.name], { cwd: staging });
  return join(staging, tool.name);
}

async function build(tool: Tool, staging: string, options: ResolveOptions): Promise<string> {
  if (tool.module === undefined) throw new Unavailable('it cannot be built');
  const go = await onPath('go', [options.env['PATH'], '/usr/local/go/bin'].filter(Boolean).join(delimiter));
  if (go === undefined) throw new Unavailable('Go is not installed to build it');
  options.progress(`Building ${tool.name} ${tool.version} with Go, once for this machine; about ${tool.module.minutes} minutes`);
  const made = join(staging, tool.name);
  try {
    await run(go, ['build', '-mod=readonly', ...tool.module.flags, '-o', made, tool.module.package], {
      cwd: tool.module.folder,
      env: { ...options.env, CGO_ENABLED: '0', GOFLAGS: '', HOME: options.env['HOME'] ?? homedir() },
      maxBuffer: 16 * 1024 * 1024,
      timeout: 30 * 60_000,
      signal: options.signal,
    });
  } catch (error) {
    options.signal?.throwIfAborted();
    const stderr = typeof error === 'object' && error !== null && 'stderr' in error ? String(error.stderr) : String(error);
    throw new Unavailable(`the Go build failed: ${stderr.trim().split('\n').at(-1) ?? ''}`, { cause: error });
  }
  return made;
}

async function onPath(name: string, path: string | undefined): Promise<string | undefined> {
  for (const folder of (path ?? '').split(delimiter)) {
    if (folder !== '' && isAbsolute(folder) && (await isExecutable(join(folder, name)))) return join(folder, name);
  }
  return undefined;
}

async function isExecutable(path: string): Promise<boolean> {
  try {
    await access(path, constants.X_OK);
    return true;
  } catch (error) {
    if (systemCode(error) === undefined) throw error;
    return false;
  }
}

async function makeCache(folder: string): Promise<void> {
  try {
    await mkdir(folder, { recursive: true });
    await access(folder, constants.W_OK);
  } catch (error) {
    throw new SetupError(`the cache folder ${folder} cannot be written`, 'set XDG_CACHE_HOME to a folder of yours', { cause: error });
  }
}

