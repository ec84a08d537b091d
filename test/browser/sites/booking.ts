import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { onLoopback } from '../../environment/loopback.ts';

/** A booking site with a sign-in and a form over several pages. Knows what nobody else can: how often each booking was made. */
export interface BookingSite {
  readonly url: string;
  /** Bookings by the reference that was typed. */
  readonly bookings: ReadonlyMap<string, number>;
  /** Sign-ins that were sent. */
  readonly signIns: () => number;
  close(): Promise<void>;
}

const PAGES = 3;
const USER = 'ada';
const PASSWORD = 'correct horse battery';

export const BOOKING_LOGIN = { username: USER, password: PASSWORD };

/** @param slowMs how long each page takes. */
export async function startBookingSite(slowMs = 0): Promise<BookingSite> {
  const sessions = new Map<string, Map<string, string>>();
  const bookings = new Map<string, number>();
  let signIns = 0;
  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const { pathname } = new URL(request.url ?? '/', 'http://site');
    const session = sessions.get(/session=([\w-]+)/.exec(request.headers.cookie ?? '')?.[1] ?? '');
    const form = request.method === 'POST' ? new URLSearchParams(await textOf(request)) : new URLSearchParams();
    if (slowMs > 0) await new Promise((resolve) => setTimeout(resolve, slowMs));
    if (pathname === '/login') {
      if (request.method !== 'POST') return page(response, 'Sign in', formOf('/login', '<label>User <input name=user></label><label>Password <input name=password type=password></label><button>Sign in</button>'));
      signIns += 1;
      if (form.get('user') !== USER || form.get('password') !== PASSWORD) return page(response, 'Sign in', '<p role=alert>Wrong user or password</p>', 401);
      const id = randomUUID();
      sessions.set(id, new Map());
      return redirect(response, '/', { 'set-cookie': `session=${id}; HttpOnly; SameSite=Lax; Path=/` });
    }
    if (session === undefined) return redirect(response, '/login');
    if (pathname === '/') return page(response, 'Welcome', `<p>Welcome ${USER}</p><a href="/form/1">New booking</a> <a href="/bookings">Bookings</a>`);
    if (pathname === '/bookings') return page(response, 'Bookings', `<ul>${[...bookings].map(([reference, count]) => `<li>${reference} (${String(count)})</li>`).join('')}</ul>`);
    const step = Number(/^\/form\/(\d)$/.exec(pathname)?.[1]);
    if (step >= 1 && step <= PAGES) {
      if (request.method !== 'POST') return page(response, `Page ${String(step)} of ${String(PAGES)}`, formOf(pathname, `${FIELDS[step - 1] ?? ''}<button>Next</button>`));
      for (const [name, value] of form) session.set(name, value);
      return redirect(response, step === PAGES ? '/confirm' : `/form/${String(step + 1)}`);
    }
    if (pathname === '/confirm') {
      const reference = session.get('reference') ?? '';
      if (request.method !== 'POST') return page(response, 'Confirm', `<p>${[...session.values()].join(', ')}</p>${formOf('/confirm', '<button>Book</button>')}`);
      bookings.set(reference, (bookings.get(reference) ?? 0) + 1);
      return redirect(response, `/booking/${encodeURIComponent(reference)}`);
    }
    const shown = decodeURIComponent(pathname.slice('/booking/'.length));
    if (pathname.startsWith('/booking/') && !bookings.has(shown)) return page(response, 'No such booking', '', 404);
    if (pathname.startsWith('/booking/')) return page(response, 'Confirmed', `<p>Booking <b data-testid=number>B-${shown}</b> is confirmed for ${USER}</p>`);
    return page(response, 'Not found', '', 404);
  };
  const server = createServer((request, response) => {
    answer(request, response).catch(() => response.destroy());
  });
  return {
    ...(await onLoopback(server)),
    bookings,
    signIns: () => signIns,
  };
}

const FIELDS = [
  '<label>Reference <input name=reference></label><label>Guest <input name=guest></label><label>Room <select name=room><option>Single<option>Double</select></label>',
  '<label>Arrival <input name=arrival type=date></label><label>Nights <input name=nights type=number></label><label><input name=breakfast type=checkbox> Breakfast</label>',
  '<label>Notes <textarea name=notes></textarea></label><label><input name=terms type=checkbox> Terms</label>',
];

/** The flow of twenty steps through the whole site. */
export function bookingFlow(url: string): Record<string, unknown> {
  const field = (label: string): Record<string, unknown> => ({ label });
  return {
    name: 'booking',
    result: 'vars.number',
    stepSeconds: 30,
    steps: [
      { do: 'navigate', url: `${url}/login` },
      { do: 'type', into: field('User'), secret: { credential: 'booking', field: 'username' } },
      { do: 'type', into: field('Password'), secret: { credential: 'booking', field: 'password' } },
      { do: 'click', on: { role: 'button', name: 'Sign in' }, repeatable: true },
      { do: 'wait', for: { text: 'Welcome ada' } },
      { do: 'click', on: { role: 'link', name: 'New booking' } },
      { do: 'type', into: field('Reference'), text: '{{ input.reference }}' },
      { do: 'type', into: field('Guest'), text: 'Grace Hopper' },
      { do: 'select', from: field('Room'), options: ['Double'] },
      { do: 'click', on: { role: 'button', name: 'Next' }, repeatable: true },
      { do: 'type', into: field('Arrival'), text: '2031-05-04' },
      { do: 'type', into: field('Nights'), text: '3' },
      { do: 'check', on: field('Breakfast') },
      { do: 'click', on: { role: 'button', name: 'Next' }, repeatable: true },
      { do: 'type', into: field('Notes'), text: 'Late arrival' },
      { do: 'check', on: field('Terms') },
      { do: 'click', on: { role: 'button', name: 'Next' }, repeatable: true },
      { do: 'assert', that: { text: 'Grace Hopper' } },
      { name: 'book', do: 'click', on: { role: 'button', name: 'Book' }, guard: { at: `${url}/booking/{{ input.reference }}`, seen: { text: 'is confirmed' }, withinSeconds: 1 } },
      { do: 'extract', as: 'number', on: { testId: 'number' } },
    ],
  };
}

function formOf(action: string, fields: string): string {
  return `<form method=post action="${action}">${fields}</form>`;
}

async function textOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(Buffer.from(chunk));
  return Buffer.concat(chunks).toString('utf8');
}

function page(response: ServerResponse, title: string, body: string, status = 200): void {
  response.writeHead(status, { 'content-type': 'text/html; charset=utf-8' }).end(`<!doctype html><title>${title}</title><h1>${title}</h1>${body}`);
}

function redirect(response: ServerResponse, to: string, headers: Record<string, string> = {}): void {
  response.writeHead(303, { location: to, ...headers }).end();
}
