import { call, field, form, show } from './door.js';
import { element } from './session.js';

const repeated = () => [
  field('Password', { name: 'password', type: 'password', autocomplete: 'new-password', minlength: '8', required: '', autofocus: '' }),
  field('The same again', { name: 'again', type: 'password', autocomplete: 'new-password', required: '' }),
];
const RULE = element('p', { class: 'note' }, 'At least 15 characters, or 8 where a second factor is asked for. Any characters, spaces too: a sentence is good. A password manager is better.');

function same({ password, again }) {
  if (password !== again) throw new Error('The two are not the same.');
}

function reset(token) {
  show(element('h1', {}, 'New password'), RULE, form('reset', repeated(), 'Set password', async (fields) => {
    same(fields);
    await call('POST', '/v1/sign-in/reset', { token, password: fields.password });
    show(element('h1', {}, 'Password set'), element('p', { class: 'done' }, 'All your sessions have ended.'), element('a', { class: 'button', href: '/sign-in' }, 'Sign in'));
  }));
}

async function invited(token) {
  const invitation = await call('POST', '/v1/sign-in/invitation', { token });
  const name = invitation.userName ?? invitation.email ?? '';
  show(
    element('h1', {}, `Welcome to ${invitation.organisation}`),
    element('p', { class: 'note' }, 'Choose your user name and password for HAL9.'),
    RULE,
    form('invitation', [
      field('User name', { name: 'userName', autocomplete: 'username', autocapitalize: 'none', spellcheck: 'false', required: '', value: name, ...(invitation.userName === null ? {} : { readonly: '' }) }),
      field('Your name, as others see it', { name: 'displayName', autocomplete: 'name' }),
      ...repeated(),
    ], 'Create account', async (fields) => {
      same(fields);
      const { location: target } = await call('POST', '/v1/sign-in/invitation/accept', { token, userName: fields.userName, displayName: fields.displayName === '' ? null : fields.displayName, password: fields.password });
      location.assign(target);
    }),
  );
}

function fail(message) {
  show(element('h1', {}, 'This link does not work'), element('p', { class: 'problem', role: 'alert' }, message), element('a', { class: 'button', href: '/sign-in' }, 'Sign in'));
}

const token = new URLSearchParams(location.hash.slice(1)).get('reset');
if (token !== null) reset(token);
else if (location.pathname.startsWith('/invitations/')) invited(location.pathname.split('/')[2]).catch((error) => fail(error.message));
else fail('It was cut on its way to you.');
