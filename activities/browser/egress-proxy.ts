import { createServer, request as httpRequest, type IncomingMessage, type ServerResponse } from 'node:http';
import { connect, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { AddressRefused, type Egress } from '../../platform/connections/egress.ts';
import { hostMatches } from './url-pattern.ts';

const CONNECT_MS = 15_000;
/** Ports that a page of the web uses; mail, shells and databases are not among them. */
const REFUSED_PORTS: ReadonlySet<number> = new Set([1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101, 102, 103, 104, 109, 110, 111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389, 427, 465, 512, 513, 514, 515, 526, 530, 531, 532, 540, 548, 554, 556, 563, 587, 601, 636, 989, 990, 993, 995, 1719, 1720, 1723, 2049, 3659, 4045, 5060, 5061, 5432, 6000, 6379, 6566, 6665, 6666, 6667, 6668, 6669, 6697, 7233, 10080]);

export interface EgressRules {
  /** Only these hosts, when given; see `hostMatches`. */
  readonly allow?: readonly string[] | undefined;
  readonly deny: readonly string[];
  /** Bytes that may come in, all connections together. */
  readonly limitBytes: number;
}

export interface EgressProxyOptions {
  readonly egress: Pick<Egress, 'address'>;
  /** Default: nothing is let out until {@link EgressProxy.serve} says what may. */
  readonly session?: ServedSession;
}

/** Whom a proxy serves. */
export interface ServedSession {
  readonly rules: EgressRules;
  /** Told once, when more came in than may. */
  readonly onLimit: () => void;
  /** Told of each refusal: the host and why. */
  readonly onRefused?: (host: string, reason: string) => void;
}

/**
 * The way out of one browser session: an HTTP proxy on loopback, so that the rules hold for whatever a page can ask for (redirects,
 * sub-resources, WebSockets, workers) and a page cannot talk its way around them. Each connection is opened to the very
 * address that was checked, so a name that answers differently the second time (DNS rebinding) gains nothing.
 */
export class EgressProxy {
  readonly url: string;
  readonly #serve: (session: ServedSession) => void;
  readonly #close: () => Promise<void>;
  readonly #received: () => number;

  private constructor(url: string, serve: (session: ServedSession) => void, close: () => Promise<void>, received: () => number) {
    this.url = url;
    this.#serve = serve;
    this.#close = close;
    this.#received = received;
  }

  /** Bytes that came in so far. */
  get receivedBytes(): number {
    return this.#received();
  }

  static async start({ egress, session }: EgressProxyOptions): Promise<EgressProxy> {
    const sockets = new Set<Duplex>();
    let served = session;
    let received = 0;
    let limited = false;
    const count = (bytes: number): void => {
      received += bytes;
      if (served === undefined || received <= served.rules.limitBytes || limited) return;
      limited = true;
      for (const socket of sockets) socket.destroy();
      served.onLimit();
    };
    const checked = async (host: string, port: number): Promise<string> => {
      if (served === undefined) throw new AddressRefused('no session goes out here yet');
      const refusal = refusalOf(host, port, served.rules);
      if (refusal !== undefined) throw new AddressRefused(refusal);
      if (limited) throw new AddressRefused('the session has received all it may');
      return egress.address(host);
    };
    const refused = (host: string, error: unknown): string => {
      const reason = error instanceof Error ? error.message : 'refused';
      served?.onRefused?.(host, reason);
      return reason;
    };

    const server = createServer((request, response) => {
      void forward(request, response).catch((error: unknown) => {
        const reason = refused(request.headers.host ?? '', error);
        if (response.headersSent) response.destroy();
        else response.writeHead(403, { 'content-type': 'text/plain', 'connection': 'close' }).end(`HAL9 did not let this request out: ${reason}\n`);
      });
    });
    const forward = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
      const url = URL.parse(request.url ?? '');
      if (url === null || url.protocol !== 'http:') throw new AddressRefused('only http and https leave');
      const port = url.port === '' ? 80 : Number(url.port);
      const address = await checked(bare(url.hostname), port);
      const { 'proxy-connection': _, 'proxy-authorization': __, ...headers } = request.headers;
      await new Promise<void>((resolve, reject) => {
        const onward = httpRequest({ host: address, port, method: request.method ?? 'GET', path: `${url.pathname}${url.search}`, headers: { ...headers, host: url.host }, agent: false }, (answer) => {
          answer.on('data', (chunk: Buffer) => count(chunk.length));
          response.writeHead(answer.statusCode ?? 502, answer.headers);
          answer.pipe(response);
          answer.once('end', resolve).once('error', reject);
        });
        onward.once('socket', (socket) => {
          track(socket);
          // The time is for connecting only: answers may take theirs, and streams last.
          const timer = setTimeout(() => onward.destroy(new Error('the host does not answer')), CONNECT_MS);
          socket.once('connect', () => clearTimeout(timer)).once('close', () => clearTimeout(timer));
        });
        onward.once('error', reject);
        response.once('close', () => onward.destroy());
        request.pipe(onward);
      });
    };
    const track = (socket: Duplex): void => {
      sockets.add(socket);
      socket.once('close', () => sockets.delete(socket));
    };

    server.on('connect', (request: IncomingMessage, client: Duplex, head: Buffer) => {
      track(client);
      client.on('error', () => client.destroy());
      const { host, port } = authority(request.url ?? '');
      checked(host, port).then(
        (address) => tunnel(client, head, address, port, track, count),
        (error: unknown) => {
          refused(host, error);
          client.end('HTTP/1.1 403 Forbidden\r\nconnection: close\r\n\r\n');
        },
      );
    });
    server.on('connection', track);
    server.on('clientError', (_, socket) => socket.destroy());
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(0, '127.0.0.1', resolve);
    });
    const address = server.address();
    if (address === null || typeof address === 'string') throw new Error('the proxy has no port');
    const serve = (next: ServedSession): void => {
      served = next;
    };
    const close = async (): Promise<void> => {
      for (const socket of sockets) socket.destroy();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    };
    return new EgressProxy(`http://127.0.0.1:${String(address.port)}`, serve, close, () => received);
  }

  /** Lets out what the rules of a session allow. */
  serve(session: ServedSession): void {
    this.#serve(session);
  }

  async close(): Promise<void> {
    await this.#close();
  }
}

