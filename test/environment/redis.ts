import { existsSync } from 'node:fs';
import { access, constants } from 'node:fs/promises';
import { connect } from 'node:net';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { endProcess, spawnOwned } from '../../deploy/local/child-process.ts';
import { debianPackage, librariesUnder } from './debian-package.ts';
import { freePort } from '../../platform/telemetry/free-port.ts';

export interface RedisTool {
  readonly executable: string;
  /** Folder of shared libraries that are not on the system; empty when it needs none. */
  readonly libraries: string;
}

/**
 * Redis, in this order: HAL9_REDIS, PATH, the cache, Debian's package unpacked into the cache. It is never installed.
 * @returns undefined when there is no way to get it; the caller says {@link REDIS_MISSING} and, under CI, fails.
 */
export async function findRedis(): Promise<RedisTool | undefined> {
  const set = process.env['HAL9_REDIS'];
  const installed = set ?? (process.env['PATH'] ?? '').split(':').map((folder) => join(folder, 'redis-server')).find((path) => existsSync(path));
  if (installed !== undefined) return { executable: resolve(installed), libraries: '' };
  // The server is a program of the tools.
  const root = await debianPackage('redis-server', ['redis-tools']);
  if (root === undefined) return undefined;
  const executable = join(root, 'usr/bin/redis-check-rdb');
  await access(executable, constants.X_OK);
  return { executable, libraries: (await librariesUnder(root)) ?? '' };
}

export const REDIS_MISSING = 'NOT RUN: Redis; get it with `apt-get install redis-server`, or set HAL9_REDIS to a redis-server executable';

export interface Redis {
  readonly port: number;
  stop(): Promise<void>;
}

/** A Redis of one's own on loopback, its data in memory. */
export async function startRedis({ executable, libraries }: RedisTool, folder: string, password: string): Promise<Redis> {
  const port = await freePort();
  // By its name the program knows what it is to be.
  const child = spawnOwned('bash', ['-c', 'exec -a redis-server "$0" "$@"', executable, '--port', String(port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no', '--requirepass', password, '--dir', folder], {
    cwd: folder,
    env: { ...process.env, ...(libraries === '' ? {} : { LD_LIBRARY_PATH: libraries }) },
    deathSignal: 'KILL',
  });
  for (let attempt = 1; ; attempt += 1) {
    const socket = connect(port, '127.0.0.1');
    const failure = await new Promise<Error | undefined>((done) => {
      socket.once('connect', () => done(undefined));
      socket.once('error', done);
    });
    socket.destroy();
    if (failure === undefined) break;
    if (attempt === 400 || child.exitCode !== null) throw failure;
    await sleep(25);
  }
  return { port, stop: () => endProcess(child, 'SIGTERM', 5_000) };
}
