import type { Memories, Memory } from '../../platform/memory/memories.ts';
import { memoryDraft } from '../../schemas/memories/definition.ts';
import { memoryParams, memoryQuery, memoryView, recalledMemories, sealedMemoryView } from '../../schemas/rest/memories.ts';
import { BY_TIME, pageOfList } from '../page.ts';
import { defineRoute, type AnyRoute } from '../route.ts';

const tag = 'Memory';

/** What neurons and people remember. */
export function createMemoryRoutes({ memories }: { readonly memories: Memories }): AnyRoute[] {
  return [
    defineRoute({
      method: 'post',
      path: '/v1/memories',
      id: 'rememberMemory',
      tag,
      summary: 'Remembers something',
      description: 'Neurons do the same with a decision that starts the operation `memory`.',
      permission: 'memories:write',
      audit: 'memory.write',
      body: memoryDraft,
      responses: { 201: { description: 'The memory.', schema: memoryView } },
      handler: async ({ caller, body }) => {
        const memory = await memories.remember(caller, body);
        return { status: 201, body: view(memory), headers: { Location: `/v1/memories/${memory.id}` } };
      },
    }),
    defineRoute({
      method: 'post',
      path: '/v1/memories/recall',
      id: 'recallMemories',
      tag,
      summary: 'Recalls memories, newest first',
      permission: 'memories:read',
      audit: { none: 'reads; a POST so that the subject is in no address and no log' },
      body: memoryQuery,
      responses: { 200: { description: 'A page of memories, and the weight of all of them.', schema: recalledMemories } },
      handler: async ({ caller, body: { limit, cursor, ...question } }) => {
        let weight = 0;
        const page = await pageOfList({ limit, cursor }, BY_TIME, async (most, before) => {
          const recalled = await memories.recall(caller, question, most, before);
          weight = recalled.weight;
          return recalled.items;
        });
        return { status: 200, body: { items: page.items.map(view), nextCursor: page.nextCursor, weight } };
      },
    }),
    defineRoute({
      method: 'get',
      path: '/v1/memories/:id',
      id: 'getMemory',
      tag,
      summary: 'Reads a memory',
      description: 'With the sealed content, whose SHA-256 is the digest that is anchored.',
      permission: 'memories:read',
      params: memoryParams,
      responses: { 200: { description: 'The memory.', schema: sealedMemoryView } },
      handler: async ({ caller, params }) => {
        const memory = await memories.get(caller, params.id);
        return { status: 200, body: { ...view(memory), sealed: memory.sealed.toString('base64') } };
      },
    }),
    defineRoute({
      method: 'delete',
      path: '/v1/memories/:id',
      id: 'forgetMemory',
      tag,
      summary: 'Forgets a memory',
      description: 'Its digest stays anchored, and says nothing of it.',
      permission: 'memories:write',
      audit: 'memory.forget',
      params: memoryParams,
      responses: { 204: { description: 'It is gone.' } },
      handler: async ({ caller, params }) => {
        await memories.forget(caller, params.id);
        return { status: 204 };
      },
    }),
  ];
}

function view({ id, kind, topic, about, content, weight, digest, writtenBy, createdAt }: Memory) {
  return { id, kind, topic, about, content, weight, digest, writtenBy, createdAt };
}
