import { once } from 'node:events';
import { z } from 'zod';
import type { Content, Contents } from '../../platform/content/contents.ts';
import { HalError } from '../../schemas/errors.ts';
import { CONTENT_BYTES, contentParams, contentView } from '../../schemas/rest/contents.ts';
import { pageOf, pageQuery } from '../../schemas/rest/page.ts';
import { BY_TIME, pageOfList } from '../page.ts';
import { defineRoute, type AnyRoute } from '../route.ts';

const tag = 'Content';
/** RFC 9110, without parameters. */
const MEDIA_TYPE = /^[a-z0-9!#$&^_.+-]{1,80}\/[a-z0-9!#$&^_.+-]{1,80}$/;

/** Content that is kept sealed by providers of IPFS. */
export function createContentRoutes({ contents }: { readonly contents: Contents }): AnyRoute[] {
  return [
    defineRoute({
      method: 'post',
      path: '/v1/contents',
      id: 'addContent',
      tag,
      summary: 'Keeps content, sealed, with every provider of IPFS',
      description: 'Up to 100 MB (100,000,000 bytes). Providers are the connections of the kinds `ipfs` and `pinning`; without one of kind `ipfs` HAL9 keeps it itself. Answered once one at least keeps all of it.',
      permission: 'contents:write',
      audit: 'content.add',
      timeoutMs: 0,
      headers: { 'HAL9-Subject': 'Whom it is about, `kind:value`: their key seals it, and an erasure destroys that.' },
      rawBody: { '*/*': z.unknown() },
      responses: { 201: { description: 'What is kept, and by whom.', schema: contentView } },
      handler: async ({ caller, request, signal }) => {
        if (Number(request.headers['content-length'] ?? 0) > CONTENT_BYTES) throw new HalError('BodyTooLarge', `content has ${String(CONTENT_BYTES)} bytes at most`);
        const [type = ''] = (request.headers['content-type'] ?? '').toLowerCase().split(';', 1);
        const subject = request.headers['hal9-subject'];
        const content = await contents.add(caller, { mediaType: MEDIA_TYPE.test(type.trim()) ? type.trim() : 'application/octet-stream', subject: typeof subject === 'string' ? subject : undefined }, request.iterator({ destroyOnReturn: false }), signal);
        return { status: 201, body: view(content), headers: { Location: `/v1/contents/${content.id}` } };
      },
    }),
    defineRoute({
      method: 'get',
      path: '/v1/contents',
      id: 'listContents',
      tag,
      summary: 'Lists content, newest first',
      permission: 'contents:read',
      query: pageQuery,
      responses: { 200: { description: 'A page of content.', schema: pageOf(contentView) } },
      handler: async ({ caller, query }) => {
        const { items, nextCursor } = await pageOfList(query, BY_TIME, (limit, before) => contents.list(caller, limit, before));
        return { status: 200, body: { items: items.map(view), nextCursor } };
      },
    }),
    defineRoute({
      method: 'get',
      path: '/v1/contents/:id',
      id: 'getContent',
      tag,
      summary: 'Says who keeps content',
      permission: 'contents:read',
      params: contentParams,
      responses: { 200: { description: 'What is kept, and by whom.', schema: contentView } },
      handler: async ({ caller, params }) => ({ status: 200, body: view(await contents.get(caller, params.id)) }),
    }),
    defineRoute({
      method: 'get',
      path: '/v1/contents/:id/bytes',
      id: 'readContent',
      tag,
      summary: 'Reads content',
      description: 'Each block comes from a provider that has it and is checked; an answer that breaks off is not whole, and shorter than its Content-Length.',
      permission: 'contents:read',
      timeoutMs: 0,
      params: contentParams,
      responses: { 200: { description: 'The content in the clear.', contentType: 'application/octet-stream' } },
      handler: async ({ caller, params, response, signal }) => {
        const { bytes } = await contents.get(caller, params.id);
        const blocks = contents.read(caller, params.id, signal)[Symbol.asyncIterator]();
        // A failure of the first block can still be told as one.
        let block = await blocks.next();
        response.writeHead(200, { 'Content-Type': 'application/octet-stream', 'Content-Length': String(bytes), 'Content-Disposition': 'attachment', 'Cache-Control': 'no-store' });
        for (; block.done !== true; block = await blocks.next()) {
          if (!response.write(block.value)) await Promise.race([once(response, 'drain'), once(response, 'close')]);
          if (response.closed) return;
        }
        response.end();
      },
    }),
    defineRoute({
      method: 'post',
      path: '/v1/contents/:id/repair',
      id: 'repairContent',
      tag,
      summary: 'Has providers keep content again that lost it',
      description: 'Looks at every provider, also those whose connection was made since.',
      permission: 'contents:write',
      audit: 'content.repair',
      timeoutMs: 0,
      params: contentParams,
      responses: { 200: { description: 'Who keeps it now.', schema: contentView } },
      handler: async ({ caller, params, signal }) => ({ status: 200, body: view(await contents.repair(caller, params.id, signal)) }),
    }),
    defineRoute({
      method: 'delete',
      path: '/v1/contents/:id',
      id: 'removeContent',
      tag,
      summary: 'Removes content',
      description: 'Providers that do not answer now may go on keeping what is sealed.',
      permission: 'contents:write',
      audit: 'content.remove',
      timeoutMs: 0,
      params: contentParams,
      responses: { 204: { description: 'It is gone.' } },
      handler: async ({ caller, params, signal }) => {
        await contents.remove(caller, params.id, signal);
        return { status: 204 };
      },
    }),
  ];
}

function view({ id, mediaType, bytes, root, blocks, about, pins, writtenBy, createdAt }: Content) {
  return { id, mediaType, bytes, root, blocks, about, pins: [...pins], writtenBy, createdAt };
}
