import { z } from 'zod';
import { HalError } from '../../schemas/errors.ts';
import { sessionOf } from '../authentication.ts';
import { incomingFacts } from '../incoming-facts.ts';
import type { Identity } from '../identity.ts';
import { defineRoute, type AnyRoute } from '../route.ts';

const answer = z
  .object({ location: z.url().nullable().describe('Where to send the browser so that the provider ends its session too; null when there is nothing to end there.') })
  .meta({ id: 'ProviderLogout' });

/** Signing out here and at the identity provider (SAML single logout, OpenID Connect RP-initiated logout). */
export function createProviderLogoutRoutes({ sessions, places, saml, oidc, https }: Pick<Identity, 'sessions' | 'places' | 'saml' | 'oidc' | 'https'>): AnyRoute[] {
  return [
    defineRoute({
      method: 'post',
      path: '/v1/session/end-at-provider',
      id: 'signOutAtProvider',
      tag: 'Sessions',
      summary: 'Signs out here, and says where to sign out at the provider',
      permission: 'signed-in',
      audit: 'session.end',
      responses: { 200: { description: 'The session has ended; the cookie is gone.', schema: answer } },
      async handler({ request, response }) {
        const session = sessionOf(request);
        if (session === undefined) throw new HalError('Forbidden', 'only a session of a browser can be ended so');
        response.append('Set-Cookie', await sessions.signOut(session, incomingFacts(request, https)));
        const { orgId, providerId, logout } = session;
        if (providerId === null) return { status: 200, body: { location: null } };
        const place = await places.find(orgId, providerId);
        const location = (await saml.logoutAddress(place, logout)) ?? (await oidc.logoutAddress(place, logout));
        return { status: 200, body: { location: location?.href ?? null } };
      },
    }),
  ];
}
