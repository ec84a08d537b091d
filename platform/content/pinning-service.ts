import { z } from 'zod';
import type { PinningSettings } from '../../schemas/rest/connections.ts';
import type { Egress } from '../connections/egress.ts';
import { explainFailure, explainStatus } from '../connections/failure.ts';
import { ProviderFailed, type ContentProvider } from './provider.ts';

const ANSWER_LIMIT = 2 * 1024 * 1024 + 65_536;
const CALL_MS = 60_000;

const pinsSchema = z.object({ results: z.array(z.object({ requestid: z.string(), status: z.enum(['queued', 'pinning', 'pinned', 'failed']) })) });

/**
 * A service that pins, by the IPFS Pinning Service API (https://ipfs.github.io/pinning-services-api-spec/), which has no way to read: blocks are read
 * from its trustless gateway (https://specs.ipfs.tech/http-gateways/trustless-gateway/).
 */
export function pinningService(egress: Pick<Egress, 'limited'>, name: string, { url, token, gateway }: PinningSettings): ContentProvider {
  const ask = async (method: string, address: string, headers: Readonly<Record<string, string>>, signal: AbortSignal, body?: unknown): Promise<Buffer> => {
    let response: Response;
    let bytes: Buffer;
    try {
      response = await egress.limited(ANSWER_LIMIT)(address, { method, headers: { ...headers, ...(body === undefined ? {} : { 'content-type': 'application/json' }) }, body: body === undefined ? null : JSON.stringify(body), signal: AbortSignal.any([signal, AbortSignal.timeout(CALL_MS)]) });
      bytes = Buffer.from(await response.arrayBuffer());
    } catch (error) {
      signal.throwIfAborted();
      throw new ProviderFailed(explainFailure(error).message, { cause: error });
    }
    if (response.status < 200 || response.status > 299) throw new ProviderFailed(explainStatus(response.status, new Headers([...response.headers])).message);
    return bytes;
  };
  const service = (method: string, path: string, signal: AbortSignal, body?: unknown) => ask(method, `${url.replace(/\/+$/, '')}${path}`, { authorization: `Bearer ${token}` }, signal, body);
  const pins = async (root: string, status: string, signal: AbortSignal): Promise<z.output<typeof pinsSchema>['results']> => {
    const bytes = await service('GET', `/pins?${new URLSearchParams({ cid: root, status }).toString()}`, signal);
    try {
      return pinsSchema.parse(JSON.parse(bytes.toString('utf8'))).results;
    } catch (error) {
      throw new ProviderFailed('the answer cannot be read', { cause: error });
    }
  };
  return {
    name,
    takesBlocks: false,
    put: () => Promise.reject(new ProviderFailed('a pinning service takes no blocks')),
    pin: async (root, origins, signal) => void (await service('POST', '/pins', signal, { cid: root, origins })),
    // It fetches by itself: what waits in its queue is on its way.
    isPinned: async (root, signal) => (await pins(root, 'queued,pinning,pinned', signal)).length > 0,
    async unpin(root, signal) {
      for (const { requestid } of await pins(root, 'queued,pinning,pinned,failed', signal)) await service('DELETE', `/pins/${encodeURIComponent(requestid)}`, signal);
    },
    read: (cid, signal) => ask('GET', `${gateway.replace(/\/+$/, '')}/ipfs/${cid}?format=raw`, { accept: 'application/vnd.ipld.raw' }, signal),
    origins: () => Promise.resolve([]),
  };
}
