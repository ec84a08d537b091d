import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { defineRoute, type AnyRoute } from '../route.ts';
import { PAGE_POLICY } from './console.ts';

const FOLDER = join(import.meta.dirname, '../../console');
const HEADERS = {
  'Content-Type': 'text/html; charset=utf-8',
  'Content-Security-Policy': PAGE_POLICY,
  // The address can hold a token; forms and calls still name their origin.
  'Referrer-Policy': 'same-origin',
  'Cache-Control': 'no-store',
} as const;

/** The pages of signing in. They hold no data: what they show and do goes over the API. */
export function createSignInPageRoutes(): AnyRoute[] {
  return [
    page('/sign-in', 'signInPage', 'sign-in', 'The page where everybody signs in'),
    page('/sign-in/:organisation', 'organisationSignInPage', 'sign-in', 'The page where the people of one organisation sign in', z.object({ organisation: z.string().max(64) })),
    page('/second-factor', 'secondFactorPage', 'second-factor', 'The page that asks for the second factor'),
    page('/welcome', 'resetPage', 'welcome', 'The page behind a link that sets a password'),
    page('/invitations/:token', 'invitationPage', 'welcome', 'The page behind an invitation', z.object({ token: z.string().max(200) })),
    page('/account', 'accountPage', 'account', 'The page of one\'s own sessions, factors and password'),
  ];
}

function page(path: string, id: string, file: string, summary: string, params?: z.ZodType): AnyRoute {
  return defineRoute({
    method: 'get',
    path,
    id,
    tag: 'Sign-in',
    summary,
    permission: 'public',
    ...(params === undefined ? {} : { params }),
    responses: { 200: { description: 'The page.', schema: z.string(), contentType: 'text/html' } },
    handler: async () => ({ status: 200, body: await readFile(join(FOLDER, `${file}.html`), 'utf8'), headers: HEADERS }),
  });
}
