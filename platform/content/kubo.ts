import { z } from 'zod';
import type { IpfsSettings } from '../../schemas/rest/connections.ts';
import type { Egress } from '../connections/egress.ts';
import { explainFailure, explainStatus } from '../connections/failure.ts';
import { ProviderFailed, type ContentProvider } from './provider.ts';

/** Longest answer, bytes: a block is 2 MiB at most. */
const ANSWER_LIMIT = 2 * 1024 * 1024 + 65_536;
/** Time of one call, milliseconds. Pinning waits until every block is there. */
const CALL_MS = 60_000;
const MOST_ORIGINS = 20;
const ATTEMPTS = 3;

const idSchema = z.object({ Addresses: z.array(z.string()).nullable() });
const keySchema = z.object({ Key: z.string() });

/** A node by Kubo's RPC (https://docs.ipfs.tech/reference/kubo/rpc/). */
export function kubo(egress: Pick<Egress, 'limited'>, name: string, { url, headers }: IpfsSettings): ContentProvider {
  const call = async (path: string, query: Readonly<Record<string, string>>, signal: AbortSignal, block?: Uint8Array): Promise<{ status: number; bytes: Buffer }> => {
    const boundary = 'hal9-block';
    const body = block === undefined ? null : Buffer.concat([Buffer.from(`--${boundary}\r\nContent-Disposition: form-data; name="data"; filename="block"\r\nContent-Type: application/octet-stream\r\n\r\n`), block, Buffer.from(`\r\n--${boundary}--\r\n`)]);
    for (let attempt = 1; ; attempt += 1) try {
      const response = await egress.limited(ANSWER_LIMIT)(`${url.replace(/\/+$/, '')}/api/v0/${path}?${new URLSearchParams(query).toString()}`, {
        method: 'POST',
        headers: { ...headers, ...(block === undefined ? {} : { 'content-type': `multipart/form-data; boundary=${boundary}` }) },
        body,
        signal: AbortSignal.any([signal, AbortSignal.timeout(CALL_MS)]),
      });
      return { status: response.status, bytes: Buffer.from(await response.arrayBuffer()) };
    } catch (error) {
      signal.throwIfAborted();
      const { message, retryable } = explainFailure(error);
      // A node closes sockets that idle, maybe just as one is used again; every call may be repeated.
      if (attempt === ATTEMPTS || !retryable) throw new ProviderFailed(message, { cause: error });
    }
  };
  /** Kubo answers 500 to whatever goes wrong, with its words: they say nothing that we sent but identifiers. */
  const done = ({ status, bytes }: { status: number; bytes: Buffer }): Buffer => {
    if (status === 200) return bytes;
    throw new ProviderFailed(explainStatus(status, new Headers()).message);
  };
  const says = ({ status, bytes }: { status: number; bytes: Buffer }, words: string): boolean => status === 500 && bytes.toString('utf8').includes(words);
  return {
    name,
    takesBlocks: true,
    async put({ cid, codec, bytes }, signal) {
      const { Key } = answerOf(keySchema, done(await call('block/put', { 'cid-codec': codec, 'mhtype': 'sha2-256', 'pin': 'false' }, signal, bytes)));
      if (Key !== cid) throw new ProviderFailed('the node calls the block otherwise than it is called');
    },
    pin: async (root, _, signal) => void done(await call('pin/add', { arg: root, recursive: 'true', progress: 'false' }, signal)),
    async isPinned(root, signal) {
      const answer = await call('pin/ls', { arg: root, type: 'recursive' }, signal);
      if (says(answer, 'is not pinned')) return false;
      done(answer);
      return true;
    },
    async unpin(root, signal) {
      const answer = await call('pin/rm', { arg: root, recursive: 'true' }, signal);
      if (!says(answer, 'not pinned')) done(answer);
    },
    read: async (cid, signal) => done(await call('block/get', { arg: cid }, signal)),
    origins: async (signal) => (answerOf(idSchema, done(await call('id', {}, signal))).Addresses ?? []).slice(0, MOST_ORIGINS),
  };
}

function answerOf<Schema extends z.ZodType>(schema: Schema, bytes: Buffer): z.output<Schema> {
  try {
    return schema.parse(JSON.parse(bytes.toString('utf8')));
  } catch (error) {
    throw new ProviderFailed('the answer cannot be read', { cause: error });
  }
}
