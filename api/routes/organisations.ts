import { z } from 'zod';
import type { Organisation, Organisations } from '../../platform/identity/organisations.ts';
import { organisationChange, organisationDraft, organisationMove, organisationQuery, organisationView } from '../../schemas/rest/organisations.ts';
import { pageOf } from '../../schemas/rest/page.ts';
import { BY_TIME, pageOfList } from '../page.ts';
import { defineRoute, type AnyRoute } from '../route.ts';

const organisationParams = z.object({ id: z.uuid() });
const BY_AGE = { position: BY_TIME.position, of: ({ createdAt, orgId }: Organisation) => BY_TIME.of({ createdAt, id: orgId }) };

/** The organisation and those below it. */
export function createOrganisationRoutes({ organisations }: { organisations: Organisations }): AnyRoute[] {
  return [
    defineRoute({
      method: 'get',
      path: '/v1/organisations',
      id: 'listOrganisations',
      tag: 'Organisations',
      summary: 'Lists the organisation and all below it, oldest first',
      description: '`parentId` says how they stand. The organisation that runs the installation sees all there are.',
      permission: 'organisations:read',
      query: organisationQuery,
      responses: { 200: { description: 'A page of organisations.', schema: pageOf(organisationView) } },
      async handler({ caller, query }) {
        const { items, nextCursor } = await pageOfList(query, BY_AGE, (limit, after) => organisations.list(caller, limit, after));
        return { status: 200, body: { items: items.map(view), nextCursor } };
      },
    }),
    defineRoute({
      method: 'post',
      path: '/v1/organisations',
      id: 'createOrganisation',
      tag: 'Organisations',
      summary: 'Creates an organisation below',
      description: 'People of yours with a role that reaches down, as owners have, act in it at once and invite its own owner.',
      permission: 'organisations:write',
      audit: 'organisation.create',
      body: organisationDraft,
      responses: { 201: { description: 'The organisation.', schema: organisationView } },
      async handler({ caller, body }) {
        const organisation = await organisations.create(caller, body);
        return { status: 201, body: view(organisation), headers: { Location: `/v1/organisations/${organisation.orgId}` } };
      },
    }),
    defineRoute({
      method: 'get',
      path: '/v1/organisations/:id',
      id: 'getOrganisation',
      tag: 'Organisations',
      summary: 'Reads an organisation',
      permission: 'organisations:read',
      params: organisationParams,
      responses: { 200: { description: 'The organisation.', schema: organisationView } },
      handler: async ({ caller, params }) => ({ status: 200, body: view(await organisations.get(caller, params.id)) }),
    }),
    defineRoute({
      method: 'patch',
      path: '/v1/organisations/:id',
      id: 'changeOrganisation',
      tag: 'Organisations',
      summary: 'Renames an organisation, or changes its slug or region',
      permission: 'organisations:write',
      audit: 'organisation.change',
      params: organisationParams,
      body: organisationChange,
      responses: { 200: { description: 'The organisation.', schema: organisationView } },
      handler: async ({ caller, params, body }) => ({ status: 200, body: view(await organisations.change(caller, params.id, body)) }),
    }),
    defineRoute({
      method: 'post',
      path: '/v1/organisations/:id/move',
      id: 'moveOrganisation',
      tag: 'Organisations',
      summary: 'Puts an organisation below another',
      description: 'With everything below it. Who reaches it from above changes within a second.',
      permission: 'organisations:write',
      stepUp: true,
      audit: 'organisation.move',
      params: organisationParams,
      body: organisationMove,
      responses: { 200: { description: 'The organisation.', schema: organisationView } },
      handler: async ({ caller, params, body }) => ({ status: 200, body: view(await organisations.move(caller, params.id, body.parentId)) }),
    }),
    defineRoute({
      method: 'post',
      path: '/v1/organisations/:id/suspend',
      id: 'suspendOrganisation',
      tag: 'Organisations',
      summary: 'Suspends an organisation below',
      description: 'No session, key or sign-in of it or of those below it works until it is resumed. Runs under way go on.',
      permission: 'organisations:write',
      stepUp: true,
      audit: 'organisation.suspend',
      params: organisationParams,
      responses: { 200: { description: 'The organisation.', schema: organisationView } },
      handler: async ({ caller, params }) => ({ status: 200, body: view(await organisations.suspend(caller, params.id)) }),
    }),
    defineRoute({
      method: 'post',
      path: '/v1/organisations/:id/resume',
      id: 'resumeOrganisation',
      tag: 'Organisations',
      summary: 'Resumes a suspended organisation',
      permission: 'organisations:write',
      audit: 'organisation.resume',
      params: organisationParams,
      responses: { 200: { description: 'The organisation.', schema: organisationView } },
      handler: async ({ caller, params }) => ({ status: 200, body: view(await organisations.resume(caller, params.id)) }),
    }),
  ];
}

function view(organisation: Organisation) {
  const { orgId, name, slug, parentId, region, suspendedAt, createdAt } = organisation;
  return { id: orgId, name, slug, parentId, region, suspendedAt, createdAt };
}
