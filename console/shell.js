import { element } from './element.js';

/** The API key of this tab, for who is not signed in. */
const STORED = 'hal9-api-key';
const PAGES = [
  ['Runs', '/console/runs.html', '/console/run.html', '/console/browser.html'],
  ['Rollouts', '/console/rollouts.html', '/console/rollout.html'],
  ['Automations', '/console/automations.html'],
  ['Schedules', '/console/schedules.html'],
  ['Deliveries', '/console/deliveries.html'],
  ['Incidents', '/console/incidents.html'],
  ['Trace', '/console/trace.html'],
  ['Usage', '/console/usage.html'],
  ['Audit', '/console/audit.html'],
  ['Privacy', '/console/privacy.html'],
  ['Compliance', '/console/compliance.html'],
];

/** The key that somebody entered in this tab; null when they did not. */
export function keyOfTab() {
  return sessionStorage.getItem(STORED);
}

/**
 * The head of every page: where one is, where one can go, and as whom.
 * @param again runs when somebody else is meant from now on.
 */
export function drawShell(again) {
  const who = element('div', { class: 'who' });
  const here = location.pathname;
  const nav = element('nav', { 'aria-label': 'Pages' }, ...PAGES.map(([title, href, ...others]) => element('a', { href, ...([href, ...others].includes(here) ? { 'aria-current': 'page' } : {}) }, title)));
  const main = document.querySelector('main');
  main.id = 'content';
  main.tabIndex = -1;
  document.querySelector('header').replaceChildren(
    element('a', { class: 'skip', href: '#content' }, 'Skip to the content'),
    element('a', { class: 'brand', href: '/console/runs.html', 'aria-label': 'HAL9, runs' }, element('svg', { width: 18, height: 18, viewBox: '0 0 18 18', 'aria-hidden': 'true' }, element('circle', { class: 'lens', cx: 9, cy: 9, r: 8 }), element('circle', { class: 'pupil', cx: 9, cy: 9, r: 3.2 })), element('b', {}, 'HAL9')),
    nav,
    who,
  );
  const current = nav.querySelector('[aria-current]');
  // After scrollIntoView Tab goes on from there in newer browsers, past the link that skips the head.
  if (current !== null) nav.scrollLeft = current.offsetLeft - nav.offsetLeft - (nav.clientWidth - current.offsetWidth) / 2;
  const identify = async () => who.replaceChildren(...(await identity(again, identify)));
  void identify();
}

async function identity(again, identify) {
  const links = [element('a', { href: '/docs' }, 'API')];
  const key = keyOfTab();
  if (key !== null) {
    const answer = await get('/v1/organisations?limit=200', { Authorization: `Bearer ${key}` });
    if (answer === undefined || answer.status === 401) return [...links, keyForm(again, identify)];
    const { items = [] } = answer.body;
    const ids = new Set(items.map(({ id }) => id));
    const own = items.find(({ parentId }) => parentId === null || !ids.has(parentId));
    const forget = element('button', {
      type: 'button',
      id: 'forget-key',
      click: () => {
        sessionStorage.removeItem(STORED);
        void identify();
        again();
      },
    }, 'Forget key');
    return [...links, name('API key of this tab', own?.name), forget];
  }
  const answer = await get('/v1/session');
  if (answer === undefined || answer.status !== 200) {
    return [...links, element('a', { class: 'button', href: `/sign-in?returnTo=${encodeURIComponent(location.pathname + location.search)}` }, 'Sign in'), keyForm(again, identify)];
  }
  const { actor, orgId, csrfToken } = answer.body;
  const [person, organisation] = await Promise.all([actor.kind === 'user' ? get(`/v1/users/${actor.id}`) : undefined, get(`/v1/organisations/${orgId}`)]);
  const out = element('button', {
    type: 'button',
    id: 'sign-out',
    click: async () => {
      const response = await fetch('/v1/session/end', { method: 'POST', headers: { 'X-CSRF-Token': csrfToken, Accept: 'application/json' }, signal: AbortSignal.timeout(15_000) });
      if (response.ok || response.status === 401) location.assign('/sign-in');
    },
  }, 'Sign out');
  return [...links, element('a', { href: '/account', ...(location.pathname === '/account' ? { 'aria-current': 'page' } : {}) }, 'Account'), name(person?.body.userName ?? (actor.kind === 'user' ? 'Signed in' : 'API key'), organisation?.body.name), out];
}

function name(who, where) {
  return element('span', { class: 'name' }, element('span', {}, who), where === undefined ? undefined : element('small', {}, where));
}

function keyForm(again, identify) {
  const field = element('input', { type: 'password', placeholder: 'API key', autocomplete: 'off', 'aria-label': 'API key' });
  return element('form', {
    submit: (event) => {
      event.preventDefault();
      sessionStorage.setItem(STORED, field.value.trim());
      field.value = '';
      void identify();
      again();
    },
  }, field, element('button', {}, 'Use'));
}

/** What the server says about who asks; undefined when it cannot be reached, as the page itself says then. */
async function get(path, headers = {}) {
  try {
    const response = await fetch(path, { headers: { Accept: 'application/json', ...headers }, signal: AbortSignal.timeout(15_000) });
    return { status: response.status, body: await response.json() };
  } catch {
    return undefined;
  }
}
