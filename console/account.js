import { call, codes, field, form, knowsPasskeys, makeCredential, picture, press, session, show, useAuthenticator } from './door.js';
import { element, page, when } from './session.js';

const table = (titles, rows) => element('table', {}, element('thead', {}, element('tr', {}, ...titles.map((title) => element('th', { scope: 'col' }, title)))), element('tbody', {}, ...rows));
const section = (title, ...children) => element('section', {}, element('h2', {}, title), ...children.filter((child) => child !== undefined));

/** Does something sensitive; asks for a proof first when the last one is too old. */
async function sensitive(act) {
  try {
    return await act();
  } catch (error) {
    if (!error.type?.endsWith('/StepUpRequired')) throw error;
    await prove();
    return act();
  }
}

function prove() {
  return new Promise((resolve, reject) => {
    call('GET', '/v1/session/proof').then((proofs) => {
      const send = async (body) => {
        await call('POST', '/v1/session/proof', body);
        dialog.close();
        resolve();
      };
      const dialog = element('dialog', { close: () => reject(new Error('Nothing was changed.')), 'aria-label': 'Prove that it is you' },
        element('h2', {}, 'Is it you?'),
        proofs.webauthn !== null && knowsPasskeys() ? press('Use a passkey', async () => send({ kind: 'webauthn', ...(await useAuthenticator(proofs.webauthn)) })) : element('span', {}),
        proofs.totp ? form('prove-totp', [field('Six-digit code', { name: 'code', autocomplete: 'one-time-code', inputmode: 'numeric', required: '' })], 'Continue', ({ code }) => send({ kind: 'totp', code })) : element('span', {}),
        proofs.password ? form('prove-password', [field('Password', { name: 'password', type: 'password', autocomplete: 'current-password', required: '' })], 'Continue', ({ password }) => send({ kind: 'password', password })) : element('span', {}),
      );
      document.body.append(dialog);
      dialog.showModal();
    }, reject);
  });
}

async function addApp() {
  const begun = await sensitive(() => call('POST', '/v1/factors/totp/begin'));
  show(
    element('h1', {}, 'Add an authenticator app'),
    picture(begun.qr, 'QR code for your authenticator app'),
    element('p', {}, 'Or type: ', element('code', { class: 'secret', id: 'secret' }, begun.secret)),
    form('totp', [
      field('Name', { name: 'name', value: 'Authenticator app', required: '' }),
      field('Six-digit code', { name: 'code', inputmode: 'numeric', autocomplete: 'one-time-code', required: '', autofocus: '' }),
    ], 'Add', async ({ name, code }) => added(await sensitive(() => call('POST', '/v1/factors/totp', { challengeId: begun.challengeId, name, code })))),
  );
}

async function addPasskey() {
  const made = await makeCredential(await sensitive(() => call('POST', '/v1/factors/passkey/begin')));
  await added(await sensitive(() => call('POST', '/v1/factors/passkey', made)));
}

async function added({ recoveryCodes }) {
  if (recoveryCodes.length === 0) return draw();
  show(element('h1', {}, 'Recovery codes'), codes(recoveryCodes), press('I have kept them', draw, { id: 'kept' }));
}

async function draw() {
  const own = await session();
  if (own === undefined) {
    location.assign(`/sign-in?returnTo=${encodeURIComponent(location.pathname)}`);
    return;
  }
  const out = press('Sign out', async () => {
    await call('POST', '/v1/session/end');
    location.assign('/sign-in');
  }, { id: 'out' });
  if (own.actor.kind !== 'user') {
    show(element('h1', {}, 'Your account'), element('p', {}, 'This is the session of an API key.'), out);
    return;
  }
  const [factors, sessions] = await Promise.all([call('GET', '/v1/factors'), call('GET', '/v1/sessions')]);
  show(
    element('h1', {}, 'Your account'),
    own.impersonatorId === null ? undefined : element('p', { class: 'problem' }, 'You act as somebody else.'),
    section('Second factors',
      factors.factors.length === 0
        ? element('p', { class: 'note' }, factors.required ? 'Your organisation asks for one.' : 'None. A passkey or an authenticator app keeps your account yours when somebody learns your password.')
        : table(['Name', 'Kind', 'Added', 'Last used', ''], factors.factors.map((factor) => element('tr', {},
            element('td', {}, factor.name), element('td', {}, factor.kind === 'totp' ? 'authenticator app' : 'passkey'), element('td', {}, when(factor.createdAt)), element('td', {}, when(factor.lastUsedAt)),
            element('td', {}, press('Remove', async () => {
              await sensitive(() => call('DELETE', `/v1/factors/${factor.id}`));
              await draw();
            }))))),
      element('div', { class: 'bar' }, press('Add an authenticator app', addApp, { id: 'add-app' }), ...(knowsPasskeys() ? [press('Add a passkey', addPasskey, { id: 'add-passkey' })] : []),
        ...(factors.factors.length === 0 ? [] : [press(`New recovery codes (${factors.recoveryCodes} left)`, async () => added(await sensitive(() => call('POST', '/v1/factors/recovery-codes'))))]))),
    section('Sessions',
      table(['Since', 'Last seen', 'By', 'Address', 'Browser', ''], sessions.items.map((one) => element('tr', {},
        element('td', {}, when(one.createdAt)), element('td', {}, when(one.lastSeenAt)), element('td', {}, one.method), element('td', {}, one.address), element('td', {}, one.userAgent ?? ''),
        element('td', {}, one.current ? 'this one' : press('End', async () => {
          await call('DELETE', `/v1/sessions/${one.id}`);
          await draw();
        }))))),
      element('div', { class: 'bar' }, out, press('End all others', async () => {
        await call('DELETE', '/v1/sessions');
        await draw();
      }))),
    own.method === 'password' || own.method === 'passkey'
      ? section('Password', form('password', [
          field('Present password', { name: 'present', type: 'password', autocomplete: 'current-password', required: '' }),
          field('New password', { name: 'next', type: 'password', autocomplete: 'new-password', minlength: '8', required: '' }),
        ], 'Change', async (fields) => {
          await call('PUT', '/v1/session/password', fields);
          await draw();
        }))
      : undefined,
  );
}

page(async () => {
  await draw();
  return [...document.querySelector('main').childNodes];
});
