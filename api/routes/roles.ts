import { z } from 'zod';
import type { RoleBinding, RoleBindings } from '../../platform/identity/role-bindings.ts';
import type { RoleBook } from '../../platform/identity/role-book.ts';
import { pageOf } from '../../schemas/rest/page.ts';
import { bindingChange, bindingDraft, bindingQuery, bindingView, roleDraft, roleList, roleName, roleReplacement, roleView } from '../../schemas/rest/roles.ts';
import { BY_TIME, pageOfList } from '../page.ts';
import { defineRoute, type AnyRoute } from '../route.ts';

const roleParams = z.object({ name: roleName });
const bindingParams = z.object({ id: z.uuid() });

/** Roles of the organisation, and who has them. */
export function createRoleRoutes({ book, bindings }: { book: RoleBook; bindings: RoleBindings }): AnyRoute[] {
  return [...roleRoutes(book), ...bindingRoutes(bindings)];
}

function roleRoutes(book: RoleBook): AnyRoute[] {
  return [
    defineRoute({
      method: 'get',
      path: '/v1/roles',
      id: 'listRoles',
      tag: 'Roles',
      summary: 'Lists roles',
      description: 'Those of HAL9 from the smallest up, then the organisation\'s own by name.',
      permission: 'roles:read',
      responses: { 200: { description: 'All roles.', schema: roleList } },
      handler: async ({ caller }) => ({ status: 200, body: { items: await book.list(caller) } }),
    }),
    defineRoute({
      method: 'post',
      path: '/v1/roles',
      id: 'createRole',
      tag: 'Roles',
      summary: 'Creates a role',
      description: 'It cannot grant more than you have whenever and from wherever you ask.',
      permission: 'roles:write',
      stepUp: true,
      audit: 'role.create',
      body: roleDraft,
      responses: { 201: { description: 'The role.', schema: roleView } },
      async handler({ caller, body }) {
        const role = await book.create(caller, body);
        return { status: 201, body: role, headers: { Location: `/v1/roles/${role.name}` } };
      },
    }),
    defineRoute({
      method: 'get',
      path: '/v1/roles/:name',
      id: 'getRole',
      tag: 'Roles',
      summary: 'Reads a role',
      permission: 'roles:read',
      params: roleParams,
      responses: { 200: { description: 'The role.', schema: roleView } },
      handler: async ({ caller, params }) => ({ status: 200, body: await book.get(caller, params.name) }),
    }),
    defineRoute({
      method: 'put',
      path: '/v1/roles/:name',
      id: 'replaceRole',
      tag: 'Roles',
      summary: 'Replaces a role',
      description: 'For everybody who has it, within a second. HAL9\'s own roles stay as they are.',
      permission: 'roles:write',
      stepUp: true,
      audit: 'role.change',
      params: roleParams,
      body: roleReplacement,
      responses: { 200: { description: 'The role.', schema: roleView } },
      handler: async ({ caller, params, body }) => ({ status: 200, body: await book.replace(caller, { ...body, name: params.name }) }),
    }),
    defineRoute({
      method: 'delete',
      path: '/v1/roles/:name',
      id: 'deleteRole',
      tag: 'Roles',
      summary: 'Deletes a role',
      description: 'Not while somebody has it or another role inherits it.',
      permission: 'roles:write',
      audit: 'role.delete',
      params: roleParams,
      responses: { 204: { description: 'Gone.' } },
      async handler({ caller, params }) {
        await book.remove(caller, params.name);
        return { status: 204 };
      },
    }),
  ];
}

function bindingRoutes(bindings: RoleBindings): AnyRoute[] {
  return [
    defineRoute({
      method: 'get',
      path: '/v1/role-bindings',
      id: 'listRoleBindings',
      tag: 'Roles',
      summary: 'Lists who has which role, newest first',
      permission: 'roles:read',
      query: bindingQuery,
      responses: { 200: { description: 'A page of bindings.', schema: pageOf(bindingView) } },
      async handler({ caller, query: { limit: size, cursor, ...filter } }) {
        const { items, nextCursor } = await pageOfList({ limit: size, cursor }, BY_TIME, (limit, after) => bindings.list(caller, filter, limit, after));
        return { status: 200, body: { items: items.map(view), nextCursor } };
      },
    }),
    defineRoute({
      method: 'post',
      path: '/v1/role-bindings',
      id: 'createRoleBinding',
      tag: 'Roles',
      summary: 'Gives a user or a team a role',
      description: 'Under conditions, if any: time, network, risk, attributes of the resource. Nobody gives more than they have.',
      permission: 'roles:write',
      stepUp: true,
      audit: 'role-binding.create',
      body: bindingDraft,
      responses: { 201: { description: 'The binding.', schema: bindingView } },
      async handler({ caller, body }) {
        const binding = await bindings.create(caller, body);
        return { status: 201, body: view(binding), headers: { Location: `/v1/role-bindings/${binding.id}` } };
      },
    }),
    defineRoute({
      method: 'get',
      path: '/v1/role-bindings/:id',
      id: 'getRoleBinding',
      tag: 'Roles',
      summary: 'Reads a binding',
      permission: 'roles:read',
      params: bindingParams,
      responses: { 200: { description: 'The binding.', schema: bindingView } },
      handler: async ({ caller, params }) => ({ status: 200, body: view(await bindings.get(caller, params.id)) }),
    }),
    defineRoute({
      method: 'put',
      path: '/v1/role-bindings/:id',
      id: 'replaceRoleBinding',
      tag: 'Roles',
      summary: 'Replaces the conditions of a binding',
      permission: 'roles:write',
      stepUp: true,
      audit: 'role-binding.change',
      params: bindingParams,
      body: bindingChange,
      responses: { 200: { description: 'The binding.', schema: bindingView } },
      handler: async ({ caller, params, body }) => ({ status: 200, body: view(await bindings.setConditions(caller, params.id, body.conditions)) }),
    }),
    defineRoute({
      method: 'delete',
      path: '/v1/role-bindings/:id',
      id: 'deleteRoleBinding',
      tag: 'Roles',
      summary: 'Takes a role from a user or a team',
      description: 'Within a second in every process. The last owner stays.',
      permission: 'roles:write',
      audit: 'role-binding.delete',
      params: bindingParams,
      responses: { 204: { description: 'Taken.' } },
      async handler({ caller, params }) {
        await bindings.remove(caller, params.id);
        return { status: 204 };
      },
    }),
  ];
}

function view(binding: RoleBinding) {
  const { id, userId, teamId, role, conditions, providerId, createdAt } = binding;
  return { id, userId, teamId, role, conditions, providerId, createdAt };
}
