import type { Request } from 'express';
import { z } from 'zod';
import type { ApiKeys } from '../../platform/identity/api-keys.ts';
import { HalError } from '../../schemas/errors.ts';
import { readText } from '../json-body.ts';
import type { RateLimits } from '../rate-limits.ts';
import { defineRoute, type AnyRoute } from '../route.ts';
import { SESSION_COOKIE, SESSION_SECONDS, type UiSessions } from '../ui-session.ts';

export interface UiSessionRouteDependencies {
  apiKeys: ApiKeys;
  sessions: UiSessions;
  limits: RateLimits;
  /** Path or address the browser goes to once signed in. */
  destination: string;
  /** Whether browsers reach the API by HTTPS. */
  https: boolean;
}

const FORM = 'application/x-www-form-urlencoded';
const HTML = 'text/html; charset=utf-8';
const FORM_LIMIT_BYTES = 4096;

/** How a browser gets the session that the Temporal UI and its codec endpoint need. */
export function createUiSessionRoutes(dependencies: UiSessionRouteDependencies): AnyRoute[] {
  const { apiKeys, sessions, limits, destination, https } = dependencies;
  const cookie = (value: string, seconds: number): string => `${SESSION_COOKIE}=${value}; Path=/; HttpOnly; SameSite=Strict; Max-Age=${seconds}${https ? '; Secure' : ''}`;
  return [
    defineRoute({
      method: 'get',
      path: '/ui-session',
      id: 'showUiSignIn',
      tag: 'Codec',
      summary: 'The page where an operator signs in to the Temporal UI',
      permission: 'public',
      responses: { 200: { description: 'A form that asks for an API key.', schema: z.string(), contentType: HTML } },
      // Without a referrer policy of its own the form would be sent with `Origin: null`.
      handler: async () => ({ status: 200, body: PAGE, headers: { 'Referrer-Policy': 'same-origin' } }),
    }),
    defineRoute({
      method: 'post',
      path: '/ui-session',
      id: 'signInToUi',
      tag: 'Codec',
      summary: 'Exchanges an API key for the session cookie of the Temporal UI',
      description: `The cookie lives ${SESSION_SECONDS / 3600} hours at most and ends with the key. It opens the Temporal UI and the codec endpoint, nothing else.`,
      permission: 'public',
      rawBody: { [FORM]: z.object({ key: z.string() }) },
      timeoutMs: 15_000,
      responses: { 303: { description: 'Signed in; the cookie is set.' } },
      async handler({ request }) {
        assertSameOrigin(request);
        const key = new URLSearchParams(await readText(request, { type: FORM, limitBytes: FORM_LIMIT_BYTES })).get('key') ?? '';
        const credential = await apiKeys.authenticate(key.trim());
        if (credential === undefined) {
          await limits.countFailedAuthentication(request.ip ?? 'unknown');
          throw new HalError('Unauthenticated', 'this is not a valid API key');
        }
        return { status: 303, headers: { Location: destination, 'Set-Cookie': cookie(sessions.issue(credential.prefix), SESSION_SECONDS) } };
      },
    }),
    defineRoute({
      method: 'post',
      path: '/ui-session/end',
      id: 'signOutOfUi',
      tag: 'Codec',
      summary: 'Forgets the session cookie',
      permission: 'public',
      responses: { 303: { description: 'Signed out.' } },
      handler: async () => ({ status: 303, headers: { Location: '/ui-session', 'Set-Cookie': cookie('', 0) } }),
    }),
  ];
}

/** A page elsewhere must not sign somebody in with its own key. Browsers always send Origin with a POST. */
export function assertSameOrigin(request: Request): void {
  const origin = request.headers.origin;
  if (origin === undefined) return;
  if (!URL.canParse(origin) || new URL(origin).host !== request.headers.host) throw new HalError('Forbidden', 'the form was sent from another site');
}

const PAGE = `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>HAL9: sign in to the Temporal UI</title>
<style>body{font:16px/1.5 system-ui,sans-serif;max-width:28rem;margin:10vh auto;padding:0 1rem}input,button{font:inherit;width:100%;box-sizing:border-box;padding:.5rem;margin:.25rem 0 1rem}</style></head>
<body><h1>Temporal UI</h1>
<p>Histories are encrypted. Sign in with an API key whose scopes include <code>temporal-ui:use</code> and <code>codec:decode</code>.</p>
<form method="post" action="/ui-session"><label>API key<input name="key" type="password" autocomplete="off" required></label><button>Sign in</button></form>
</body></html>
`;
