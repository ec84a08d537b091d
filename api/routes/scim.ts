import type { Request } from 'express';
import { z } from 'zod';
import type { Scim, ScimPage } from '../../platform/identity/scim.ts';
import { documentNamed, resourceTypes, schemas, serviceProviderConfig } from '../../platform/identity/scim-discovery.ts';
import { project, versionOf, type ScimResource } from '../../platform/identity/scim-resources.ts';
import { SCIM_MEDIA_TYPE, scimGroupBody, scimList, scimPatchBody, scimQuery, scimResource, scimUserBody, URN, type ScimQuery } from '../../schemas/rest/scim.ts';
import { defineRoute, type AnyRoute, type RouteAnswer } from '../route.ts';
import { SCIM_PATH } from '../scim-problem.ts';

export interface ScimRouteDependencies {
  readonly scim: Scim;
  /** Where people reach HAL9, without a slash at the end. */
  readonly publicUrl: string;
}

const TAG = 'SCIM';
// Any text: what is no id of ours is not found, as clients expect.
const idParams = z.object({ id: z.string().max(200) });
const shown = scimQuery.pick({ attributes: true, excludedAttributes: true });
const searchBody = scimQuery.omit({ attributes: true, excludedAttributes: true }).extend({ attributes: z.array(z.string()).max(100).optional(), excludedAttributes: z.array(z.string()).max(100).optional() });
const document = z.looseObject({ schemas: z.array(z.string()) });

const one = (description: string) => ({ description, schema: scimResource, contentType: SCIM_MEDIA_TYPE });
const list = (description: string) => ({ description, schema: scimList, contentType: SCIM_MEDIA_TYPE });

