import { lookup as systemLookup, type LookupAddress, type LookupOptions } from 'node:dns';
import { isIP, type LookupFunction } from 'node:net';
import { callbackify } from 'node:util';
import ipaddr from 'ipaddr.js';
import { Agent, buildConnector, fetch as undiciFetch } from 'undici';

/** An address that calls on behalf of an organisation may not reach. */
export class AddressRefused extends Error {
  override readonly name = 'AddressRefused';
  readonly code = 'EADDRREFUSED';
}

/** As `dns.lookup` with `all: true`. */
export type ResolveAll = (hostname: string, family: 0 | 4 | 6) => Promise<readonly LookupAddress[]>;

export interface EgressOptions {
  /** HAL9_ALLOW_PRIVATE_ADDRESSES: lets calls reach private, loopback and link-local addresses. */
  readonly allowPrivate: boolean;
  /** Default: the operating system's resolver. */
  readonly resolve?: ResolveAll;
  /** Time to connect, TLS included, milliseconds; default 10,000. */
  readonly connectTimeoutMs?: number;
}

export interface EgressRequest {
  readonly method: 'GET' | 'POST' | 'PUT';
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  /** Covers the whole exchange. */
  readonly signal: AbortSignal;
  /** Most bytes of the answer, after decompression; default 1 MiB. */
  readonly limitBytes?: number;
}

export interface EgressAnswer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
}

/** The answer was longer than the caller takes. */
export class AnswerTooLong extends Error {
  override readonly name = 'AnswerTooLong';
}

const DEFAULT_LIMIT = 1024 * 1024;

/**
 * The only door through which calls on behalf of organisations leave. Every socket is opened to an address that was checked
 * in the very lookup the socket uses, so a name that answers differently the second time (DNS rebinding) gains nothing.
 * Redirects are not followed. One per process; `close` it.
 */
export class Egress {
  readonly #allowPrivate: boolean;
  readonly #resolve: ResolveAll;
  readonly #agent: Agent;
  /** For sockets that look their host up themselves; always the whole list, as sockets ask that choose between families. A literal address is never looked up: see {@link permits}. */
  readonly lookup: LookupFunction;

  constructor(options: EgressOptions) {
    this.#allowPrivate = options.allowPrivate;
    this.#resolve = options.resolve ?? resolveBySystem;
    this.lookup = callbackify(async (hostname: string, { family }: LookupOptions) => [...(await this.#addresses(hostname, familyOf(family)))]);
    const connect = buildConnector({ lookup: this.lookup, autoSelectFamily: true, timeout: options.connectTimeoutMs ?? 10_000 });
    this.#agent = new Agent({
      connect: (target, callback) => {
        // A literal address is never looked up.
        const literal = target.hostname.replace(/^\[|\]$/g, '');
        if (isIP(literal) !== 0 && !this.permits(literal)) callback(new AddressRefused('the address is private or reserved'), null);
        else connect(target, callback);
      },
      // Idle connections outlive a lookup; a short life bounds what an old answer can do.
      keepAliveTimeout: 5_000,
      keepAliveMaxTimeout: 30_000,
    });
  }

  /** Whether this literal address may be reached: public unicast, unless private ones are allowed. */
  permits(address: string): boolean {
    return this.#allowPrivate || isPublicAddress(address);
  }

  /**
   * One address of a host, checked; for protocols that open their own socket and must then connect to exactly it.
   * @throws {AddressRefused} when any of its addresses is refused.
   */
  async address(host: string): Promise<string> {
    if (isIP(host) !== 0) {
      if (!this.permits(host)) throw new AddressRefused('the address is private or reserved');
      return host;
    }
    const [first] = await this.#addresses(host, 0);
    if (first === undefined) throw new AddressRefused('the name has no address');
    return first.address;
  }

  /** For libraries that take a `fetch`; same rules. */
  readonly fetch: typeof globalThis.fetch = async (input, init) => {
    const url = typeof input === 'string' ? input : input instanceof URL ? input.href : input.url;
    const response: unknown = await Reflect.apply(undiciFetch, undefined, [url, { ...init, redirect: 'manual', dispatcher: this.#agent }]);
    return assertResponse(response);
  };

  /** As {@link fetch}, for libraries that read the answer themselves: a body beyond the limit fails with {@link AnswerTooLong}. */
  limited(limitBytes: number): typeof globalThis.fetch {
    return async (input, init) => {
      const response = await this.fetch(input, init);
      if (response.body === null) return response;
      let size = 0;
      const counted = response.body.pipeThrough(
        new TransformStream<Uint8Array, Uint8Array>({
          transform(chunk, controller) {
            size += chunk.length;
            if (size > limitBytes) controller.error(new AnswerTooLong(`the answer is longer than ${limitBytes} bytes`));
            else controller.enqueue(chunk);
          },
        }),
      );
      return new Response(counted, { status: response.status, statusText: response.statusText, headers: [...response.headers] });
    };
  }

  /**
   * @throws {AddressRefused | AnswerTooLong} and whatever the network says, as `Error`s; see `explainFailure`.
   */
  async request(url: string, request: EgressRequest): Promise<EgressAnswer> {
    const response = await this.fetch(url, { method: request.method, headers: { 'user-agent': 'HAL9', ...request.headers }, body: request.body ?? null, signal: request.signal });
    return { status: response.status, headers: response.headers, text: await readBounded(response, request.limitBytes ?? DEFAULT_LIMIT) };
  }

  async close(): Promise<void> {
    await this.#agent.destroy();
  }

  async #addresses(hostname: string, family: 0 | 4 | 6): Promise<readonly LookupAddress[]> {
    const addresses = await this.#resolve(hostname, family);
    // One refused address refuses the name: a mixed answer is an attack or a mistake, and Happy Eyeballs would pick either.
    if (addresses.length === 0) throw new AddressRefused('the name has no address');
    if (addresses.some(({ address }) => !this.permits(address))) throw new AddressRefused('the name resolves to a private or reserved address');
    return addresses;
  }
}

/** Public unicast, IPv4 or IPv6; tunnels and translations into IPv4 (mapped, 6to4, Teredo, NAT64) are not. IANA special-purpose registries, by ipaddr.js. */
export function isPublicAddress(address: string): boolean {
  return ipaddr.isValid(address) && ipaddr.parse(address).range() === 'unicast';
}

function familyOf(family: unknown): 0 | 4 | 6 {
  if (family === 4 || family === 'IPv4') return 4;
  return family === 6 || family === 'IPv6' ? 6 : 0;
}

function resolveBySystem(hostname: string, family: 0 | 4 | 6): Promise<LookupAddress[]> {
  return new Promise((resolve, reject) => {
    systemLookup(hostname, { all: true, family }, (error, addresses) => (error === null ? resolve(addresses) : reject(error)));
  });
}

/** undici's own fetch answers with undici's Response, which has everything of the global one. */
function assertResponse(value: unknown): Response {
  if (!isResponse(value)) throw new TypeError('fetch did not answer with a response');
  return value;
}

function isResponse(value: unknown): value is Response {
  return typeof value === 'object' && value !== null && 'status' in value && 'headers' in value && 'arrayBuffer' in value;
}

async function readBounded(response: Response, limit: number): Promise<string> {
  if (response.body === null) return '';
  const chunks: Uint8Array[] = [];
  let size = 0;
  const reader = response.body.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    size += value.length;
    if (size > limit) {
      await reader.cancel();
      throw new AnswerTooLong(`the answer is longer than ${limit} bytes`);
    }
    chunks.push(value);
  }
  return Buffer.concat(chunks, size).toString('utf8');
}
