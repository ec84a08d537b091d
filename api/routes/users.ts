import { z } from 'zod';
import type { User, Users } from '../../platform/identity/users.ts';
import { pageOf } from '../../schemas/rest/page.ts';
import { userChange, userDraft, userQuery, userView } from '../../schemas/rest/users.ts';
import { BY_TIME, pageOfList } from '../page.ts';
import { defineRoute, type AnyRoute } from '../route.ts';

const userParams = z.object({ id: z.uuid() });

/** People of the organisation. */
export function createUserRoutes({ users }: { users: Users }): AnyRoute[] {
  return [
    defineRoute({
      method: 'get',
      path: '/v1/users',
      id: 'listUsers',
      tag: 'Users',
      summary: 'Lists users, oldest first',
      permission: 'users:read',
      query: userQuery,
      responses: { 200: { description: 'A page of users.', schema: pageOf(userView) } },
      async handler({ caller, query: { limit: size, cursor, ...filter } }) {
        const { items, nextCursor } = await pageOfList({ limit: size, cursor }, BY_TIME, (limit, after) => users.list(caller, filter, limit, after));
        return { status: 200, body: { items: items.map(view), nextCursor } };
      },
    }),
    defineRoute({
      method: 'post',
      path: '/v1/users',
      id: 'createUser',
      tag: 'Users',
      summary: 'Creates a user',
      description: 'Without a password and without roles: an invitation with `userId` lets them choose one, or they sign in by an identity provider.',
      permission: 'users:write',
      audit: 'user.create',
      body: userDraft,
      responses: { 201: { description: 'The user.', schema: userView } },
      async handler({ caller, body }) {
        const user = await users.create(caller, body);
        return { status: 201, body: view(user), headers: { Location: `/v1/users/${user.id}` } };
      },
    }),
    defineRoute({
      method: 'get',
      path: '/v1/users/:id',
      id: 'getUser',
      tag: 'Users',
      summary: 'Reads a user',
      permission: 'users:read',
      params: userParams,
      responses: { 200: { description: 'The user.', schema: userView } },
      handler: async ({ caller, params }) => ({ status: 200, body: view(await users.get(caller, params.id)) }),
    }),
    defineRoute({
      method: 'patch',
      path: '/v1/users/:id',
      id: 'changeUser',
      tag: 'Users',
      summary: 'Changes a user',
      description: 'Only what is given. A new address is unverified. Nobody changes a person who may do more than they.',
      permission: 'users:write',
      audit: 'user.change',
      stepUp: true,
      params: userParams,
      body: userChange,
      responses: { 200: { description: 'The user.', schema: userView } },
      handler: async ({ caller, params, body }) => ({ status: 200, body: view(await users.change(caller, params.id, body)) }),
    }),
    defineRoute({
      method: 'post',
      path: '/v1/users/:id/deactivate',
      id: 'deactivateUser',
      tag: 'Users',
      summary: 'Deactivates a user',
      description: 'Their sessions and API keys stop within a second in every process, and invitations they sent are revoked. The last owner stays.',
      permission: 'users:write',
      audit: 'user.deactivate',
      params: userParams,
      responses: { 200: { description: 'The user.', schema: userView } },
      handler: async ({ caller, params }) => ({ status: 200, body: view(await users.deactivate(caller, params.id)) }),
    }),
    defineRoute({
      method: 'post',
      path: '/v1/users/:id/activate',
      id: 'activateUser',
      tag: 'Users',
      summary: 'Activates a user again',
      description: 'Keys they had stay revoked.',
      permission: 'users:write',
      audit: 'user.activate',
      params: userParams,
      responses: { 200: { description: 'The user.', schema: userView } },
      handler: async ({ caller, params }) => ({ status: 200, body: view(await users.activate(caller, params.id)) }),
    }),
    defineRoute({
      method: 'delete',
      path: '/v1/users/:id',
      id: 'deleteUser',
      tag: 'Users',
      summary: 'Deletes a user',
      description: 'With their memberships, roles, sessions and keys. What they did stays in the audit log by their id. The last owner stays.',
      permission: 'users:write',
      stepUp: true,
      audit: 'user.delete',
      params: userParams,
      responses: { 204: { description: 'Gone.' } },
      async handler({ caller, params }) {
        await users.remove(caller, params.id);
        return { status: 204 };
      },
    }),
  ];
}

function view(user: User) {
  const { id, userName, email, emailVerified, displayName, externalId, active, hasPassword, createdAt, updatedAt, lastSignInAt } = user;
  return { id, userName, email, emailVerified, displayName, externalId, active, hasPassword, createdAt, updatedAt, lastSignInAt };
}
