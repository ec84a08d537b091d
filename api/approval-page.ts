import type { LinkView } from '../platform/approvals/approvals.ts';
import type { RouteAnswer } from './route.ts';

/** Nothing runs, nothing loads, nobody frames it, and the address with the token in it is told to nobody. */
const HEADERS = {
  'Content-Type': 'text/html; charset=utf-8',
  'Content-Security-Policy': "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
  'Referrer-Policy': 'no-referrer',
  'Cache-Control': 'no-store',
  'X-Robots-Tag': 'noindex',
} as const;

/** The page a link opens: the question with two buttons. Opening it changes nothing. */
export function confirmPage(view: LinkView): RouteAnswer {
  switch (view.kind) {
    case 'spent':
      return spentPage();
    case 'closed':
      return page(410, 'Already decided', `<p>${escapeHtml(view.approval.outcome ?? view.approval.state)}</p>`);
    case 'open': {
      const { summary, reason, required, deadlineAt } = view.approval;
      const needed = required === 1 ? '' : `<p>${required} approvals are needed; this link gives one.</p>`;
      return page(
        200,
        'Approval needed',
        `<h2>${escapeHtml(summary)}</h2><p>${escapeHtml(reason)}</p>${needed}<p>Until ${deadlineAt.toISOString()}</p>
<form method="post" action="?answer=approve"><button>Approve</button></form>
<form method="post" action="?answer=refuse"><button>Refuse</button></form>`,
      );
    }
  }
}

/** The page after the answer. */
export function answeredPage(view: LinkView, approved: boolean): RouteAnswer {
  return view.kind === 'spent' ? spentPage() : page(200, approved ? 'Approved' : 'Refused', '<p>Your answer is recorded. You can close this page.</p>');
}

function spentPage(): RouteAnswer {
  return page(410, 'This link does not work any more', '<p>It has been used, has expired, or was cut on its way to you.</p>');
}

function page(status: number, title: string, body: string): RouteAnswer {
  return {
    status,
    headers: HEADERS,
    body: `<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>${title}</title>
<style>body{font:16px/1.5 system-ui;max-width:40rem;margin:4rem auto;padding:0 1rem}p{white-space:pre-wrap;overflow-wrap:anywhere}form{display:inline}button{font:inherit;padding:.5rem 1.5rem;margin-right:1rem}</style></head>
<body><h1>${title}</h1>${body}</body></html>`,
  };
}

function escapeHtml(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;').replaceAll("'", '&#39;');
}
