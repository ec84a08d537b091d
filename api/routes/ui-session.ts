import { noActHere } from '../../platform/audit/act.ts';
import type { Request } from 'express';
import { z } from 'zod';
import { sessionCookieName } from '../../platform/identity/session-cookie.ts';
import { HalError } from '../../schemas/errors.ts';
import { cookieOf, incomingFacts } from '../incoming-facts.ts';
import type { Identity } from '../identity.ts';
import { readText } from '../json-body.ts';
import { defineRoute, type AnyRoute } from '../route.ts';

export interface UiSessionRouteDependencies {
  identity: Pick<Identity, 'signIn' | 'sessions' | 'https'>;
  /** Path or address the browser goes to once signed in. */
  destination: string;
}

const FORM = 'application/x-www-form-urlencoded';
const FORM_LIMIT_BYTES = 4096;

/** The short way from an API key to the Temporal UI: a form without a page of its own. */
export function createUiSessionRoutes({ identity: { signIn, sessions, https }, destination }: UiSessionRouteDependencies): AnyRoute[] {
  return [
    defineRoute({
      method: 'get',
      path: '/ui-session',
      id: 'showUiSignIn',
      tag: 'Sign-in',
      summary: 'To the sign-in page, and from there to the Temporal UI',
      permission: 'public',
      responses: { 303: { description: 'To the sign-in page.' } },
      handler: async () => ({ status: 303, headers: { Location: `/sign-in?returnTo=${encodeURIComponent(destination)}` } }),
    }),
    defineRoute({
      method: 'post',
      path: '/ui-session',
      id: 'signInToUi',
      tag: 'Sign-in',
      summary: 'Exchanges an API key for the cookie of a session and goes to the Temporal UI',
      description: 'The session may what the key may, and ends with it.',
      permission: 'public',
      audit: 'session.create',
      rawBody: { [FORM]: z.object({ key: z.string() }) },
      timeoutMs: 15_000,
      responses: { 303: { description: 'Signed in; the cookie is set.' } },
      async handler({ request, response }) {
        assertSameOrigin(request);
        const key = new URLSearchParams(await readText(request, { type: FORM, limitBytes: FORM_LIMIT_BYTES })).get('key') ?? '';
        const { cookies } = await signIn.withKey(key.trim(), incomingFacts(request, https), undefined);
        for (const cookie of cookies) response.append('Set-Cookie', cookie);
        return { status: 303, headers: { Location: destination } };
      },
    }),
    defineRoute({
      method: 'post',
      path: '/ui-session/end',
      id: 'signOutOfUi',
      tag: 'Sign-in',
      summary: 'Ends the session of the cookie',
      permission: 'public',
      audit: 'session.end',
      responses: { 303: { description: 'Signed out.' } },
      async handler({ request, response }) {
        assertSameOrigin(request);
        const facts = incomingFacts(request, https);
        const token = cookieOf(request, sessionCookieName(https));
        const session = token === undefined ? undefined : await sessions.find(token, facts);
        if (session === undefined) noActHere('nothing-changed');
        else response.append('Set-Cookie', await sessions.signOut(session, facts));
        return { status: 303, headers: { Location: '/sign-in' } };
      },
    }),
  ];
}

/** A page elsewhere must not sign somebody in with its own key. Browsers always send Origin with a POST. */
export function assertSameOrigin(request: Request): void {
  const origin = request.headers.origin;
  if (origin === undefined) return;
  if (!URL.canParse(origin) || new URL(origin).host !== request.headers.host) throw new HalError('Forbidden', 'the form was sent from another site');
}
