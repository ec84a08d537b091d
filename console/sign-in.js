import { call, field, form, knowsPasskeys, press, show, useAuthenticator } from './door.js';
import { element } from './session.js';

const returnTo = new URLSearchParams(location.search).get('returnTo') ?? undefined;
const LAST = 'hal9-organisation';

function go({ location: target }) {
  location.assign(target);
}

function byKey() {
  return element('details', {},
    element('summary', {}, 'Sign in with an API key'),
    form('key', [field('API key', { name: 'key', type: 'password', autocomplete: 'off', required: '' })], 'Sign in', async ({ key }) => go(await call('POST', '/v1/sign-in/key', { key, returnTo }))));
}

function start(wrong) {
  const choose = async ({ place }) => {
    const organisation = place.includes('@') ? (await call('GET', `/v1/sign-in/organisations?email=${encodeURIComponent(place)}`)).organisation : place.trim().toLowerCase();
    await call('GET', `/v1/sign-in/organisations/${encodeURIComponent(organisation)}`);
    const query = returnTo === undefined ? '' : `?returnTo=${encodeURIComponent(returnTo)}`;
    location.assign(`/sign-in/${encodeURIComponent(organisation)}${query}`);
  };
  show(
    element('h1', {}, 'Sign in to HAL9'),
    wrong === undefined ? undefined : element('p', { class: 'problem', role: 'alert' }, wrong),
    form('organisation', [field('Organisation, or your e-mail address', { name: 'place', autocomplete: 'organization', autocapitalize: 'none', spellcheck: 'false', required: '', autofocus: '', value: localStorage.getItem(LAST) ?? '' })], 'Continue', choose),
    byKey(),
  );
}

function forgotten(organisation) {
  show(
    element('h1', {}, 'Forgot your password?'),
    element('p', { class: 'note' }, 'A link to set a new one goes to your confirmed e-mail address.'),
    form('forgotten', [field('User name or e-mail address', { name: 'userName', autocomplete: 'username', autocapitalize: 'none', spellcheck: 'false', required: '', autofocus: '' })], 'Send the link', async ({ userName }) => {
      await call('POST', '/v1/sign-in/forgotten', { organisation, userName });
      show(
        element('h1', {}, 'Look into your mail'),
        element('p', { class: 'done' }, 'If that is you and your address is confirmed, a link is on its way. It works once, for an hour.'),
        element('p', { class: 'note' }, 'Nothing came? Ask an administrator of your organisation for a link.'),
        element('a', { class: 'button', href: location.href }, 'Back'),
      );
    }),
  );
}

async function at(organisation) {
  const offer = await call('GET', `/v1/sign-in/organisations/${encodeURIComponent(organisation)}`);
  localStorage.setItem(LAST, organisation);
  const query = returnTo === undefined ? '' : `?returnTo=${encodeURIComponent(returnTo)}`;
  const passkey = async () => {
    const answer = await useAuthenticator(await call('POST', '/v1/sign-in/passkey/begin', { organisation }));
    go(await call('POST', '/v1/sign-in/passkey', { organisation, returnTo, ...answer }));
  };
  const ways = [
    ...offer.providers.map((provider) => element('a', { class: 'button', href: provider.location + query }, `Continue with ${provider.name}`)),
    ...(knowsPasskeys() ? [press('Use a passkey', passkey, { id: 'passkey' })] : []),
  ];
  show(
    element('h1', {}, offer.organisation.name),
    element('p', { class: 'note' }, 'Sign in to HAL9. ', element('a', { href: '/sign-in' }, 'Another organisation')),
    ways.length === 0 ? undefined : element('div', { class: 'ways' }, ...ways),
    ways.length === 0 || !offer.passwords ? undefined : element('hr', {}),
    offer.passwords
      ? form('password', [
          field('User name', { name: 'userName', autocomplete: 'username webauthn', autocapitalize: 'none', spellcheck: 'false', required: '', autofocus: '' }),
          field('Password', { name: 'password', type: 'password', autocomplete: 'current-password', required: '' }),
        ], 'Sign in', async ({ userName, password }) => go(await call('POST', '/v1/sign-in/password', { organisation, userName, password, returnTo })))
      : undefined,
    offer.resetByMail ? press('Forgot your password?', () => forgotten(organisation), { id: 'forgotten', class: 'quiet' }) : undefined,
    byKey(),
  );
}

const [, , organisation] = location.pathname.split('/');
if (organisation === undefined || organisation === '') start();
else at(decodeURIComponent(organisation)).catch((error) => start(error.message));
