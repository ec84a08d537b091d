import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { FlowDraft } from '../../../schemas/browser/flow.ts';
import { onLoopback } from '../../environment/loopback.ts';
import type { Mood } from './mood.ts';

/** What a visitor asks for. */
export interface Visit {
  readonly path: string;
  readonly query: URLSearchParams;
  /** What was sent; undefined for a page that is only looked at. */
  readonly form: URLSearchParams | undefined;
  /** What the site knows of this visitor. */
  readonly visitor: Map<string, string>;
}

export type Answer = { readonly redirect: string } | { readonly title: string; readonly parts: readonly Part[] };

interface Part {
  readonly html: string;
  /** Comes some time after the page. */
  readonly late?: boolean;
}

/** A site without its moods. */
export interface Site {
  readonly name: string;
  /** Links that every page has. */
  readonly menu: Readonly<Record<string, string>>;
  answer(visit: Visit): Answer;
  /** Ten steps or more, which answer {@link Site.expected}. */
  steps(url: string): FlowDraft['steps'];
  readonly expected: unknown;
  /** How often what the flow is for has happened. */
  happened(): number;
}

interface MoodySite {
  readonly url: string;
  readonly flow: FlowDraft;
  close(): Promise<void>;
}

const POP_UPS = [
  { name: 'Cookies', text: 'We value your privacy.', button: 'Only what is needed' },
  { name: 'Newsletter', text: 'Ten percent off for your address.', button: 'No, thanks' },
];

/** Serves a site on loopback as its mood is: answers slowly, moves what it shows, fills pages later, and puts something in front of them. */
export async function startMoodySite(site: Site, mood: Mood): Promise<MoodySite> {
  const visitors = new Map<string, Map<string, string>>();
  const hits = new Map<string, number>();
  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const url = new URL(request.url ?? '/', 'http://site');
    const hit = (hits.get(url.pathname) ?? 0) + 1;
    hits.set(url.pathname, hit);
    const key = `${url.pathname}#${String(hit)}`;
    const known = /visitor=([\w-]+)/.exec(request.headers.cookie ?? '')?.[1] ?? '';
    const id = visitors.has(known) ? known : randomUUID();
    const visitor = visitors.get(id) ?? new Map<string, string>();
    visitors.set(id, visitor);
    const form = request.method === 'POST' ? new URLSearchParams(await textOf(request)) : undefined;
    await pass(slowness(mood, key));
    const outcome = site.answer({ path: url.pathname, query: url.searchParams, form, visitor });
    const headers = { 'set-cookie': `visitor=${id}; HttpOnly; SameSite=Lax; Path=/` };
    if ('redirect' in outcome) response.writeHead(303, { ...headers, location: outcome.redirect }).end();
    else response.writeHead(200, { ...headers, 'content-type': 'text/html; charset=utf-8' }).end(pageOf(site, mood, key, outcome, visitor));
  };
  const server = createServer((request, response) => {
    answer(request, response).catch((error: unknown) => response.writeHead(500).end(String(error)));
  });
  const { url, close } = await onLoopback(server);
  return {
    url,
    flow: {
      name: site.name,
      stepSeconds: 30,
      result: 'vars.outcome',
      overlays: POP_UPS.map(({ name, button }) => ({ on: { role: 'dialog', name }, click: { role: 'button', name: button } })),
      steps: site.steps(url),
    },
    close,
  };
}

/** Most pages take some hundred ms, one of ten takes seconds. */
function slowness(mood: Mood, key: string): number {
  const chance = mood.chance(`slow/${key}`);
  return chance > 0.9 ? 2000 * mood.chance(`slower/${key}`) : 400 * chance;
}

function pageOf(site: Site, mood: Mood, key: string, { title, parts }: Extract<Answer, { title: string }>, visitor: Map<string, string>): string {
  const scripts: string[] = [];
  const shown = parts.map(({ html, late }, index) => {
    const id = mood.id(`part/${key}/${String(index)}`);
    if (late !== true) return `<section class=${id}>${html}</section>`;
    scripts.push(`setTimeout(() => { document.getElementById('${id}').innerHTML = ${script(html)}; }, ${String(Math.round(200 + 1300 * mood.chance(`late/${key}`)))});`);
    return `<section id=${id} aria-busy=true>Loading…</section>`;
  });
  const menu = mood.shuffled('menu', Object.entries(site.menu)).map(([text, href]) => `<li class=${mood.id(text)}><a href="${href}">${text}</a></li>`);
  const blocks = mood.shuffled('blocks', [`<nav><ul>${menu.join('')}</ul></nav>`, `<main><h1>${title}</h1>${shown.join('')}</main>`, `<aside class=${mood.id('aside')}>${site.name} since ${String(1990 + Math.floor(30 * mood.chance('since')))}</aside>`]);
  // What is above moves all that is below.
  if (mood.chance(`shift/${key}`) > 0.7) scripts.push(`setTimeout(() => { const banner = document.createElement('div'); banner.textContent = 'Only today'; banner.style.height = '120px'; document.body.prepend(banner); }, ${String(Math.round(900 * mood.chance(`moved/${key}`)))});`);
  for (const { name, text, button } of POP_UPS) {
    if (visitor.has(name) || mood.chance(`${name}/${key}`) < 0.6) continue;
    visitor.set(name, 'shown');
    const dialog = `<div role=dialog aria-label="${name}" class=${mood.id(name)} style="position:fixed;inset:0;background:#fffd;z-index:9"><p>${text}</p><button>${button}</button></div>`;
    scripts.push(`setTimeout(() => { document.body.insertAdjacentHTML('beforeend', ${script(dialog)}); const dialog = document.body.lastElementChild; dialog.querySelector('button').onclick = () => dialog.remove(); }, ${String(Math.round(600 * mood.chance(`${name} at/${key}`)))});`);
  }
  if (mood.chance(`says/${key}`) > 0.9) scripts.push(`setTimeout(() => alert('Your session is valued'), 50);`);
  if (mood.chance(`opens/${key}`) > 0.93) scripts.push(`window.open('about:blank');`);
  return `<!doctype html><html lang=en><title>${title}</title><style>.${mood.id('label')}{margin:${String(Math.round(20 * mood.chance('margin')))}px}</style><body>${blocks.join('')}<script>${scripts.join('\n')}</script></body></html>`;
}

/** A text as one of a script in a page. */
function script(text: string): string {
  return JSON.stringify(text).replaceAll('<', '\\u003c');
}

async function pass(ms: number): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, ms));
}

async function textOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(Buffer.from(chunk));
  return Buffer.concat(chunks).toString('utf8');
}

/** What visitors wrote, as a page may show it. */
export function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('"', '&quot;');
}
