import { z } from 'zod';
import type { PinningSettings } from '../../schemas/rest/connections.ts';
import type { Egress } from '../connections/egress.ts';
import { bytesOf, exchange, valueOf, type ProviderAnswer } from './exchange.ts';
import { ProviderFailed, type ContentProvider } from './provider.ts';

const pinsSchema = z.object({ results: z.array(z.object({ requestid: z.string(), status: z.enum(['queued', 'pinning', 'pinned', 'failed']) })) });

/**
 * A service that pins, by the IPFS Pinning Service API (https://ipfs.github.io/pinning-services-api-spec/), which has no way to read: blocks are read
 * from its trustless gateway (https://specs.ipfs.tech/http-gateways/trustless-gateway/).
 */
export function pinningService(egress: Pick<Egress, 'limited'>, name: string, { url, token, gateway }: PinningSettings): ContentProvider {
  const service = (method: string, path: string, signal: AbortSignal, body?: unknown): Promise<ProviderAnswer> =>
    exchange(egress, `${url.replace(/\/+$/, '')}${path}`, { method, headers: { authorization: `Bearer ${token}`, ...(body === undefined ? {} : { 'content-type': 'application/json' }) }, body: body === undefined ? null : JSON.stringify(body) }, signal);
  const pins = async (root: string, status: string, signal: AbortSignal): Promise<z.output<typeof pinsSchema>['results']> =>
    valueOf(pinsSchema, await service('GET', `/pins?${new URLSearchParams({ cid: root, status }).toString()}`, signal)).results;
  return {
    name,
    takesBlocks: false,
    isReachable: false,
    put: () => Promise.reject(new ProviderFailed('a pinning service takes no blocks')),
    pin: async (root, origins, signal) => void bytesOf(await service('POST', '/pins', signal, { cid: root, origins })),
    // It fetches by itself: what waits in its queue is on its way.
    isPinned: async (root, signal) => (await pins(root, 'queued,pinning,pinned', signal)).length > 0,
    async unpin(root, _, signal) {
      for (const { requestid } of await pins(root, 'queued,pinning,pinned,failed', signal)) bytesOf(await service('DELETE', `/pins/${encodeURIComponent(requestid)}`, signal));
    },
    read: async (cid, signal) => bytesOf(await exchange(egress, `${gateway.replace(/\/+$/, '')}/ipfs/${cid}?format=raw`, { method: 'GET', headers: { accept: 'application/vnd.ipld.raw' } }, signal)),
    origins: () => Promise.resolve([]),
  };
}
