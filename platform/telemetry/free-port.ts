import { randomInt } from 'node:crypto';
import { createServer, type ListenOptions, type Server } from 'node:net';

/**
 * Where ports are chosen. Systems give outgoing connections ports from 32,768 (Linux) or 49,152 (RFC 6335) on: one from there that was free a moment ago
 * may be taken by a connection before its server listens. Kubernetes gives out those from 30,000 on.
 */
const FIRST_PORT = 20_000;
const PORT_COUNT = 10_000;

/** Ports that this process has chosen, whose servers may not listen yet. */
const chosen = new Set<number>();

/** A TCP port that was free a moment ago, that no outgoing connection gets, and that no other process of HAL9 on this machine chooses while this one lives (Linux). */
export async function freePort(host?: string): Promise<number> {
  const begin = randomInt(PORT_COUNT);
  for (let offset = 0; offset < PORT_COUNT; offset += 1) {
    const port = FIRST_PORT + ((begin + offset) % PORT_COUNT);
    // In this order: a look at a port keeps it for a moment from the server that it was chosen for.
    if ((await choose(port)) && (await canListen(port, host))) return port;
  }
  throw new Error(`none of the ports ${FIRST_PORT} to ${FIRST_PORT + PORT_COUNT - 1} is free`);
}

/** Takes a name that only one process can have, and that ends with it (unix(7), abstract sockets): others that choose in this moment choose another. */
async function choose(port: number): Promise<boolean> {
  if (chosen.has(port)) return false;
  chosen.add(port);
  if (process.platform !== 'linux') return true;
  const name = await listening({ path: `\0hal9-port-${port}` });
  name?.unref();
  return name !== undefined;
}

/** Whether something could listen on the port now. @throws whatever the system says but that it is taken. */
export async function canListen(port: number, host = '127.0.0.1'): Promise<boolean> {
  const server = await listening({ port, host });
  if (server === undefined) return false;
  await new Promise((resolve) => server.close(resolve));
  return true;
}

/** A server there, or undefined where another one is. */
async function listening(address: ListenOptions): Promise<Server | undefined> {
  const server = createServer();
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(address, resolve);
    });
    return server;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EADDRINUSE') return undefined;
    throw error;
  }
}
