import { randomInt } from 'node:crypto';
import { createServer } from 'node:net';

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
    if (await canListen(port, host)) return port;
  }
  throw new Error(`none of the ports ${FIRST_PORT} to ${FIRST_PORT + PORT_COUNT - 1} is free`);
}

/** Whether something could listen on the port now. @throws whatever the system says but that it is taken. */
export async function canListen(port: number, host = '127.0.0.1'): Promise<boolean> {
  const server = createServer();
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(port, host, resolve);
    });
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EADDRINUSE') return false;
    throw error;
  }
  await new Promise((resolve) => server.close(resolve));
  return true;
}
