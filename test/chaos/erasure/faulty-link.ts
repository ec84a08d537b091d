import { connect, createServer, type Server, type Socket } from 'node:net';
import type { AddressInfo } from 'node:net';

/**
 * A way to a database on which something can go wrong before a chosen message: every message of a client is a statement or a part of one. Until it is armed, everything
 * passes.
 */
export class FaultyLink {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #target: { host: string; port: number };
  #left = 0;
  #strike: (() => void) | undefined;
  #down = false;

  private constructor(server: Server, target: { host: string; port: number }) {
    this.#server = server;
    this.#target = target;
    server.on('connection', (socket) => this.#carry(socket));
  }

  static async open(host: string, port: number): Promise<FaultyLink> {
    const server = createServer();
    const link = new FaultyLink(server, { host, port });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return link;
  }

  get port(): number {
    const address: AddressInfo | string | null = this.#server.address();
    if (address === null || typeof address === 'string') throw new Error('the link is closed');
    return address.port;
  }

  /** Strikes instead of passing on the n-th message from now on, which is lost with its connection. @returns when it has struck. */
  arm(messages: number, strike: () => void): Promise<void> {
    this.#left = messages;
    return new Promise((resolve) => {
      this.#strike = () => {
        strike();
        resolve();
      };
    });
  }

  disarm(): void {
    this.#strike = undefined;
  }

  /** Breaks all connections and takes no new ones, until {@link up}. */
  down(): void {
    this.#down = true;
    for (const socket of this.#sockets) socket.destroy();
  }

  up(): void {
    this.#down = false;
  }

  async close(): Promise<void> {
    this.down();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }

  #carry(near: Socket): void {
    if (this.#down) {
      near.destroy();
      return;
    }
    const far = connect(this.#target.port, this.#target.host);
    for (const socket of [near, far]) {
      this.#sockets.add(socket);
      socket.setNoDelay(true);
      // Broken connections are what this is for: the other end hears of it.
      socket.on('error', () => socket.destroy());
      socket.on('close', () => {
        this.#sockets.delete(socket);
        near.destroy();
        far.destroy();
      });
    }
    near.on('data', (data) => {
      if (this.#strike !== undefined && (this.#left -= 1) <= 0) {
        const strike = this.#strike;
        this.#strike = undefined;
        strike();
        near.destroy();
        return;
      }
      far.write(data);
    });
    far.on('data', (data) => near.write(data));
  }
}
