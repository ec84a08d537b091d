import { call, codes, field, form, knowsPasskeys, makeCredential, picture, press, show, useAuthenticator } from './door.js';
import { element } from './session.js';

const BASE = '/v1/sign-in/second-factor';
const codeField = () => field('Six-digit code', { name: 'code', inputmode: 'numeric', autocomplete: 'one-time-code', pattern: '[0-9 ]{6,7}', required: '', autofocus: '' });

function done({ location: target, recoveryCodes }) {
  if (recoveryCodes === undefined || recoveryCodes.length === 0) {
    location.assign(target);
    return;
  }
  show(element('h1', {}, 'Recovery codes'), codes(recoveryCodes), element('a', { class: 'button', href: target, id: 'onwards' }, 'I have kept them, go on'));
}

function ask(owed) {
  const passkey = async () => done(await call('POST', BASE, { kind: 'webauthn', ...(await useAuthenticator(owed.webauthn)) }));
  show(
    element('h1', {}, 'Second factor'),
    element('p', { class: 'note' }, 'Your password was right. Show that you have your device, too.'),
    owed.webauthn === null || !knowsPasskeys() ? undefined : press('Use a passkey or security key', passkey, { id: 'passkey' }),
    owed.totp ? form('totp', [codeField()], 'Continue', async ({ code }) => done(await call('POST', BASE, { kind: 'totp', code }))) : undefined,
    owed.recovery
      ? element('details', {}, element('summary', {}, 'Use a recovery code'), form('recovery', [field('Recovery code', { name: 'code', autocomplete: 'off', autocapitalize: 'characters', required: '' })], 'Continue', async ({ code }) => done(await call('POST', BASE, { kind: 'recovery', code }))))
      : undefined,
    element('p', {}, element('a', { href: '/sign-in' }, 'Begin again')),
  );
}

async function enrol() {
  const begun = await call('POST', `${BASE}/totp/begin`);
  const passkey = async () => done(await call('POST', `${BASE}/passkey`, await makeCredential(await call('POST', `${BASE}/passkey/begin`))));
  show(
    element('h1', {}, 'Add a second factor'),
    element('p', { class: 'note' }, 'Your organisation asks for one. Scan the picture with an authenticator app, or use a passkey.'),
    picture(begun.qr, 'QR code for your authenticator app'),
    element('p', {}, 'Or type: ', element('code', { class: 'secret', id: 'secret' }, begun.secret)),
    form('totp', [codeField()], 'Add and continue', async ({ code }) => done(await call('POST', `${BASE}/totp`, { challengeId: begun.challengeId, code }))),
    knowsPasskeys() ? press('Use a passkey instead', passkey, { id: 'passkey' }) : undefined,
  );
}

try {
  const owed = await call('GET', BASE);
  if (owed.enrol) await enrol();
  else ask(owed);
} catch (error) {
  show(element('h1', {}, 'Second factor'), element('p', { class: 'problem', role: 'alert' }, error.message), element('a', { class: 'button', href: '/sign-in' }, 'Sign in'));
}
