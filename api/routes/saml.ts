import { noActHere } from '../../platform/audit/act.ts';
import type { Request } from 'express';
import { z } from 'zod';
import { browserCookie, browserCookieName, browserValue } from '../../platform/identity/browser-cookie.ts';
import type { SamlSignIn } from '../../platform/identity/saml.ts';
import type { SignInPort } from '../../platform/identity/sign-in-contract.ts';
import type { SignInPlaces } from '../../platform/identity/sign-in-place.ts';
import { cookieOf, incomingFacts } from '../incoming-facts.ts';
import { readText } from '../json-body.ts';
import { FORM, HTML_ANSWER, PROVIDER_PARAMS, forPeople } from '../provider-pages.ts';
import { defineRoute, type AnyRoute, type RouteAnswer } from '../route.ts';
import { postingPage } from '../saml-pages.ts';

export interface SamlRouteDependencies {
  readonly places: SignInPlaces;
  readonly saml: SamlSignIn;
  readonly signIn: SignInPort;
  /** Whether browsers reach the API by HTTPS. */
  readonly https: boolean;
}

const tag = 'Sign-in';
const params = PROVIDER_PARAMS;
const html = HTML_ANSWER;
/** Base64 in a form of the largest message that is read. */
const FORM_LIMIT_BYTES = 1024 * 1024;
const METADATA_TYPE = 'application/samlmetadata+xml';

/** The browser's way through a SAML provider and back, and single logout in both directions. */
export function createSamlRoutes({ places, saml, signIn, https }: SamlRouteDependencies): AnyRoute[] {
  const browserOf = (request: Request): string | undefined => cookieOf(request, browserCookieName(https));
  return [
    defineRoute({
      method: 'get',
      path: '/sign-in/:organisation/saml/:id',
      id: 'startSamlSignIn',
      tag,
      summary: 'Sends the browser to a SAML provider',
      permission: 'public',
      params,
      query: z.object({ returnTo: z.string().max(2000).optional().describe('Path of this site for afterwards; anything else goes to the console.') }),
      failurePage: true,
      responses: { 200: { description: 'A page that posts the request, with the POST binding.', ...html }, 303: { description: 'To the provider.' } },
      handler: async ({ params: { organisation, id }, query, request, response }) =>
        forPeople(signInPage(organisation), async () => {
          const browser = browserValue(browserOf(request));
          const sent = await saml.start(await places.find(organisation, id), { browser, returnTo: query.returnTo });
          response.appendHeader('Set-Cookie', browserCookie(browser, https));
          if (sent.binding === 'redirect') return { status: 303, headers: { Location: sent.location } };
          // The provider may send the form on to hosts of its own.
          return postingPage({ action: sent.action, fields: sent.fields, targets: 'https: http:' });
        }),
    }),
    defineRoute({
      method: 'get',
      path: '/sign-in/:organisation/saml/:id/metadata',
      id: 'getSamlMetadata',
      tag,
      summary: "HAL9's metadata as a SAML service provider",
      description: 'The document to enter at the provider. Its address is also the entity id.',
      permission: 'public',
      params,
      responses: { 200: { description: 'The metadata.', schema: z.string(), contentType: METADATA_TYPE } },
      handler: async ({ params: { organisation, id } }) => ({ status: 200, body: await saml.metadata(await places.find(organisation, id)), headers: { 'Content-Type': METADATA_TYPE } }),
    }),
    defineRoute({
      method: 'post',
      path: '/sign-in/:organisation/saml/:id/acs',
      id: 'finishSamlSignIn',
      tag,
      summary: 'Assertion consumer service: takes the response of a SAML provider',
      description: 'Answers a page that posts the same again where the browser has not sent its cookie, which it does not with a form from another site.',
      permission: 'public',
      audit: 'session.open',
      params,
      rawBody: { [FORM]: z.object({ SAMLResponse: z.string(), RelayState: z.string().optional() }) },
      timeoutMs: 30_000,
      failurePage: true,
      responses: { 200: { description: 'A page that posts the response from here.', ...html }, 303: { description: 'Signed in, or to the second factor.' }, 401: { description: 'The response is not accepted.', ...html } },
      handler: async ({ params: { organisation, id }, request, response }) =>
        forPeople(signInPage(organisation), async () => {
          const form = await readForm(request);
          const browser = browserOf(request);
          const [samlResponse, relayState] = [form.get('SAMLResponse') ?? '', form.get('RelayState') ?? undefined];
          // Cookies are SameSite=Lax: a form that comes from the provider brings none, the same form from our own page does.
          if (browser === undefined && form.get('again') === null) {
            noActHere('nothing-changed');
            return postingPage({ action: request.originalUrl, fields: { SAMLResponse: samlResponse, ...(relayState === undefined ? {} : { RelayState: relayState }), again: '1' }, targets: "'self'" });
          }
          const facts = incomingFacts(request, https);
          const { identity, returnTo } = await saml.finish(await places.find(organisation, id), { response: samlResponse, relayState: relayState === '' ? undefined : relayState, browser }, facts);
          const outcome = await signIn.complete(identity, facts, returnTo);
          for (const cookie of outcome.cookies) response.appendHeader('Set-Cookie', cookie);
          return { status: 303, headers: { Location: outcome.location, 'Referrer-Policy': 'no-referrer' } };
        }),
    }),
    defineRoute({
      method: 'get',
      path: '/sign-in/:organisation/saml/:id/logout',
      id: 'takeSamlLogout',
      tag,
      summary: 'Single logout service, redirect binding',
      description: 'A signed request ends the sessions it names here and sends the browser back with a signed answer; an answer to a logout begun here goes to the sign-in page.',
      permission: 'public',
      params,
      failurePage: true,
      responses: { 303: { description: 'Back to the provider, or to the sign-in page.' }, 401: { description: 'The message is not accepted.', ...html } },
      handler: async ({ params: { organisation, id }, request }) =>
        forPeople(signInPage(organisation), async () => {
          const query = request.originalUrl.split('?', 2)[1] ?? '';
          return goTo(await saml.logout(await places.find(organisation, id), { query }, incomingFacts(request, https)));
        }),
    }),
    defineRoute({
      method: 'post',
      path: '/sign-in/:organisation/saml/:id/logout',
      id: 'takePostedSamlLogout',
      tag,
      summary: 'Single logout service, POST binding',
      permission: 'public',
      audit: 'session.end',
      params,
      rawBody: { [FORM]: z.object({ SAMLRequest: z.string().optional(), SAMLResponse: z.string().optional(), RelayState: z.string().optional() }) },
      timeoutMs: 30_000,
      failurePage: true,
      responses: { 303: { description: 'Back to the provider, or to the sign-in page.' }, 401: { description: 'The message is not accepted.', ...html } },
      handler: async ({ params: { organisation, id }, request }) =>
        forPeople(signInPage(organisation), async () => {
          const form = await readForm(request);
          return goTo(await saml.logout(await places.find(organisation, id), { form }, incomingFacts(request, https)));
        }),
    }),
  ];
}

async function readForm(request: Request): Promise<URLSearchParams> {
  return new URLSearchParams(await readText(request, { type: FORM, limitBytes: FORM_LIMIT_BYTES }));
}

function goTo(location: string): RouteAnswer {
  return { status: 303, headers: { Location: location, 'Referrer-Policy': 'no-referrer' } };
}

function signInPage(organisation: string): string {
  return `/sign-in/${encodeURIComponent(organisation)}`;
}
