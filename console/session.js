import { element } from './element.js';
import { drawShell, keyOfTab } from './shell.js';

export { element };

/** What the API refused, as a sentence, with its status and the problem's type. */
class Refused extends Error {
  constructor(status, { title, detail, remedy, type, errors = [] }) {
    super([title, detail, ...errors.map(({ path, message }) => `${path}: ${message}`), remedy].filter(Boolean).join('. '));
    this.status = status;
    this.type = type;
    this.errors = errors;
  }
}

/** Asks the API, by the session of this browser or the key of this tab; answers its JSON, undefined where there is none. @throws {Error} with the problem's detail and remedy. */
export async function ask(path, { method = 'GET', body, headers = {} } = {}) {
  const response = await send(path, { method, body, headers, signal: AbortSignal.timeout(90_000) });
  const text = await response.text();
  return text === '' ? undefined : JSON.parse(text);
}

/** Asks the API for a picture; answers it as an address that `img` takes. @throws {Error} as {@link ask}. */
export async function askPicture(path) {
  const response = await send(path, { method: 'GET', headers: { Accept: 'image/*' }, signal: AbortSignal.timeout(30_000) });
  const blob = await response.blob();
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.addEventListener('load', () => resolve(reader.result));
    reader.addEventListener('error', () => reject(reader.error));
    reader.readAsDataURL(blob);
  });
}

/** Asks the API for a text. @throws {Error} as {@link ask}. */
export async function askText(path) {
  const response = await send(path, { method: 'GET', headers: { Accept: '*/*' }, signal: AbortSignal.timeout(30_000) });
  return response.text();
}

/** Fetches a file of the API and hands it to the person. @throws {Error} as {@link ask}. */
export async function askFile(path, name) {
  const response = await send(path, { method: 'GET', headers: { Accept: '*/*' } });
  const href = URL.createObjectURL(await response.blob());
  const link = element('a', { href, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  // The browser has begun to read it by then.
  setTimeout(() => URL.revokeObjectURL(href), 60_000);
}

/**
 * Hears the server-sent events of a path until the server says there are no more, coming back where it was after a break.
 * @param hear is called with the JSON of each event, in order.
 * @param signal ends it.
 */
export async function listen(path, hear, signal) {
  let last;
  for (let pause = 500; !signal.aborted; pause = Math.min(pause * 2, 10_000)) {
    try {
      const response = await send(path, { method: 'GET', headers: { Accept: 'text/event-stream', ...(last === undefined ? {} : { 'Last-Event-ID': last }) }, signal });
      if (response.status === 204) return;
      let text = '';
      for await (const chunk of pieces(response.body)) {
        text += chunk;
        const blocks = text.split(/\r?\n\r?\n/);
        text = blocks.pop();
        for (const block of blocks) {
          const field = (name) => block.split(/\r?\n/).filter((line) => line.startsWith(`${name}:`)).map((line) => line.slice(name.length + 1).trimStart()).join('\n');
          last = field('id') || last;
          const data = field('data');
          if (data === '') continue;
          pause = 500;
          const event = JSON.parse(data);
          hear(event);
          if (event.type === 'closed') return;
        }
      }
    } catch (error) {
      if (signal.aborted) return;
      // Refused is final; anything else is the network, which comes back.
      if (error instanceof Refused && error.status < 500) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, pause));
  }
}

async function* pieces(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  for (let piece = await reader.read(); !piece.done; piece = await reader.read()) yield piece.value;
}

async function send(path, { method, body, headers, signal }) {
  const key = keyOfTab();
  const response = await fetch(path, {
    method,
    headers: { ...(key === null ? await proof(method) : { Authorization: `Bearer ${key}` }), ...(body === undefined ? {} : { 'Content-Type': 'application/json' }), Accept: 'application/json', ...headers },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    signal,
  });
  if (key === null && response.status === 401) throw new Refused(401, { title: 'Sign in, or enter an API key above; it stays in this tab.' });
  if (!response.ok) throw new Refused(response.status, await response.json());
  return response;
}

/** What a change by cookie needs: that only a page of ours could have asked for it. */
async function proof(method) {
  if (method === 'GET') return {};
  const response = await fetch('/v1/session', { headers: { Accept: 'application/json' } });
  return response.ok ? { 'X-CSRF-Token': (await response.json()).csrfToken } : {};
}

/** Draws the head of every page and runs `draw` into main; again whenever somebody signs in or out. */
export function page(draw) {
  const main = document.querySelector('main');
  const run = async () => {
    try {
      main.replaceChildren(...(await draw()));
    } catch (error) {
      main.replaceChildren(element('p', { class: 'problem' }, error.message));
    }
    document.body.dataset.drawn = 'yes';
  };
  drawShell(() => void run());
  void run();
}

/** A local, readable time. */
export function when(text) {
  return text === null || text === undefined ? '' : new Date(text).toLocaleString();
}
