import { connect, type Socket } from 'node:net';

/** What a round of requests took. */
export interface Round {
  readonly requests: number;
  readonly seconds: number;
  /** Milliseconds, ascending. */
  readonly latencies: readonly number[];
}

const HEAD_END = '\r\n\r\n';
const CONNECT_AT_ONCE = 50;
const SILENT_MS = 60_000;

/**
 * Connections that each send one request after the other. Sockets and the length of the answer, nothing more: on a machine with few
 * processors a client of comfort would be what is measured.
 */
export class Connections {
  readonly #sockets: readonly Socket[];

  private constructor(sockets: readonly Socket[]) {
    this.#sockets = sockets;
  }

  static async open(port: number, count: number): Promise<Connections> {
    const sockets: Socket[] = [];
    while (sockets.length < count) sockets.push(...(await Promise.all(Array.from({ length: Math.min(CONNECT_AT_ONCE, count - sockets.length) }, () => opened(port)))));
    return new Connections(sockets);
  }

  /** @throws {Error} for an answer that is not 200, or none. */
  async load(requests: readonly Buffer[], seconds: number, signal: AbortSignal): Promise<Round> {
    const latencies: number[] = [];
    const began = performance.now();
    const until = began + seconds * 1000;
    let sent = 0;
    await Promise.all(
      this.#sockets.map(async (socket) => {
        while (performance.now() < until) {
          signal.throwIfAborted();
          const at = performance.now();
          const request = requests[sent++ % requests.length];
          if (request === undefined) throw new Error('nothing to send');
          await exchange(socket, request);
          latencies.push(performance.now() - at);
        }
      }),
    );
    const took = (performance.now() - began) / 1000;
    return { requests: latencies.length, seconds: took, latencies: latencies.sort((a, b) => a - b) };
  }

  close(): void {
    for (const socket of this.#sockets) socket.destroy();
  }
}

function opened(port: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true });
    socket.setTimeout(SILENT_MS, () => socket.destroy(new Error('no answer')));
    socket.once('error', reject);
    socket.once('connect', () => {
      socket.off('error', reject);
      resolve(socket);
    });
  });
}

/** One answer at a time comes on a connection, so its end is known by its length. */
function exchange(socket: Socket, request: Buffer): Promise<void> {
  return new Promise((resolve, reject) => {
    let text = '';
    const onData = (chunk: Buffer): void => {
      text += chunk.toString('latin1');
      const end = text.indexOf(HEAD_END);
      if (end === -1) return;
      const length = /\r\ncontent-length: (\d+)/i.exec(text)?.[1];
      if (!text.startsWith('HTTP/1.1 200') || length === undefined) finish(new Error(`answered ${text.slice(0, 500)}`));
      else if (text.length >= end + HEAD_END.length + Number(length)) finish();
    };
    const onClose = (): void => finish(new Error('the connection was closed'));
    function finish(error?: Error): void {
      socket.off('data', onData);
      socket.off('close', onClose);
      socket.off('error', finish);
      if (error === undefined) resolve();
      else reject(error);
    }
    if (socket.destroyed) {
      onClose();
      return;
    }
    socket.on('data', onData);
    socket.once('close', onClose);
    socket.once('error', finish);
    socket.write(request);
  });
}
