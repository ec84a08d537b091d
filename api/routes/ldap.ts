import { z } from 'zod';
import type { LdapSignIn } from '../../platform/identity/ldap-sign-in.ts';
import type { SignInPort } from '../../platform/identity/sign-in-contract.ts';
import type { SignInPlaces } from '../../platform/identity/sign-in-place.ts';
import { incomingFacts } from '../incoming-facts.ts';
import { readText } from '../json-body.ts';
import { FORM, HTML_ANSWER, PROVIDER_PARAMS, directoryPage, forPeople } from '../provider-pages.ts';
import { defineRoute, type AnyRoute } from '../route.ts';
import { assertSameOrigin } from './ui-session.ts';

export interface LdapRouteDependencies {
  readonly places: SignInPlaces;
  readonly ldap: LdapSignIn;
  readonly signIn: SignInPort;
  /** Whether browsers reach the API by HTTPS. */
  readonly https: boolean;
}

const tag = 'Sign-in';
const params = PROVIDER_PARAMS;
const html = HTML_ANSWER;
const FORM_LIMIT_BYTES = 16 * 1024;

/** The form that takes name and password of an organisation's directory. */
export function createLdapRoutes({ places, ldap, signIn, https }: LdapRouteDependencies): AnyRoute[] {
  return [
    defineRoute({
      method: 'get',
      path: '/sign-in/:organisation/ldap/:id',
      id: 'showLdapSignIn',
      tag,
      summary: 'The page that asks for name and password of a directory',
      permission: 'public',
      params,
      query: z.object({ returnTo: z.string().max(2000).optional().describe('Path of this site for afterwards; anything else goes to the console.') }),
      failurePage: true,
      responses: { 200: { description: 'A form.', ...html } },
      handler: async ({ params: { organisation, id }, query }) =>
        forPeople(signInPage(organisation), async () => {
          const name = await ldap.nameOf(await places.find(organisation, id));
          return directoryPage({ name, action: `${signInPage(organisation)}/ldap/${id}`, returnTo: query.returnTo, signInPage: signInPage(organisation) });
        }),
    }),
    defineRoute({
      method: 'post',
      path: '/sign-in/:organisation/ldap/:id',
      id: 'signInByLdap',
      tag,
      summary: 'Signs in with name and password of a directory',
      permission: 'public',
      audit: 'session.create',
      params,
      rawBody: { [FORM]: z.object({ userName: z.string(), password: z.string(), returnTo: z.string().optional() }) },
      timeoutMs: 120_000,
      failurePage: true,
      responses: { 303: { description: 'Signed in, or to the second factor.' }, 401: { description: 'The directory does not accept the name with the password.', ...html } },
      handler: async ({ params: { organisation, id }, request, response }) =>
        forPeople(`${signInPage(organisation)}/ldap/${id}`, async () => {
          assertSameOrigin(request);
          const form = new URLSearchParams(await readText(request, { type: FORM, limitBytes: FORM_LIMIT_BYTES }));
          const facts = incomingFacts(request, https);
          const identity = await ldap.signIn(await places.find(organisation, id), form.get('userName') ?? '', form.get('password') ?? '', facts);
          const outcome = await signIn.complete(identity, facts, form.get('returnTo') ?? undefined);
          for (const cookie of outcome.cookies) response.appendHeader('Set-Cookie', cookie);
          return { status: 303, headers: { Location: outcome.location } };
        }),
    }),
  ];
}

function signInPage(organisation: string): string {
  return `/sign-in/${encodeURIComponent(organisation)}`;
}
