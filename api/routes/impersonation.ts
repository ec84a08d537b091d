import { z } from 'zod';
import type { Impersonation } from '../../platform/identity/impersonation.ts';
import { impersonationBegun, impersonationDraft } from '../../schemas/rest/users.ts';
import { incomingFacts } from '../incoming-facts.ts';
import { defineRoute, type AnyRoute } from '../route.ts';

/** Acting as somebody else. */
export function createImpersonationRoutes({ impersonation, https }: { impersonation: Impersonation; https: boolean }): AnyRoute[] {
  return [
    defineRoute({
      method: 'post',
      path: '/v1/users/:id/impersonate',
      id: 'impersonateUser',
      tag: 'Users',
      summary: 'Acts as a user',
      description: 'For people in a browser: their session becomes one as the user, for an hour at most or until they sign out. It may do what both may; every act in it names both. Nobody acts as an owner, or as who may do more.',
      permission: 'users:impersonate',
      stepUp: true,
      audit: 'user.impersonate',
      params: z.object({ id: z.uuid() }),
      body: impersonationDraft,
      responses: { 200: { description: 'The session; its cookie replaces yours.', schema: impersonationBegun } },
      async handler({ caller, params, body, request, response }) {
        const { sessionId, cookies } = await impersonation.begin(caller, params.id, body.reason, incomingFacts(request, https));
        for (const cookie of cookies) response.appendHeader('Set-Cookie', cookie);
        return { status: 200, body: { sessionId } };
      },
    }),
  ];
}
