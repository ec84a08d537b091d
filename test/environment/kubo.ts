import { execFile, type ChildProcess } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { endProcess, hasEnded, spawnOwned, tail } from '../../deploy/local/child-process.ts';
import { resolveTool, type Tool } from '../../deploy/local/tools.ts';
import { freePort } from '../../platform/telemetry/free-port.ts';

const run = promisify(execFile);
const START_MS = 120_000;

/** Kubo, the node of IPFS that most run. */
const KUBO: Tool = {
  name: 'ipfs',
  version: '0.38.2',
  setting: 'HAL9_IPFS',
  module: { folder: resolve(import.meta.dirname, '../../deploy/tools/kubo'), package: 'github.com/ipfs/kubo/cmd/ipfs', flags: ['-trimpath', '-ldflags', '-s -w'], minutes: 2 },
};

/** @throws {SetupError} with the remedy when it cannot be had. */
export async function kuboExecutable(): Promise<string> {
  return resolveTool(KUBO, { env: process.env, progress: (message) => process.stderr.write(`${message}\n`) });
}

/** @returns undefined when this machine cannot have it, which is said once; under CI that is an error. */
export async function findKubo(): Promise<string | undefined> {
  try {
    return await kuboExecutable();
  } catch (error) {
    if (process.env['CI'] === 'true') throw error;
    process.stderr.write(`NOT RUN: content on real nodes of IPFS; ${error instanceof Error ? error.message : String(error)}\n`);
    return undefined;
  }
}

export interface IpfsNode {
  /** Of its RPC. */
  readonly url: string;
  /** Its own command line. @returns what it writes. */
  ipfs(...args: readonly string[]): Promise<string>;
  start(): Promise<void>;
  /** SIGKILL. */
  kill(): Promise<void>;
  /** Ends it, with what it kept. */
  remove(): Promise<void>;
}

/** A node of its own on loopback, that knows no other and looks for none. */
export async function createIpfsNode(executable: string): Promise<IpfsNode> {
  const folder = await mkdtemp(join(tmpdir(), 'hal9-ipfs-'));
  const env = { ...process.env, IPFS_PATH: folder, IPFS_TELEMETRY: 'off' };
  const ipfs = async (...args: readonly string[]): Promise<string> => (await run(executable, [...args], { env, maxBuffer: 16 * 1024 * 1024 })).stdout;
  await ipfs('init', '--profile', 'test', '--empty-repo');
  const port = await freePort();
  const file = join(folder, 'config');
  const config = JSON.parse(await readFile(file, 'utf8')) as { Addresses: { API: string }; Routing: { Type?: string } };
  config.Addresses.API = `/ip4/127.0.0.1/tcp/${String(port)}`;
  config.Routing.Type = 'none';
  await writeFile(file, JSON.stringify(config));
  const url = `http://127.0.0.1:${String(port)}`;
  let child: ChildProcess | undefined;
  const kill = async (): Promise<void> => {
    if (child !== undefined) await endProcess(child, 'SIGKILL', 0);
  };
  return {
    url,
    ipfs,
    kill,
    async start() {
      await kill();
      const started = spawnOwned(executable, ['daemon'], { deathSignal: 'KILL', env });
      child = started;
      const last = tail(started);
      for (const until = Date.now() + START_MS; ; ) {
        if (await fetch(`${url}/api/v0/version`, { method: 'POST', signal: AbortSignal.timeout(10_000) }).then(({ ok }) => ok, () => false)) return;
        if (hasEnded(started) || Date.now() > until) throw new Error(`the node does not answer: ${last()}`);
        await sleep(50);
      }
    },
    async remove() {
      await kill();
      await rm(folder, { recursive: true, force: true });
    },
  };
}
