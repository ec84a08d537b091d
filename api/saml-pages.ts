import { createHash } from 'node:crypto';
import type { RouteAnswer } from './route.ts';

const SCRIPT = 'document.forms[0].submit()';
const SCRIPT_HASH = createHash('sha256').update(SCRIPT).digest('base64');

/**
 * A page that posts a form by itself, and has a button for browsers without scripts.
 * @param targets origins the form may go to, as in `form-action`.
 */
export function postingPage(form: { readonly action: string; readonly fields: Readonly<Record<string, string>>; readonly targets: string }): RouteAnswer {
  const inputs = Object.entries(form.fields).map(([name, value]) => `<input type="hidden" name="${escapeHtml(name)}" value="${escapeHtml(value)}">`);
  return {
    status: 200,
    headers: {
      'Content-Type': 'text/html; charset=utf-8',
      'Content-Security-Policy': `default-src 'none'; script-src 'sha256-${SCRIPT_HASH}'; form-action ${form.targets}; frame-ancestors 'none'; base-uri 'none'`,
      'Cache-Control': 'no-store',
      'Referrer-Policy': 'same-origin',
      'X-Robots-Tag': 'noindex',
    },
    body: `<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Signing in</title></head>
<body><form method="post" action="${escapeHtml(form.action)}">${inputs.join('')}<button>Continue</button></form><script>${SCRIPT}</script></body></html>`,
  };
}

function escapeHtml(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;').replaceAll("'", '&#39;');
}
