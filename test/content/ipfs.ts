import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { blockOf, type Codec } from '../../platform/content/cid.ts';

/** A node that speaks Kubo's RPC, with the blocks it holds. */
export interface KuboNode {
  readonly url: string;
  readonly blocks: Map<string, Buffer>;
  readonly pins: Set<string>;
  /** Answers `block/get` with other bytes. */
  lies: boolean;
  /** Requests it answers before it dies, sockets and all; undefined for ever. */
  left: number | undefined;
  close(): Promise<void>;
}

export async function startKubo(): Promise<KuboNode> {
  const { url, close, cut } = await serve(async (request, response) => {
    if (node.left !== undefined && node.left-- <= 0) return cut();
    const { pathname, searchParams } = new URL(request.url ?? '', 'http://node');
    const arg = searchParams.get('arg') ?? '';
    const body = await bodyOf(request);
    const says = (status: number, answer: unknown): void => void response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(answer));
    const fails = (Message: string): void => says(500, { Message, Code: 0, Type: 'error' });
    if (request.method !== 'POST') return says(405, {});
    switch (pathname) {
      case '/api/v0/version': return says(200, { Version: '0.38.0' });
      case '/api/v0/id': return says(200, { ID: 'node', Addresses: ['/ip4/127.0.0.1/tcp/4001/p2p/node'] });
      case '/api/v0/block/put': {
        const { cid, bytes } = blockOf(searchParams.get('cid-codec') as Codec, partOf(request, body));
        if (bytes.length > 1_048_576) return fails('produced block is over 1MiB: big blocks can\'t be exchanged with other peers. consider using UnixFS for automatic chunking of bigger files, or pass --allow-big-block to override');
        node.blocks.set(cid, Buffer.from(bytes));
        return says(200, { Key: cid, Size: bytes.length });
      }
      case '/api/v0/block/get': {
        const block = node.blocks.get(arg);
        return block === undefined ? fails(`block was not found locally (offline): ipld: could not find ${arg}`) : void response.writeHead(200).end(node.lies ? Buffer.from('other') : block);
      }
      case '/api/v0/pin/add': {
        const root = node.blocks.get(arg);
        if (root === undefined) return fails(`pin: block was not found locally (offline): ipld: could not find ${arg}`);
        const missing = (JSON.parse(root.toString()) as { blocks: { '/': string }[] }).blocks.find((link) => !node.blocks.has(link['/']));
        if (missing !== undefined) return fails(`pin: block was not found locally (offline): ipld: could not find ${missing['/']}`);
        node.pins.add(arg);
        return says(200, { Pins: [arg] });
      }
      case '/api/v0/pin/ls': return node.pins.has(arg) ? says(200, { Keys: { [arg]: { Type: 'recursive' } } }) : fails(`path '${arg}' is not pinned`);
      case '/api/v0/pin/rm': return node.pins.delete(arg) ? says(200, { Pins: [arg] }) : fails('not pinned or pinned indirectly');
      default: return says(404, {});
    }
  });
  const node: KuboNode = { url, blocks: new Map(), pins: new Set(), lies: false, left: undefined, close };
  return node;
}

/** A service that speaks the Pinning Service API and a trustless gateway, and fetches from these nodes. */
export interface PinningService {
  readonly url: string;
  readonly pins: Map<string, { readonly cid: string; readonly origins: readonly string[] }>;
  close(): Promise<void>;
}

export async function startPinningService(token: string, nodes: readonly KuboNode[]): Promise<PinningService> {
  const blocks = new Map<string, Buffer>();
  const pins: PinningService['pins'] = new Map();
  let requests = 0;
  const { url, close } = await serve(async (request, response) => {
    const { pathname, searchParams } = new URL(request.url ?? '', 'http://service');
    const says = (status: number, answer: unknown): void => void response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(answer));
    const gateway = /^\/ipfs\/([a-z0-9]+)$/.exec(pathname)?.[1];
    if (gateway !== undefined) {
      const block = searchParams.get('format') === 'raw' ? blocks.get(gateway) : undefined;
      return block === undefined ? says(404, {}) : void response.writeHead(200, { 'content-type': 'application/vnd.ipld.raw' }).end(block);
    }
    if (request.headers.authorization !== `Bearer ${token}`) return says(401, { error: { reason: 'UNAUTHORIZED' } });
    const body = await bodyOf(request);
    if (request.method === 'POST' && pathname === '/pins') {
      const pin = JSON.parse(body.toString()) as { cid: string; origins: string[] };
      const requestid = String((requests += 1));
      pins.set(requestid, pin);
      for (const node of nodes) for (const [cid, bytes] of node.blocks) blocks.set(cid, bytes);
      return says(202, { requestid, status: 'queued', created: new Date(0).toISOString(), pin, delegates: [] });
    }
    if (request.method === 'GET' && pathname === '/pins') {
      const results = [...pins].filter(([, { cid }]) => cid === searchParams.get('cid')).map(([requestid, pin]) => ({ requestid, status: 'pinned', created: new Date(0).toISOString(), pin, delegates: [] }));
      return says(200, { count: results.length, results });
    }
    if (request.method === 'DELETE') return pins.delete(pathname.replace('/pins/', '')) ? void response.writeHead(202).end() : says(404, {});
    return says(404, {});
  });
  return { url, pins, close };
}

async function serve(answer: (request: IncomingMessage, response: ServerResponse) => Promise<void>): Promise<{ url: string; close: () => Promise<void>; cut: () => void }> {
  const server = createServer((request, response) => void answer(request, response));
  // Never closes a socket that idles: it might be used again just then.
  server.keepAliveTimeout = 0;
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const close = (): Promise<void> => new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
  return { url: `http://127.0.0.1:${String(port)}`, close, cut: () => void close() };
}

async function bodyOf(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

/** The one part of a multipart body. */
function partOf(request: IncomingMessage, body: Buffer): Buffer {
  const boundary = /boundary=(.+)$/.exec(request.headers['content-type'] ?? '')?.[1] ?? '';
  return body.subarray(body.indexOf('\r\n\r\n') + 4, body.lastIndexOf(`\r\n--${boundary}--`));
}
