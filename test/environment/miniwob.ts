import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { unzipSync } from 'fflate';
import { cacheFolder } from '../../deploy/local/cache-folder.js';

const run = promisify(execFile);
const VERSION = '1.1.0';
const SHA256 = '297006e84219d56ad037e843527ed773a4a82509dc43b6031ec4a3ad3e3e61d9';
const CALL_MS = 120_000;

/**
 * The folder `html` of MiniWoB++: that of HAL9_MINIWOB, of the cache, or of the wheel on PyPI, unpacked into the cache.
 * @returns undefined when there is no way to get it; the caller says {@link MINIWOB_MISSING} and, under CI, fails.
 */
export async function findMiniwob(): Promise<string | undefined> {
  const set = process.env['HAL9_MINIWOB'];
  if (set !== undefined) return resolve(set);
  const folder = join(cacheFolder(process.env), 'tools', `miniwob-${VERSION}`);
  const pages = join(folder, 'miniwob/html');
  if (existsSync(folder)) return pages;
  await mkdir(dirname(folder), { recursive: true });
  const staging = await mkdtemp(`${folder}-new-`);
  try {
    await run('python3', ['-m', 'pip', 'download', '--quiet', '--no-deps', '--dest', staging, `miniwob==${VERSION}`], { timeout: CALL_MS });
    const wheel = (await readdir(staging)).find((file) => file.endsWith('.whl')) ?? '';
    const bytes = await readFile(join(staging, wheel));
    if (createHash('sha256').update(bytes).digest('hex') !== SHA256) throw new Error(`${wheel} is not the one that is known`);
    for (const [path, content] of Object.entries(unzipSync(bytes, { filter: ({ name }) => name.startsWith('miniwob/html/') && !name.endsWith('/') }))) {
      await mkdir(dirname(join(staging, 'unpacked', path)), { recursive: true });
      await writeFile(join(staging, 'unpacked', path), content);
    }
    await rename(join(staging, 'unpacked'), folder);
    return pages;
  } catch (error) {
    // Another test process may have put it there meanwhile.
    if (existsSync(folder)) return pages;
    process.stderr.write(`MiniWoB++ cannot be had: ${error instanceof Error ? error.message : String(error)}\n`);
    return undefined;
  } finally {
    await rm(staging, { recursive: true, force: true });
  }
}

export const MINIWOB_MISSING = `NOT RUN: flows on MiniWoB++; get it with \`pip download --no-deps miniwob==${VERSION}\`, unzip the wheel and set HAL9_MINIWOB to its folder miniwob/html`;
