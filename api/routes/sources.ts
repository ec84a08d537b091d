import type { BrokerDeadLetter, StoredSource } from '../../database/broker-sources.ts';
import type { Sources } from '../../platform/brokers/sources.ts';
import { sourceDraftSchema } from '../../schemas/brokers/definition.ts';
import { pageOf, pageQuery } from '../../schemas/rest/page.ts';
import { sourceLetterParams, sourceLetterView, sourceParams, sourceView } from '../../schemas/rest/sources.ts';
import { BY_DRAFT_NAME, BY_TIME, READABLE, pageOfList, pageOfReadable } from '../page.ts';
import { IF_MATCH, ifMatch } from '../if-match.ts';
import { defineRoute, type AnyRoute } from '../route.ts';

const tag = 'Sources';
const found = { 200: { description: 'The source.', schema: sourceView } };

/** Sources: queues of brokers whose messages become signals. */
export function createSourceRoutes({ sources }: { sources: Sources }): AnyRoute[] {
  return [
    defineRoute({
      method: 'get',
      path: '/v1/sources',
      id: 'listSources',
      tag,
      summary: 'Lists sources by name',
      permission: 'sources:read',
      access: READABLE,
      query: pageQuery,
      responses: { 200: { description: 'A page of sources.', schema: pageOf(sourceView) } },
      handler: async ({ caller, query }) => {
        const { items, nextCursor } = await pageOfReadable(caller, 'sources:read', query, BY_DRAFT_NAME, (limit, after) => sources.list(caller, limit, after));
        return { status: 200, body: { items: items.map(view), nextCursor } };
      },
    }),
    defineRoute({
      method: 'post',
      path: '/v1/sources',
      id: 'createSource',
      tag,
      summary: 'Creates a source',
      description: 'Its messages become signals of the source `/sources/{id}` within seconds.',
      permission: 'sources:write',
      audit: 'source.create',
      body: sourceDraftSchema,
      responses: { 201: { description: 'The source.', schema: sourceView } },
      handler: async ({ caller, body }) => {
        const source = await sources.create(caller, body);
        return { status: 201, body: view(source), headers: { ...etag(source), Location: `/v1/sources/${source.id}` } };
      },
    }),
    defineRoute({
      method: 'get',
      path: '/v1/sources/:id',
      id: 'getSource',
      tag,
      summary: 'Reads a source and how it stands',
      permission: 'sources:read',
      params: sourceParams,
      responses: found,
      handler: async ({ caller, params }) => answer(await sources.get(caller, params.id)),
    }),
    defineRoute({
      method: 'put',
      path: '/v1/sources/:id',
      id: 'replaceSource',
      tag,
      summary: 'Replaces a source',
      description: 'Its consumer begins anew. With `If-Match: "<version>"` only if nobody changed it meanwhile.',
      permission: 'sources:write',
      audit: 'source.update',
      params: sourceParams,
      headers: IF_MATCH,
      body: sourceDraftSchema,
      responses: found,
      handler: async ({ caller, params, body, request }) => answer(await sources.replace(caller, params.id, ifMatch(request.headers['if-match']), body)),
    }),
    defineRoute({
      method: 'delete',
      path: '/v1/sources/:id',
      id: 'deleteSource',
      tag,
      summary: 'Removes a source and its dead letters',
      description: 'Messages that were not acknowledged stay in the queue.',
      permission: 'sources:write',
      audit: 'source.delete',
      params: sourceParams,
      responses: { 204: { description: 'It is gone.' } },
      handler: async ({ caller, params }) => {
        await sources.remove(caller, params.id);
        return { status: 204 };
      },
    }),
    defineRoute({
      method: 'get',
      path: '/v1/sources/:id/dead-letters',
      id: 'listSourceDeadLetters',
      tag,
      summary: 'Lists messages that were no signals, newest first',
      permission: 'sources:read',
      params: sourceParams,
      query: pageQuery,
      responses: { 200: { description: 'A page of dead letters, without their bodies.', schema: pageOf(sourceLetterView) } },
      handler: async ({ caller, params, query }) => {
        const { items, nextCursor } = await pageOfList(query, BY_TIME, (limit, before) => sources.deadLetters(caller, params.id, limit, before));
        return { status: 200, body: { items: items.map(letter), nextCursor } };
      },
    }),
    defineRoute({
      method: 'post',
      path: '/v1/sources/:id/dead-letters/:letterId/replay',
      id: 'replaySourceDeadLetter',
      tag,
      summary: 'Takes a dead letter in with the mapping of today',
      permission: 'sources:write',
      audit: 'source.replay',
      params: sourceLetterParams,
      responses: { 204: { description: 'It is a signal now.' } },
      handler: async ({ caller, params }) => {
        await sources.replay(caller, params.id, params.letterId);
        return { status: 204 };
      },
    }),
  ];
}

function view({ id, version, draft, state, lastFailure, lastMessageAt, received, createdAt, updatedAt }: StoredSource) {
  return { ...draft, id, version, state, lastFailure, lastMessageAt, received, createdAt, updatedAt };
}

function letter({ id, cause, bytes, createdAt, replayedAt }: BrokerDeadLetter) {
  return { id, cause, bytes, createdAt, replayedAt };
}

function answer(source: StoredSource) {
  return { status: 200, body: view(source), headers: etag(source) };
}

function etag({ version }: StoredSource): Record<string, string> {
  return { etag: `"${String(version)}"` };
}