/** Provisioning by SCIM 2.0 (RFC 7644) with an API key as bearer token. */
export function createScimRoutes({ scim, publicUrl }: ScimRouteDependencies): AnyRoute[] {
  const base = `${publicUrl}${SCIM_PATH}`;
  return [
    ...discoveryRoutes(base),
    defineRoute({
      method: 'get',
      path: `${SCIM_PATH}/Users`,
      id: 'listScimUsers',
      tag: TAG,
      summary: 'Searches users',
      permission: 'scim:read',
      query: scimQuery,
      responses: { 200: list('A page of users.') },
      handler: async ({ caller, query }) => page(await scim.listUsers(caller, query)),
    }),
    defineRoute({
      method: 'post',
      path: `${SCIM_PATH}/Users`,
      id: 'createScimUser',
      tag: TAG,
      summary: 'Creates a user',
      description: 'A name that is taken is refused with 409 `uniqueness`, whoever made the user: search for it and change that one.',
      permission: 'scim:write',
      audit: 'user.create',
      query: shown,
      body: scimUserBody,
      responses: { 201: one('The user.') },
      handler: async ({ caller, body, query }) => created(await scim.createUser(caller, body), query),
    }),
    defineRoute({
      method: 'post',
      path: `${SCIM_PATH}/Users/.search`,
      id: 'searchScimUsers',
      tag: TAG,
      summary: 'Searches users, with the query in the body',
      permission: 'scim:read',
      audit: { none: 'reads only' },
      body: searchBody,
      responses: { 200: list('A page of users.') },
      handler: async ({ caller, body }) => page(await scim.listUsers(caller, asQuery(body))),
    }),
    defineRoute({
      method: 'get',
      path: `${SCIM_PATH}/Users/:id`,
      id: 'getScimUser',
      tag: TAG,
      summary: 'Reads a user',
      description: '`If-None-Match` with the version answers 304 while it is the same.',
      permission: 'scim:read',
      params: idParams,
      query: shown,
      responses: { 200: one('The user.'), 304: { description: 'It has not changed.' } },
      handler: async ({ caller, params, query, request }) => resource(await scim.getUser(caller, params.id), query, request),
    }),
    defineRoute({
      method: 'put',
      path: `${SCIM_PATH}/Users/:id`,
      id: 'replaceScimUser',
      tag: TAG,
      summary: 'Replaces a user',
      permission: 'scim:write',
      audit: 'user.change',
      params: idParams,
      query: shown,
      body: scimUserBody,
      responses: { 200: one('The user.') },
      handler: async ({ caller, params, query, body, request }) => resource(await scim.replaceUser(caller, params.id, body, condition(request)), query),
    }),
    defineRoute({
      method: 'patch',
      path: `${SCIM_PATH}/Users/:id`,
      id: 'patchScimUser',
      tag: TAG,
      summary: 'Changes a user',
      description: '`active: false` ends sessions, keys and streams of the person within a second. Owners keep their name and address, and the last one stays active.',
      permission: 'scim:write',
      audit: 'user.change',
      params: idParams,
      query: shown,
      body: scimPatchBody,
      responses: { 200: one('The user.') },
      handler: async ({ caller, params, query, body, request }) => resource(await scim.patchUser(caller, params.id, body.Operations, condition(request)), query),
    }),
    defineRoute({
      method: 'delete',
      path: `${SCIM_PATH}/Users/:id`,
      id: 'deleteScimUser',
      tag: TAG,
      summary: 'Deletes a user',
      permission: 'scim:write',
      audit: 'user.delete',
      params: idParams,
      responses: { 204: { description: 'Deleted.' } },
      async handler({ caller, params, request }) {
        await scim.deleteUser(caller, params.id, condition(request));
        return { status: 204 };
      },
    }),
    defineRoute({
      method: 'get',
      path: `${SCIM_PATH}/Groups`,
      id: 'listScimGroups',
      tag: TAG,
      summary: 'Searches groups',
      permission: 'scim:read',
      query: scimQuery,
      responses: { 200: list('A page of groups.') },
      handler: async ({ caller, query }) => page(await scim.listGroups(caller, query)),
    }),
    defineRoute({
      method: 'post',
      path: `${SCIM_PATH}/Groups`,
      id: 'createScimGroup',
      tag: TAG,
      summary: 'Creates a group, which is a team',
      permission: 'scim:write',
      audit: 'team.create',
      query: shown,
      body: scimGroupBody,
      responses: { 201: one('The group.') },
      handler: async ({ caller, body, query }) => created(await scim.createGroup(caller, body), query),
    }),
    defineRoute({
      method: 'post',
      path: `${SCIM_PATH}/Groups/.search`,
      id: 'searchScimGroups',
      tag: TAG,
      summary: 'Searches groups, with the query in the body',
      permission: 'scim:read',
      audit: { none: 'reads only' },
      body: searchBody,
      responses: { 200: list('A page of groups.') },
      handler: async ({ caller, body }) => page(await scim.listGroups(caller, asQuery(body))),
    }),
    defineRoute({
      method: 'get',
      path: `${SCIM_PATH}/Groups/:id`,
      id: 'getScimGroup',
      tag: TAG,
      summary: 'Reads a group',
      permission: 'scim:read',
      params: idParams,
      query: shown,
      responses: { 200: one('The group.'), 304: { description: 'It has not changed.' } },
      handler: async ({ caller, params, query, request }) => resource(await scim.getGroup(caller, params.id), query, request),
    }),
    defineRoute({
      method: 'put',
      path: `${SCIM_PATH}/Groups/:id`,
      id: 'replaceScimGroup',
      tag: TAG,
      summary: 'Replaces a group',
      permission: 'scim:write',
      audit: 'team.change',
      params: idParams,
      query: shown,
      body: scimGroupBody,
      responses: { 200: one('The group.') },
      handler: async ({ caller, params, query, body, request }) => resource(await scim.replaceGroup(caller, params.id, body, condition(request)), query),
    }),
    defineRoute({
      method: 'patch',
      path: `${SCIM_PATH}/Groups/:id`,
      id: 'patchScimGroup',
      tag: TAG,
      summary: 'Changes a group',
      description: 'Members of a team that makes owners are changed by people only.',
      permission: 'scim:write',
      audit: 'team.change-members',
      params: idParams,
      query: shown,
      body: scimPatchBody,
      responses: { 200: one('The group.') },
      handler: async ({ caller, params, query, body, request }) => resource(await scim.patchGroup(caller, params.id, body.Operations, condition(request)), query),
    }),
    defineRoute({
      method: 'delete',
      path: `${SCIM_PATH}/Groups/:id`,
      id: 'deleteScimGroup',
      tag: TAG,
      summary: 'Deletes a group',
      permission: 'scim:write',
      audit: 'team.delete',
      params: idParams,
      responses: { 204: { description: 'Deleted.' } },
      async handler({ caller, params, request }) {
        await scim.deleteGroup(caller, params.id, condition(request));
        return { status: 204 };
      },
    }),
  ];
}