function tunnel(client: Duplex, head: Buffer, address: string, port: number, track: (socket: Socket) => void, count: (bytes: number) => void): void {
  const onward = connect({ host: address, port, timeout: CONNECT_MS });
  track(onward);
  onward.once('connect', () => {
    onward.setTimeout(0);
    client.write('HTTP/1.1 200 Connection Established\r\n\r\n');
    if (head.length > 0) onward.write(head);
    onward.on('data', (chunk: Buffer) => count(chunk.length));
    onward.pipe(client);
    client.pipe(onward);
  });
  onward.once('timeout', () => onward.destroy(new Error('the host does not answer')));
  onward.on('error', () => {
    if (onward.connecting || !client.writable) client.destroy();
    else client.end();
  });
  client.once('close', () => onward.destroy());
  onward.once('close', () => client.destroy());
}

function refusalOf(host: string, port: number, { allow, deny }: EgressRules): string | undefined {
  if (host === '' || !Number.isInteger(port)) return 'the address names no host';
  if (REFUSED_PORTS.has(port)) return `port ${String(port)} is not one of the web`;
  if (deny.some((pattern) => hostMatches(host, pattern))) return 'the host is on the deny list of the flow';
  if (allow !== undefined && !allow.some((pattern) => hostMatches(host, pattern))) return 'the host is not on the allow list of the flow';
  return undefined;
}

/** `example.org:443`, `[::1]:443`. */
function authority(text: string): { host: string; port: number } {
  const cut = text.lastIndexOf(':');
  return { host: bare(text.slice(0, cut)), port: Number(text.slice(cut + 1)) };
}

function bare(host: string): string {
  return host.replace(/^\[|\]$/g, '').replace(/\.$/, '');
}
