import { FormData } from 'undici';
import { z } from 'zod';
import type { IpfsSettings } from '../../schemas/rest/connections.ts';
import type { Egress } from '../connections/egress.ts';
import { bytesOf, exchange, valueOf, type ProviderAnswer } from './exchange.ts';
import { ProviderFailed, type ContentProvider } from './provider.ts';

const MOST_ORIGINS = 20;
/** A node closes sockets that idle, maybe just as one is used again; every call may be repeated. */
const ATTEMPTS = 3;

const idSchema = z.object({ Addresses: z.array(z.string()).nullable() });
const keySchema = z.object({ Key: z.string() });

/** A node by Kubo's RPC (https://docs.ipfs.tech/reference/kubo/rpc/). */
export function kubo(egress: Pick<Egress, 'limited'>, name: string, { url, headers }: IpfsSettings): ContentProvider {
  const call = (path: string, query: Readonly<Record<string, string>>, signal: AbortSignal, body: FormData | null = null): Promise<ProviderAnswer> =>
    exchange(egress, `${url.replace(/\/+$/, '')}/api/v0/${path}?${new URLSearchParams(query).toString()}`, { method: 'POST', headers, body }, signal, ATTEMPTS);
  /** Kubo answers 500 to whatever goes wrong, with its words: they say nothing that we sent but identifiers. */
  const says = ({ status, bytes }: ProviderAnswer, words: string): boolean => status === 500 && bytes.toString('utf8').includes(words);
  return {
    name,
    takesBlocks: true,
    isReachable: true,
    async put({ cid, codec, bytes }, signal) {
      const form = new FormData();
      form.set('data', new Blob([Uint8Array.from(bytes)]), 'block');
      const { Key } = valueOf(keySchema, await call('block/put', { 'cid-codec': codec, 'mhtype': 'sha2-256', 'pin': 'false' }, signal, form));
      if (Key !== cid) throw new ProviderFailed('the node calls the block otherwise than it is called');
    },
    pin: async (root, _, signal) => void bytesOf(await call('pin/add', { arg: root, recursive: 'true', progress: 'false' }, signal)),
    async isPinned(root, signal) {
      const answer = await call('pin/ls', { arg: root, type: 'recursive' }, signal);
      if (says(answer, 'is not pinned')) return false;
      bytesOf(answer);
      return true;
    },
    async unpin(root, _, signal) {
      const answer = await call('pin/rm', { arg: root, recursive: 'true' }, signal);
      if (!says(answer, 'not pinned')) bytesOf(answer);
    },
    // What it lost it would look for among its peers, for as long as it may; others that have it are asked instead.
    read: async (cid, signal) => bytesOf(await call('block/get', { arg: cid, offline: 'true' }, signal)),
    origins: async (signal) => (valueOf(idSchema, await call('id', {}, signal)).Addresses ?? []).slice(0, MOST_ORIGINS),
  };
}
