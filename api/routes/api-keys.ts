import { z } from 'zod';
import type { ApiKey, ApiKeys, CreatedApiKey } from '../../platform/identity/api-keys.ts';
import { apiKeyDraft, apiKeyRotation, apiKeyView, createdApiKey } from '../../schemas/rest/api-keys.ts';
import { pageOf, pageQuery } from '../../schemas/rest/page.ts';
import { BY_TIME, pageOfList } from '../page.ts';
import { defineRoute, type AnyRoute } from '../route.ts';

const keyParams = z.object({ id: z.uuid() });

/** Keys of the caller's organisation. */
export function createApiKeyRoutes({ apiKeys }: { apiKeys: ApiKeys }): AnyRoute[] {
  return [
    defineRoute({
      method: 'get',
      path: '/v1/api-keys',
      id: 'listApiKeys',
      tag: 'API keys',
      summary: 'Lists API keys, newest first',
      permission: 'api-keys:read',
      query: pageQuery,
      responses: { 200: { description: 'A page of keys, without their secrets.', schema: pageOf(apiKeyView) } },
      async handler({ caller, query }) {
        const { items, nextCursor } = await pageOfList(query, BY_TIME, (limit, after) => apiKeys.list(caller, limit, after));
        return { status: 200, body: { items: items.map(view), nextCursor } };
      },
    }),
    defineRoute({
      method: 'post',
      path: '/v1/api-keys',
      id: 'createApiKey',
      tag: 'API keys',
      summary: 'Creates an API key',
      description: 'The new key cannot grant more than its creator has, a person without conditions, and stops with the person who made it. Its secret is in this answer and nowhere else.',
      permission: 'api-keys:write',
      audit: 'api-key.create',
      stepUp: true,
      body: apiKeyDraft,
      responses: { 201: { description: 'The key with its secret.', schema: createdApiKey } },
      handler: async ({ caller, body }) => created(await apiKeys.create(caller, body)),
    }),
    defineRoute({
      method: 'get',
      path: '/v1/api-keys/:id',
      id: 'getApiKey',
      tag: 'API keys',
      summary: 'Reads an API key',
      permission: 'api-keys:read',
      params: keyParams,
      responses: { 200: { description: 'The key without its secret.', schema: apiKeyView } },
      handler: async ({ caller, params }) => ({ status: 200, body: view(await apiKeys.get(caller, params.id)) }),
    }),
    defineRoute({
      method: 'delete',
      path: '/v1/api-keys/:id',
      id: 'revokeApiKey',
      tag: 'API keys',
      summary: 'Revokes an API key',
      description: 'It stops within a second in every process. Revoking again changes nothing.',
      permission: 'api-keys:write',
      audit: 'api-key.revoke',
      params: keyParams,
      responses: { 200: { description: 'The revoked key.', schema: apiKeyView } },
      handler: async ({ caller, params }) => ({ status: 200, body: view(await apiKeys.revoke(caller, params.id)) }),
    }),
    defineRoute({
      method: 'post',
      path: '/v1/api-keys/:id/rotate',
      id: 'rotateApiKey',
      tag: 'API keys',
      summary: 'Replaces an API key',
      description: 'Answers a new key with the same name, scopes and expiry. The old one works on for `overlapSeconds`, then expires.',
      permission: 'api-keys:write',
      audit: 'api-key.rotate',
      stepUp: true,
      params: keyParams,
      body: apiKeyRotation.prefault({}),
      responses: { 201: { description: 'The successor with its secret.', schema: createdApiKey } },
      handler: async ({ caller, params, body }) => created(await apiKeys.rotate(caller, params.id, body.overlapSeconds)),
    }),
  ];
}

function created({ key, secret }: CreatedApiKey) {
  return { status: 201, body: { ...view(key), secret }, headers: { Location: `/v1/api-keys/${key.id}` } };
}

function view(key: ApiKey) {
  return { id: key.id, name: key.name, prefix: key.prefix, scopes: key.scopes, createdAt: key.createdAt, expiresAt: key.expiresAt, revokedAt: key.revokedAt, lastUsedAt: key.lastUsedAt, createdByUser: key.createdBy?.userId ?? null };
}
