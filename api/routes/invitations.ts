import { z } from 'zod';
import type { Invitation, Invitations } from '../../platform/identity/invitations.ts';
import { createdInvitation, invitationDraft, invitationQuery, invitationView } from '../../schemas/rest/invitations.ts';
import { pageOf } from '../../schemas/rest/page.ts';
import { BY_TIME, pageOfList } from '../page.ts';
import { defineRoute, type AnyRoute } from '../route.ts';

const invitationParams = z.object({ id: z.uuid() });

/** Invitations into the organisation. The page that accepts one is public and stands elsewhere. */
export function createInvitationRoutes({ invitations }: { invitations: Invitations }): AnyRoute[] {
  return [
    defineRoute({
      method: 'get',
      path: '/v1/invitations',
      id: 'listInvitations',
      tag: 'Invitations',
      summary: 'Lists invitations, newest first',
      permission: 'invitations:read',
      query: invitationQuery,
      responses: { 200: { description: 'A page of invitations, without their links.', schema: pageOf(invitationView) } },
      async handler({ caller, query }) {
        const { items, nextCursor } = await pageOfList(query, BY_TIME, (limit, after) => invitations.list(caller, { open: query.open }, limit, after));
        return { status: 200, body: { items: items.map(view), nextCursor } };
      },
    }),
    defineRoute({
      method: 'post',
      path: '/v1/invitations',
      id: 'createInvitation',
      tag: 'Invitations',
      summary: 'Invites somebody',
      description: 'By mail when `connection` names one of kind smtp, else by the link in this answer. It gives no more than you have, and works once.',
      permission: 'invitations:write',
      audit: 'invitation.create',
      stepUp: true,
      body: invitationDraft,
      responses: { 201: { description: 'The invitation.', schema: createdInvitation } },
      async handler({ caller, body, signal }) {
        const { invitation, link, mailFailure } = await invitations.create(caller, body, signal);
        return { status: 201, body: { ...view(invitation), link: link ?? null, mailFailure: mailFailure ?? null }, headers: { Location: `/v1/invitations/${invitation.id}` } };
      },
    }),
    defineRoute({
      method: 'get',
      path: '/v1/invitations/:id',
      id: 'getInvitation',
      tag: 'Invitations',
      summary: 'Reads an invitation',
      permission: 'invitations:read',
      params: invitationParams,
      responses: { 200: { description: 'The invitation, without its link.', schema: invitationView } },
      handler: async ({ caller, params }) => ({ status: 200, body: view(await invitations.get(caller, params.id)) }),
    }),
    defineRoute({
      method: 'delete',
      path: '/v1/invitations/:id',
      id: 'revokeInvitation',
      tag: 'Invitations',
      summary: 'Revokes an invitation',
      description: 'Its link does nothing from now on. Again changes nothing.',
      permission: 'invitations:write',
      audit: 'invitation.revoke',
      params: invitationParams,
      responses: { 200: { description: 'The revoked invitation.', schema: invitationView } },
      handler: async ({ caller, params }) => ({ status: 200, body: view(await invitations.revoke(caller, params.id)) }),
    }),
  ];
}

function view(invitation: Invitation) {
  const { id, email, userId, roles, teamIds, invitedBy, mailed, createdAt, expiresAt, acceptedAt, acceptedBy, revokedAt } = invitation;
  return { id, email, userId, roles, teamIds, invitedBy, mailed, createdAt, expiresAt, acceptedAt, acceptedBy, revokedAt };
}
