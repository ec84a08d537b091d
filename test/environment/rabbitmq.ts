import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { access, constants, mkdir, mkdtemp, readdir, readFile, rename, rm } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { endProcess, spawnOwned } from '../../deploy/local/child-process.ts';
import { cacheFolder } from '../../deploy/local/cache-folder.js';
import { freePort } from '../../platform/telemetry/free-port.ts';

const run = promisify(execFile);

/** A RabbitMQ that is ready to be started. */
export interface RabbitTool {
  /** Folder of Erlang: `erts-*`, `lib`, `releases`. */
  readonly erlang: string;
  /** Folder of RabbitMQ: `plugins`, `sbin`. */
  readonly server: string;
}

/**
 * Debian's RabbitMQ with its Erlang, in this order: HAL9_RABBITMQ (a folder like the file system's root), the system, the cache, the
 * packages unpacked into the cache. Nothing is installed.
 * @returns undefined when there is no way to get it; the caller says {@link RABBITMQ_MISSING} and, under CI, fails.
 */
export async function findRabbit(): Promise<RabbitTool | undefined> {
  const set = process.env['HAL9_RABBITMQ'];
  if (set !== undefined) return toolIn(resolve(set));
  if (existsSync('/usr/lib/rabbitmq/lib') && existsSync('/usr/lib/erlang')) return toolIn('/');
  const folder = join(cacheFolder(process.env), 'tools', 'rabbitmq-debian');
  if (!existsSync(folder) && !(await unpack(folder))) return undefined;
  return toolIn(join(folder, 'root'));
}

export const RABBITMQ_MISSING = 'NOT RUN: AMQP; get RabbitMQ with `apt-get install rabbitmq-server`, or set HAL9_RABBITMQ to a folder with usr/lib/rabbitmq and usr/lib/erlang';

async function toolIn(root: string): Promise<RabbitTool> {
  const servers = join(root, 'usr/lib/rabbitmq/lib');
  const [version] = (await readdir(servers)).filter((name) => name.startsWith('rabbitmq_server-'));
  const tool = { erlang: join(root, 'usr/lib/erlang'), server: join(servers, version ?? '') };
  await access(join(tool.erlang, 'bin/start.boot'), constants.R_OK);
  return tool;
}

/** @returns false when apt or the packages are not to be had. */
async function unpack(folder: string): Promise<boolean> {
  await mkdir(dirname(folder), { recursive: true });
  const staging = await mkdtemp(`${folder}-new-`);
  try {
    const { stdout } = await run('apt-cache', ['depends', '--recurse', '--no-recommends', '--no-suggests', '--no-conflicts', '--no-breaks', '--no-replaces', '--no-enhances', 'rabbitmq-server']);
    const erlang = stdout.split('\n').filter((line) => /^erlang-[a-z0-9-]+$/.test(line));
    await run('apt-get', ['download', 'rabbitmq-server', ...new Set(erlang)], { cwd: staging });
    for (const file of await readdir(staging)) if (file.endsWith('.deb')) {
      await run('dpkg-deb', ['-x', file, 'root'], { cwd: staging });
      await rm(join(staging, file));
    }
    await rename(staging, folder);
    return true;
  } catch (error) {
    // Another test process may have put it there meanwhile.
    if (existsSync(folder)) return true;
    process.stderr.write(`RabbitMQ cannot be had: ${error instanceof Error ? error.message : String(error)}\n`);
    return false;
  } finally {
    await rm(staging, { recursive: true, force: true });
  }
}

export interface Rabbit {
  readonly port: number;
  /** Resolves when the declaration of a durable queue is on the disk: the broker answers before, and forgets the queue in a crash until then. */
  kept(queue: string): Promise<void>;
  /** As a crash does; messages on disk stay. */
  kill(): Promise<void>;
  /** Starts it again on the same port with the same data. */
  start(): Promise<void>;
  stop(): Promise<void>;
}