function discoveryRoutes(base: string): AnyRoute[] {
  const kinds = resourceTypes(base);
  const described = schemas(base);
  const answer = (body: unknown): RouteAnswer => ({ status: 200, body });
  const whole = (documents: readonly unknown[]): RouteAnswer => answer({ schemas: [URN.list], totalResults: documents.length, startIndex: 1, itemsPerPage: documents.length, Resources: documents });
  const response = { 200: { description: 'The document.', schema: document, contentType: SCIM_MEDIA_TYPE } };
  const named = z.object({ id: z.string().max(200) });
  return [
    defineRoute({ method: 'get', path: `${SCIM_PATH}/ServiceProviderConfig`, id: 'getScimConfig', tag: TAG, summary: 'What the service can do', permission: 'scim:read', responses: response, handler: async () => answer(serviceProviderConfig(base)) }),
    defineRoute({ method: 'get', path: `${SCIM_PATH}/ResourceTypes`, id: 'listScimResourceTypes', tag: TAG, summary: 'Kinds of resources', permission: 'scim:read', responses: response, handler: async () => whole(kinds) }),
    defineRoute({ method: 'get', path: `${SCIM_PATH}/ResourceTypes/:id`, id: 'getScimResourceType', tag: TAG, summary: 'One kind of resource', permission: 'scim:read', params: named, responses: response, handler: async ({ params }) => answer(documentNamed(kinds, params.id)) }),
    defineRoute({ method: 'get', path: `${SCIM_PATH}/Schemas`, id: 'listScimSchemas', tag: TAG, summary: 'Attributes of the resources', permission: 'scim:read', responses: response, handler: async () => whole(described) }),
    defineRoute({ method: 'get', path: `${SCIM_PATH}/Schemas/:id`, id: 'getScimSchema', tag: TAG, summary: 'Attributes of one kind', permission: 'scim:read', params: named, responses: response, handler: async ({ params }) => answer(documentNamed(described, params.id)) }),
  ];
}

function page({ total, startIndex, resources }: ScimPage): RouteAnswer {
  return { status: 200, body: { schemas: [URN.list], totalResults: total, startIndex, itemsPerPage: resources.length, Resources: resources } };
}

type Shown = Pick<ScimQuery, 'attributes' | 'excludedAttributes'>;

function resource(found: ScimResource, query: Shown, request?: Request): RouteAnswer {
  const version = versionOf(found);
  const known = request?.headers['if-none-match']?.split(',').map((text) => text.trim());
  if (known?.includes(version) === true) return { status: 304, headers: { ETag: version } };
  return { status: 200, body: project(found, query.attributes, query.excludedAttributes), headers: { ETag: version } };
}

function created(made: ScimResource, query: Shown): RouteAnswer {
  const { meta } = made;
  const location = typeof meta === 'object' && meta !== null && 'location' in meta ? String(meta.location) : '';
  return { ...resource(made, query), status: 201, headers: { ETag: versionOf(made), Location: location } };
}

function condition(request: Request): string | undefined {
  return request.headers['if-match'];
}

function asQuery({ attributes, excludedAttributes, ...rest }: z.output<typeof searchBody>): ScimQuery {
  return { ...rest, attributes: attributes?.join(','), excludedAttributes: excludedAttributes?.join(',') };
}
