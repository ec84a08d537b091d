import { z } from 'zod';
import type { Connections } from '../../platform/connections/connections.ts';
import { connectionChange, connectionDraft, connectionRotation, connectionView, testQuery } from '../../schemas/rest/connections.ts';
import { pageOf, pageQuery } from '../../schemas/rest/page.ts';
import { BY_NAME, READABLE, pageOfReadable } from '../page.ts';
import { defineRoute, type AnyRoute } from '../route.ts';

const tag = 'Connections';
const params = z.object({ id: z.uuid() });

/** Credentials of the caller's organisation for systems outside. Secrets go in and never come out. */
export function createConnectionRoutes({ connections }: { connections: Connections }): AnyRoute[] {
  return [
    defineRoute({
      method: 'get',
      path: '/v1/connections',
      id: 'listConnections',
      tag,
      summary: 'Lists connections by name',
      permission: 'connections:read',
      access: READABLE,
      query: pageQuery,
      responses: { 200: { description: 'A page of connections, without their secrets.', schema: pageOf(connectionView) } },
      handler: async ({ caller, query }) => ({ status: 200, body: await pageOfReadable(caller, 'connections:read', query, BY_NAME, (limit, after) => connections.list(caller, limit, after)) }),
    }),
    defineRoute({
      method: 'post',
      path: '/v1/connections',
      id: 'createConnection',
      tag,
      summary: 'Creates a connection',
      description: 'Uses it once before saving: signs in to the mail server, lists the models, posts a test event, and so on. One that does not work is not saved; `?test=false` saves it untested.',
      permission: 'connections:write',
      audit: 'connection.create',
      query: testQuery,
      body: connectionDraft,
      responses: { 201: { description: 'The connection, without its secrets.', schema: connectionView } },
      handler: async ({ caller, query, body, signal }) => ({ status: 201, body: await connections.create(caller, body, { test: query.test === 'true', signal }) }),
    }),
    defineRoute({
      method: 'get',
      path: '/v1/connections/:id',
      id: 'getConnection',
      tag,
      summary: 'Reads a connection',
      permission: 'connections:read',
      params,
      responses: { 200: { description: 'The connection, without its secrets.', schema: connectionView } },
      handler: async ({ caller, params: { id } }) => ({ status: 200, body: await connections.get(caller, id) }),
    }),
    defineRoute({
      method: 'put',
      path: '/v1/connections/:id',
      id: 'replaceConnection',
      tag,
      summary: 'Replaces the settings of a connection',
      permission: 'connections:write',
      audit: 'connection.replace',
      params,
      query: testQuery,
      body: connectionChange,
      responses: { 200: { description: 'The connection at its next version.', schema: connectionView } },
      handler: async ({ caller, params: { id }, query, body, signal }) => ({ status: 200, body: await connections.replace(caller, id, body, { test: query.test === 'true', signal }) }),
    }),
    defineRoute({
      method: 'post',
      path: '/v1/connections/:id/rotate',
      id: 'rotateConnection',
      tag,
      summary: 'Exchanges secrets of a connection',
      description: 'The settings that are sent replace theirs, the others stay. Calls under way end with the old ones. An empty body seals the same settings with the current master key.',
      permission: 'connections:write',
      audit: 'connection.rotate',
      params,
      query: testQuery,
      body: connectionRotation,
      responses: { 200: { description: 'The connection at its next version.', schema: connectionView } },
      handler: async ({ caller, params: { id }, query, body, signal }) => ({ status: 200, body: await connections.rotate(caller, id, body.settings, { test: query.test === 'true', signal }) }),
    }),
    defineRoute({
      method: 'post',
      path: '/v1/connections/:id/test',
      id: 'testConnection',
      tag,
      summary: 'Tests a connection now',
      permission: 'connections:write',
      audit: 'connection.test',
      params,
      responses: { 200: { description: 'The connection; `state` and `lastFailure` say what the test found.', schema: connectionView } },
      handler: async ({ caller, params: { id }, signal }) => ({ status: 200, body: await connections.test(caller, id, signal) }),
    }),
    defineRoute({
      method: 'delete',
      path: '/v1/connections/:id',
      id: 'deleteConnection',
      tag,
      summary: 'Deletes a connection',
      description: 'What uses it by name fails from now on. The record of deliveries stays.',
      permission: 'connections:write',
      audit: 'connection.delete',
      params,
      responses: { 204: { description: 'It is gone.' } },
      async handler({ caller, params: { id } }) {
        await connections.remove(caller, id);
        return { status: 204 };
      },
    }),
  ];
}
