import { z } from 'zod';
import { FAILURES, type HalError } from '../schemas/errors.ts';
import { toHalError } from '../platform/failures/translate.ts';
import type { RouteAnswer } from './route.ts';

/** Parameters of every route of one provider: organisation by slug or id, and the provider. */
export const PROVIDER_PARAMS = z.object({ organisation: z.string().min(1).max(64), id: z.uuid() });
/** A page, as an answer of a route. */
export const HTML_ANSWER = { schema: z.string(), contentType: 'text/html; charset=utf-8' };
/** Media type of a submitted form. */
export const FORM = 'application/x-www-form-urlencoded';

/** Nothing runs, nothing loads, nobody frames it. */
const HEADERS = {
  'Content-Type': 'text/html; charset=utf-8',
  'Content-Security-Policy': "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
  // The address of a callback holds a code. Forms still name the site they come from.
  'Referrer-Policy': 'same-origin',
  'Cache-Control': 'no-store',
  'X-Robots-Tag': 'noindex',
} as const;

/** The page that asks for name and password of a directory. */
export function directoryPage(page: { readonly name: string; readonly action: string; readonly returnTo: string | undefined; readonly signInPage: string }): RouteAnswer {
  return html(
    200,
    `Sign in with ${page.name}`,
    `<form method="post" action="${escapeHtml(page.action)}">
<label>Name<input name="userName" autocomplete="username" autocapitalize="none" spellcheck="false" maxlength="256" required autofocus></label>
<label>Password<input name="password" type="password" autocomplete="current-password" maxlength="1024" required></label>
${page.returnTo === undefined ? '' : `<input name="returnTo" type="hidden" value="${escapeHtml(page.returnTo)}">`}
<button>Sign in</button></form>
<p><a href="${escapeHtml(page.signInPage)}">Another way</a></p>`,
  );
}

/**
 * Answers a person in a browser: a failure becomes a page that says it and how to go on.
 * @param again where the sign-in begins.
 */
export async function forPeople(again: string, work: () => Promise<RouteAnswer>): Promise<RouteAnswer> {
  try {
    return await work();
  } catch (error) {
    const failure = toHalError(error);
    // What is HAL9's own fault goes to the log with its cause, by the one place that does so.
    if (failure.type === 'Internal') throw error;
    return failurePage(failure, again);
  }
}

function failurePage(failure: HalError, again: string): RouteAnswer {
  const { retryAfterSeconds } = failure;
  const wait = retryAfterSeconds === undefined ? '' : `<p>Try again in ${Math.ceil(retryAfterSeconds)} seconds.</p>`;
  const page = html(FAILURES[failure.type].status, 'You are not signed in', `<p>${escapeHtml(failure.message)}</p>${wait}<p><a href="${escapeHtml(again)}">Back to the sign-in page</a></p>`);
  return retryAfterSeconds === undefined ? page : { ...page, headers: { ...page.headers, 'Retry-After': String(Math.ceil(retryAfterSeconds)) } };
}

function html(status: number, title: string, body: string): RouteAnswer {
  return {
    status,
    headers: HEADERS,
    body: `<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>${escapeHtml(title)}</title>
<style>body{font:16px/1.5 system-ui,sans-serif;max-width:28rem;margin:10vh auto;padding:0 1rem}input,button{font:inherit;width:100%;box-sizing:border-box;padding:.5rem;margin:.25rem 0 1rem}</style></head>
<body><h1>${escapeHtml(title)}</h1>${body}</body></html>`,
  };
}

function escapeHtml(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;').replaceAll("'", '&#39;');
}