/** A real RabbitMQ on loopback, user and password `guest`. Its data lies in `folder`. */
export async function startRabbit(tool: RabbitTool, folder: string): Promise<Rabbit> {
  const [port, distribution, names] = [await freePort(), await freePort(), await freePort()];
  await mkdir(join(folder, 'data'), { recursive: true });
  const [erts = ''] = (await readdir(tool.erlang)).filter((name) => name.startsWith('erts-'));
  const binaries = join(tool.erlang, erts, 'bin');
  const env = {
    PATH: `${binaries}:${process.env['PATH'] ?? ''}`,
    // The cookie lies here.
    HOME: folder,
    ROOTDIR: tool.erlang,
    BINDIR: binaries,
    EMU: 'beam',
    PROGNAME: 'erl',
    ERL_EPMD_PORT: String(names),
    ERL_EPMD_ADDRESS: '127.0.0.1',
    ERL_LIBS: join(tool.server, 'plugins'),
    RABBITMQ_HOME: tool.server,
    RABBITMQ_NODENAME: `hal9-${String(port)}@localhost`,
    RABBITMQ_NODE_IP_ADDRESS: '127.0.0.1',
    RABBITMQ_NODE_PORT: String(port),
    RABBITMQ_DIST_PORT: String(distribution),
    RABBITMQ_MNESIA_BASE: join(folder, 'data'),
    RABBITMQ_LOG_BASE: folder,
    RABBITMQ_LOGS: '-',
    RABBITMQ_CONF_ENV_FILE: '/dev/null',
    RABBITMQ_CONFIG_FILE: join(folder, 'none'),
    RABBITMQ_ENABLED_PLUGINS_FILE: join(folder, 'plugins'),
    RABBITMQ_PLUGINS_DIR: join(tool.server, 'plugins'),
    RABBITMQ_SYS_PREFIX: '',
  };
  // Erlang would start one that outlives everybody; this one is ours.
  const epmd = spawnOwned(join(binaries, 'epmd'), ['-port', String(names), '-address', '127.0.0.1'], { deathSignal: 'KILL', env });
  const flags = ['-noshell', '-noinput', '-s', 'rabbit', 'boot', '-boot', join(tool.erlang, 'bin/start_sasl'), '+W', 'w', '+sbwt', 'none', '-syslog', 'logger', '[]', '-syslog', 'syslog_error_logger', 'false', '-kernel', 'prevent_overlapping_partitions', 'false'];
  let child = await launch();

  async function launch() {
    const started = spawnOwned(join(binaries, 'erlexec'), flags, { deathSignal: 'KILL', env });
    let log = '';
    await new Promise<void>((ready, fail) => {
      const collect = (chunk: Buffer): void => {
        log += chunk.toString();
        if (log.includes('Server startup complete')) ready();
      };
      started.stdout?.on('data', collect);
      started.stderr?.on('data', collect);
      started.once('error', fail);
      started.once('exit', () => fail(new Error(`RabbitMQ ended:\n${log.slice(-3000)}`)));
    });
    return started;
  }

  /** Whether its own records name it; those of messages name it, too. */
  async function declared(queue: string): Promise<boolean> {
    for (const entry of await readdir(join(folder, 'data'), { recursive: true, withFileTypes: true })) {
      if (!entry.isFile() || entry.parentPath.includes('msg_stores')) continue;
      // Logs are renamed while they are read.
      const content = await readFile(join(entry.parentPath, entry.name)).catch(() => undefined);
      if (content?.includes(queue) === true) return true;
    }
    return false;
  }

  return {
    port,
    async kept(queue) {
      const deadline = Date.now() + 60_000;
      while (!(await declared(queue))) {
        if (Date.now() > deadline) throw new Error(`RabbitMQ does not keep the queue ${queue}`);
        await sleep(50);
      }
    },
    kill: () => endProcess(child, 'SIGKILL', 5000),
    async start() {
      child = await launch();
    },
    async stop() {
      await endProcess(child, 'SIGKILL', 5000);
      await endProcess(epmd, 'SIGKILL', 5000);
    },
  };
}
