/** The API key of this tab, for who is not signed in. */
const STORED = 'hal9-api-key';

/** Asks the API, by the session of this browser or the key of this tab; answers its JSON. @throws {Error} with the problem's detail and remedy. */
export async function ask(path, { method = 'GET', body } = {}) {
  const key = sessionStorage.getItem(STORED);
  const response = await fetch(path, {
    method,
    headers: { ...(key === null ? await proof(method) : { Authorization: `Bearer ${key}` }), ...(body === undefined ? {} : { 'Content-Type': 'application/json' }), Accept: 'application/json' },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    signal: AbortSignal.timeout(15_000),
  });
  if (key === null && response.status === 401) throw new Error('Sign in, or enter an API key above; it stays in this tab.');
  const answer = await response.json();
  if (!response.ok) throw new Error([answer.title, answer.detail, answer.remedy].filter(Boolean).join('. '));
  return answer;
}

/** What a change by cookie needs: that only a page of ours could have asked for it. */
async function proof(method) {
  if (method === 'GET') return {};
  const response = await fetch('/v1/session', { headers: { Accept: 'application/json' } });
  return response.ok ? { 'X-CSRF-Token': (await response.json()).csrfToken } : {};
}

/** An element with attributes and children; strings become text nodes. */
export function element(name, attributes = {}, ...children) {
  const svg = ['svg', 'g', 'rect', 'text', 'path', 'title'].includes(name);
  const made = svg ? document.createElementNS('http://www.w3.org/2000/svg', name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === 'function') made.addEventListener(key, value);
    else made.setAttribute(key, String(value));
  }
  made.append(...children);
  return made;
}

/** Draws the head of every page and runs `draw` into main; again whenever a key is entered. */
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
  const field = element('input', { type: 'password', placeholder: 'API key', autocomplete: 'off', 'aria-label': 'API key' });
  const form = element('form', {
    submit: (event) => {
      event.preventDefault();
      sessionStorage.setItem(STORED, field.value.trim());
      field.value = '';
      void run();
    },
  }, field, element('button', {}, 'Use'));
  document.querySelector('header').append(element('b', {}, 'HAL9'), element('a', { href: '/console/incidents.html' }, 'Incidents'), element('a', { href: '/console/trace.html' }, 'Trace'), element('a', { href: '/console/automations.html' }, 'Automations'), element('a', { href: '/console/deliveries.html' }, 'Deliveries'), element('a', { href: '/console/usage.html' }, 'Usage'), element('a', { href: '/console/compliance.html' }, 'Compliance'), element('a', { href: '/console/audit.html' }, 'Audit'), element('a', { href: '/docs' }, 'API'), element('a', { href: '/account' }, 'Account'), form);
  void run();
}

/** A local, readable time. */
export function when(text) {
  return text === null || text === undefined ? '' : new Date(text).toLocaleString();
}
