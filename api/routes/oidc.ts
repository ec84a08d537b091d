import { z } from 'zod';
import type { OidcSignIn } from '../../platform/identity/oidc.ts';
import { browserCookie, browserCookieName, browserValue } from '../../platform/identity/browser-cookie.ts';
import type { SignInPort } from '../../platform/identity/sign-in-contract.ts';
import type { SignInPlaces } from '../../platform/identity/sign-in-place.ts';
import { HalError } from '../../schemas/errors.ts';
import { cookieOf, incomingFacts } from '../incoming-facts.ts';
import { readText } from '../json-body.ts';
import { FORM, HTML_ANSWER, PROVIDER_PARAMS, forPeople } from '../provider-pages.ts';
import { defineRoute, type AnyRoute } from '../route.ts';

export interface OidcRouteDependencies {
  readonly places: SignInPlaces;
  readonly oidc: OidcSignIn;
  readonly signIn: SignInPort;
  /** Whether browsers reach the API by HTTPS. */
  readonly https: boolean;
}

const tag = 'Sign-in';
const params = PROVIDER_PARAMS;
const html = HTML_ANSWER;
const LOGOUT_LIMIT_BYTES = 64 * 1024;

/** The browser's way through an OpenID provider, and the provider's own way to end a session. */
export function createOidcRoutes({ places, oidc, signIn, https }: OidcRouteDependencies): AnyRoute[] {
  return [
    defineRoute({
      method: 'get',
      path: '/sign-in/:organisation/oidc/:id',
      id: 'startOidcSignIn',
      tag,
      summary: 'Sends the browser to an OpenID provider',
      permission: 'public',
      params,
      query: z.object({
        returnTo: z.string().max(2000).optional().describe('Path of this site for afterwards; anything else goes to the console.'),
        loginHint: z.string().max(320).optional().describe('What the person typed, e.g. their address.'),
      }),
      failurePage: true,
      responses: { 303: { description: 'To the provider.' }, 424: { description: 'The provider cannot be reached.', ...html } },
      handler: async ({ params: { organisation, id }, query, request, response }) =>
        forPeople(signInPage(organisation), async () => {
          const browser = browserValue(cookieOf(request, browserCookieName(https)));
          const location = await oidc.start(await places.find(organisation, id), { browser, returnTo: query.returnTo, loginHint: query.loginHint });
          response.appendHeader('Set-Cookie', browserCookie(browser, https));
          return { status: 303, headers: { Location: location.href } };
        }),
    }),
    defineRoute({
      method: 'get',
      path: '/sign-in/:organisation/oidc/:id/callback',
      id: 'finishOidcSignIn',
      tag,
      summary: 'Takes what an OpenID provider sent the browser back with',
      permission: 'public',
      params,
      failurePage: true,
      responses: { 303: { description: 'Signed in, or to the second factor.' }, 401: { description: 'The answer is not accepted.', ...html } },
      handler: async ({ params: { organisation, id }, request, response }) =>
        forPeople(signInPage(organisation), async () => {
          const facts = incomingFacts(request, https);
          // As it came: whether a parameter is there twice is for the protocol to judge.
          const query = new URLSearchParams(request.originalUrl.split('?', 2)[1] ?? '');
          const { identity, returnTo } = await oidc.finish(await places.find(organisation, id), query, cookieOf(request, browserCookieName(https)), facts);
          const outcome = await signIn.complete(identity, facts, returnTo);
          for (const cookie of outcome.cookies) response.appendHeader('Set-Cookie', cookie);
          return { status: 303, headers: { Location: outcome.location, 'Referrer-Policy': 'no-referrer' } };
        }),
    }),
    defineRoute({
      method: 'post',
      path: '/sign-in/:organisation/oidc/:id/logout',
      id: 'endOidcSessions',
      tag,
      summary: 'Ends sessions that an OpenID provider says have ended',
      description: 'OpenID Connect Back-Channel Logout 1.0. The signed logout token is the credential, and works once.',
      permission: 'public',
      audit: 'session.end',
      params,
      rawBody: { [FORM]: z.object({ logout_token: z.string() }) },
      timeoutMs: 30_000,
      responses: { 200: { description: 'They have ended.' } },
      async handler({ params: { organisation, id }, request }) {
        const form = new URLSearchParams(await readText(request, { type: FORM, limitBytes: LOGOUT_LIMIT_BYTES }));
        const tokens = form.getAll('logout_token');
        if (tokens.length !== 1) throw new HalError('InvalidInput', 'expected one logout_token');
        await oidc.endByToken(await places.find(organisation, id), tokens[0] ?? '', String(request.id));
        return { status: 200 };
      },
    }),
  ];
}

function signInPage(organisation: string): string {
  return `/sign-in/${encodeURIComponent(organisation)}`;
}
