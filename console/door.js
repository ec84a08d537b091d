import { element } from './session.js';

let csrf;

/** The session of this browser, undefined when nobody is signed in. */
export async function session() {
  const response = await fetch('/v1/session', { headers: { Accept: 'application/json' }, signal: AbortSignal.timeout(15_000) });
  if (response.status === 401) return undefined;
  const body = await read(response);
  csrf = body.csrfToken;
  return body;
}

/**
 * Calls the API by the cookie of this browser.
 * @throws {Failure} with what is wrong and what to do.
 */
export async function call(method, path, body) {
  if (method !== 'GET' && csrf === undefined && !path.startsWith('/v1/sign-in/')) await session();
  const headers = { Accept: 'application/json', ...(body === undefined ? {} : { 'Content-Type': 'application/json' }), ...(csrf === undefined ? {} : { 'X-CSRF-Token': csrf }) };
  const response = await fetch(path, { method, headers, ...(body === undefined ? {} : { body: JSON.stringify(body) }), signal: AbortSignal.timeout(30_000) });
  return response.status === 204 ? undefined : read(response);
}

/** What the API refused. */
export class Failure extends Error {
  constructor(problem, retryAfter) {
    const fields = (problem.errors ?? []).map((error) => error.message).join('; ');
    super([fields === '' ? problem.detail : `${problem.detail}: ${fields}`, retryAfter === null ? '' : `Try again in ${retryAfter} s.`].filter(Boolean).join('. '));
    this.type = problem.type;
    this.status = problem.status;
  }
}

async function read(response) {
  const body = await response.json();
  if (!response.ok) throw new Failure(body, response.headers.get('Retry-After'));
  return body;
}

/** Redraws main, and says to whoever reads the page by ear that it changed. */
export function show(...children) {
  document.querySelector('main').replaceChildren(...children.filter((child) => child !== undefined));
  document.body.dataset.drawn = 'yes';
  document.querySelector('[autofocus]')?.focus();
}

/** A labelled field. */
export function field(label, attributes) {
  return element('label', {}, label, element('input', attributes));
}

/** A form that runs `send` with its fields and shows what went wrong above its button. */
export function form(id, fields, label, send) {
  const problem = element('p', { class: 'problem', role: 'alert', hidden: '' });
  const button = element('button', { class: 'chief' }, label);
  return element('form', {
    id,
    submit: async (event) => {
      event.preventDefault();
      button.disabled = true;
      try {
        await send(Object.fromEntries(new FormData(event.target)));
      } catch (error) {
        problem.textContent = error.message;
        problem.hidden = false;
      } finally {
        button.disabled = false;
      }
    },
  }, ...fields, problem, button);
}

/** A button that runs `act` and says below itself what went wrong. */
export function press(label, act, attributes = {}) {
  const problem = element('p', { class: 'problem', role: 'alert', hidden: '' });
  const button = element('button', {
    type: 'button',
    ...attributes,
    click: async () => {
      button.disabled = true;
      try {
        await act();
      } catch (error) {
        problem.textContent = error.name === 'NotAllowedError' ? 'The device was not used, or does not know this site.' : error.message;
        problem.hidden = false;
      } finally {
        button.disabled = false;
      }
    },
  }, label);
  return element('div', {}, button, problem);
}

/** Whether this browser and address know passkeys: they need a name, not a number, and HTTPS or localhost. */
export function knowsPasskeys() {
  return window.isSecureContext && 'PublicKeyCredential' in window && typeof PublicKeyCredential.parseRequestOptionsFromJSON === 'function' && !/^[\d.]+$|^\[/.test(location.hostname);
}

/** Has the authenticator answer. */
export async function useAuthenticator({ challengeId, options }) {
  const credential = await navigator.credentials.get({ publicKey: PublicKeyCredential.parseRequestOptionsFromJSON(options) });
  return { challengeId, response: credential.toJSON() };
}

/** Has the authenticator make a key pair for this site. */
export async function makeCredential({ challengeId, options }) {
  const credential = await navigator.credentials.create({ publicKey: PublicKeyCredential.parseCreationOptionsFromJSON(options) });
  return { challengeId, response: credential.toJSON() };
}

/** A QR code that the API drew. */
export function picture(svg, alt) {
  return element('img', { class: 'qr', alt, src: `data:image/svg+xml,${encodeURIComponent(svg)}` });
}

/** Recovery codes, shown this once. */
export function codes(list) {
  return element('div', {},
    element('p', {}, 'Keep these recovery codes where only you find them. Each works once, when your other factors are out of reach. They are shown only now.'),
    element('ol', { class: 'codes' }, ...list.map((code) => element('li', {}, code))));
}
