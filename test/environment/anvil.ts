import { spawn, type ChildProcess } from 'node:child_process';
import { setTimeout as delay } from 'node:timers/promises';
import { foundryBinary } from './forge.ts';
import { freePort } from '../../platform/telemetry/free-port.ts';

export interface Anvil {
  readonly url: string;
  /** Calls a method of JSON-RPC. @throws {Error} with the node's words. */
  call(method: string, ...params: readonly unknown[]): Promise<unknown>;
  /** Ends the node; `file` holds what it knew, if it has one. */
  kill(signal?: NodeJS.Signals): Promise<void>;
  /** Starts it again on the same port. */
  start(): Promise<void>;
}

export interface AnvilOptions {
  readonly chainId: number;
  /** Seconds between two blocks; left out: a block for each transaction. 0: none by itself. */
  readonly blockSeconds?: number;
  /** File that keeps the chain over restarts. */
  readonly state?: string;
}

/** A development chain of Foundry on a free port of loopback, alone: nothing else knows its accounts. */
export async function startAnvil({ chainId, blockSeconds, state }: AnvilOptions): Promise<Anvil> {
  const port = await freePort();
  const url = `http://127.0.0.1:${String(port)}`;
  const mining = blockSeconds === undefined ? [] : blockSeconds === 0 ? ['--no-mining'] : ['--block-time', String(blockSeconds)];
  const args = ['--host', '127.0.0.1', '--port', String(port), '--chain-id', String(chainId), '--silent', '--no-request-size-limit', '--order', 'fees', ...mining, ...(state === undefined ? [] : ['--state', state, '--state-interval', '1'])];
  let child: ChildProcess | undefined;
  const call = async (method: string, ...params: readonly unknown[]): Promise<unknown> => {
    const response = await fetch(url, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ jsonrpc: '2.0', id: 1, method, params }), signal: AbortSignal.timeout(10_000) });
    const answer = (await response.json()) as { result?: unknown; error?: { message: string } };
    if (answer.error !== undefined) throw new Error(`${method}: ${answer.error.message}`);
    return answer.result;
  };
  const start = async (): Promise<void> => {
    const started = spawn('setpriv', ['--pdeathsig', 'KILL', '--', foundryBinary('anvil'), ...args], { stdio: 'ignore' });
    child = started;
    for (let attempt = 0; attempt < 600; attempt += 1) {
      if (started.exitCode !== null) throw new Error(`anvil ended with code ${String(started.exitCode)}`);
      const up = await call('eth_chainId').then(() => true, () => false);
      if (up) return;
      await delay(50);
    }
    throw new Error('anvil does not answer');
  };
  await start();
  return {
    url,
    call,
    start,
    async kill(signal = 'SIGKILL') {
      const ending = child;
      if (ending === undefined || ending.exitCode !== null || ending.signalCode !== null) return;
      const exited = new Promise((resolve) => ending.once('exit', resolve));
      ending.kill(signal);
      await exited;
    },
  };
}
