import { randomInt } from 'node:crypto';
import { createServer } from 'node:net';
import { listenerOf } from './process-identity.ts';
import { SetupError, systemCode } from './setup-error.ts';

/** Whether something could listen on the port now. */
export async function isFree(port: number, host = '127.0.0.1'): Promise<boolean> {
  const server = createServer();
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(port, host, resolve);
    });
  } catch (error) {
    const code = systemCode(error);
    if (code === 'EADDRINUSE') return false;
    if (code === 'EACCES') throw new SetupError(`port ${port} may not be opened by this user`, 'choose one above 1023');
    if (code === 'EADDRNOTAVAIL' || code === 'ENOTFOUND') throw new SetupError(`this machine has no address ${host}`, 'set HAL9_HOST to 127.0.0.1, 0.0.0.0 or an address of its own');
    throw error;
  }
  await new Promise((resolve) => server.close(resolve));
  return true;
}

/**
 * Where ports are chosen. Systems give outgoing connections ports from 32,768 (Linux) or 49,152 (RFC 6335) on: one from there that was free a moment ago
 * may be taken by a connection before its server listens. Kubernetes gives out those from 30,000 on.
 */
const FIRST_PORT = 20_000;
const PORT_COUNT = 10_000;

/** A TCP port that was free a moment ago, and that no outgoing connection gets. */
export async function freePort(host?: string): Promise<number> {
  const begin = randomInt(PORT_COUNT);
  for (let offset = 0; offset < PORT_COUNT; offset += 1) {
    const port = FIRST_PORT + ((begin + offset) % PORT_COUNT);
    if (await isFree(port, host)) return port;
  }
  throw new SetupError(`none of the ports ${FIRST_PORT} to ${FIRST_PORT + PORT_COUNT - 1} is free`, 'stop what listens there');
}

/**
 * The port the user asked for.
 * @throws {SetupError} naming who has it and which setting chooses another.
 */
export async function demandPort(port: number, setting: string, host?: string): Promise<number> {
  if (await isFree(port, host)) return port;
  const listener = listenerOf(port);
  const who = listener === undefined ? 'another program' : `process ${listener.pid} (${listener.command})`;
  throw new SetupError(`port ${port} is taken by ${who}`, `stop it, or choose another with ${setting}=NUMBER (${setting}=0 picks a free one and remembers it)`);
}

/** The first of the preferred ports that is free, else any; for ports nobody chose. */
export async function preferPort(preferred: readonly (number | undefined)[]): Promise<number> {
  for (const port of preferred) {
    if (port !== undefined && (await isFree(port))) return port;
  }
  return freePort();
}
