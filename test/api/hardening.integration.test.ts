import { randomUUID } from 'node:crypto';
import { request as httpRequest } from 'node:http';
import fc from 'fast-check';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { AnyRoute } from '../../api/route.ts';
import { createPerson, PASSWORD, Visitor } from '../identity/person.ts';
import { PROJECT } from '../operations/project.ts';
import { startTestApi, type TestApi } from './running-api.ts';

/** What a header may hold (RFC 9110, field-vchar and blanks, and the upper half that servers must take). */
const headerText = fc.string({ unit: fc.integer({ min: 0x20, max: 0xff }).filter((code) => code !== 0x7f).map((code) => String.fromCharCode(code)), maxLength: 300 });
const token = fc.string({ unit: fc.constantFrom(...Array.from('abcdef0123456789ABCXYZ_-.~=%;, "')), maxLength: 120 });
const hexAndDashes = fc.string({ unit: fc.constantFrom(...Array.from('0123456789abcdef-')), minLength: 36, maxLength: 36 });
const RUNS = 400;
/** What outlives a stolen session: keys, links, providers, roles, factors, addresses. */
const LETS_IN = [
  'createApiKey', 'rotateApiKey', 'createInvitation', 'createPasswordReset', 'createIdentityProvider', 'changeIdentityProvider', 'deleteIdentityProvider', 'putSignInPolicy',
  'createRole', 'replaceRole', 'createRoleBinding', 'replaceRoleBinding', 'changeUser', 'deleteUser', 'impersonateUser', 'beginTotp', 'finishTotp', 'beginPasskey', 'finishPasskey',
  'renewRecoveryCodes', 'removeFactor', 'removeUserFactors', 'moveOrganisation', 'suspendOrganisation',
];

describe('the way in', () => {
  let test: TestApi;
  let orgId: string;
  let userName: string;
  const slug = `house-${randomUUID().slice(0, 8)}`;
  beforeAll(async () => {
    test = await startTestApi({ HAL9_OPERATIONS: PROJECT, HAL9_RATE_LIMIT: '0' });
    orgId = await test.database.organisation('House');
    ({ userName } = await createPerson(test.database, orgId, { slug }));
  });
  afterAll(() => test.stop());
  beforeEach(() => forgiven());

  /** Forgets failures, so that what is tested is looked at and not only counted. */
  const forgiven = async (): Promise<void> => void (await test.database.database.systemPool.query('delete from sign_in_throttle'));

  /** As bytes on the wire: `fetch` would refuse some of these headers before the server sees them. */
  const send = (path: string, headers: Record<string, string>, method = 'GET', body?: string): Promise<{ status: number; text: string; headers: Record<string, string | string[] | undefined> }> =>
    new Promise((resolve, reject) => {
      const sent = httpRequest(test.url + path, { method, headers }, (answer) => {
        let text = '';
        answer.on('data', (chunk: Buffer) => (text += chunk.toString('utf8')));
        answer.on('end', () => resolve({ status: answer.statusCode ?? 0, text, headers: answer.headers }));
      });
      sent.on('error', reject);
      sent.end(body);
    });
  const post = (path: string, body: unknown, headers: Record<string, string> = {}) => send(path, { 'content-type': 'application/json', ...headers }, 'POST', JSON.stringify(body));

  it('is closed to any text for a credential, and breaks on none', async () => {
    const credential = fc.oneof(
      headerText.map((text) => ({ authorization: text })),
      token.map((text) => ({ authorization: `Bearer ${text}` })),
      token.map((text) => ({ authorization: `Bearer hal9_${text}` })),
      fc.tuple(token, token, token).map((parts) => ({ authorization: `Bearer ${parts.map((part) => Buffer.from(part).toString('base64url')).join('.')}` })),
      headerText.map((text) => ({ 'x-api-key': text })),
      headerText.map((text) => ({ cookie: text })),
      token.map((text) => ({ cookie: `hal9_session=${text}` })),
      fc.string({ unit: fc.constantFrom(...Array.from('ABCXYZabcxyz0189_-')), minLength: 43, maxLength: 43 }).map((text) => ({ cookie: `hal9_session=${text}; hal9_session=${text}` })),
      fc.tuple(token, headerText).map(([cookie, csrf]) => ({ cookie: `hal9_session=${cookie}`, 'x-csrf-token': csrf, origin: csrf })),
    );
    await fc.assert(
      fc.asyncProperty(credential, async (headers) => {
        const { status, headers: answered } = await send('/v1/runs', headers);
        expect([status, answered['content-type'], answered['set-cookie']]).toEqual([401, 'application/problem+json', undefined]);
      }),
      { numRuns: RUNS },
    );
  }, 120_000);

  it('takes an organisation, a token of a form and a cookie of a sign-in under way for what they are, whatever they look like', async () => {
    const key = (await test.key(orgId)).text;
    const asked = fc.oneof(
      headerText.map((text) => () => send('/v1/runs', { authorization: `Bearer ${key}`, 'hal9-organisation': text })),
      hexAndDashes.map((text) => () => send('/v1/runs', { authorization: `Bearer ${key}`, 'hal9-organisation': text })),
      fc.tuple(fc.oneof(hexAndDashes, token), fc.oneof(hexAndDashes, fc.uuid())).map(([org, id]) => () => send('/v1/sign-in/second-factor', { cookie: `hal9_pending=${org}.${id}` })),
      fc.tuple(hexAndDashes, fc.oneof(hexAndDashes, fc.uuid())).map(([org, id]) => () => post('/v1/sign-in/reset', { token: `${org}.${id}.${'A'.repeat(43)}`, password: 'a long enough passphrase' })),
      fc.string({ unit: 'binary', maxLength: 100 }).map((text) => () => post('/v1/sign-in/reset', { token: text, password: text })),
      fc.tuple(fc.string({ unit: 'binary', maxLength: 70 }), fc.string({ unit: 'binary', maxLength: 300 })).map(([org, text]) => () => post('/v1/sign-in/password', { organisation: org, userName: text, password: text })),
      fc.string({ unit: 'binary', maxLength: 60 }).map((text) => () => send(`/v1/sign-in/organisations/${encodeURIComponent(text.toWellFormed())}`, {})),
      hexAndDashes.map((id) => () => send(`/sign-in/${id}/oidc/${id}/callback?state=${id}&code=${id}`, {})),
      fc.uuid().map((id) => () => send(`/sign-in/${id}/saml/${id}`, {})),
      fc.string({ unit: 'binary', maxLength: 80 }).map((text) => () => post('/v1/sign-in/key', { key: text })),
      fc.string({ unit: 'binary', maxLength: 80 }).map((text) => () => post('/v1/sign-in/passkey', { organisation: slug, challengeId: randomUUID(), response: { id: text, response: {} } })),
    );
    await fc.assert(
      fc.asyncProperty(asked, async (ask) => {
        await forgiven();
        const { status, text, headers } = await ask();
        expect(status, text).toBeGreaterThanOrEqual(400);
        expect(status, text).toBeLessThan(500);
        expect(headers['set-cookie']).toBeUndefined();
      }),
      { numRuns: RUNS },
    );
  }, 120_000);

  it('says nothing of who exists: same status, headers and words, and the same waiting, for those who do and those who do not', async () => {
    const shown = ({ status, text, headers }: Awaited<ReturnType<typeof send>>) => {
      const { date: _date, 'x-request-id': id, 'x-trace-id': _trace, traceresponse: _response, 'retry-after': wait, 'content-length': length, ...same } = headers;
      return { status, text: text.replaceAll(String(id), '').replaceAll(/\d+ s\b|"retryAfterSeconds":\d+/g, ''), headers: same, length, waits: wait !== undefined };
    };
    const { userName: inactive, userId } = await createPerson(test.database, orgId);
    await test.database.database.withOrg(orgId, (tx) => tx.updateTable('users').set({ active: false }).where('id', '=', userId).execute());
    const { userName: passwordless, userId: withoutId } = await createPerson(test.database, orgId);
    await test.database.database.withOrg(orgId, (tx) => tx.updateTable('users').set({ password_hash: null }).where('id', '=', withoutId).execute());
    const tries = [
      { organisation: slug, userName, password: 'not the password' },
      { organisation: slug, userName: `nobody-${randomUUID().slice(0, 8)}`, password: 'not the password' },
      { organisation: slug, userName: inactive, password: PASSWORD },
      { organisation: slug, userName: passwordless, password: 'not the password' },
      { organisation: `none-${randomUUID().slice(0, 8)}`, userName, password: PASSWORD },
    ];
    const rounds: ReturnType<typeof shown>[][] = [];
    for (let round = 0; round < 6; round += 1) rounds.push(await Promise.all(tries.map(async (body) => shown(await post('/v1/sign-in/password', body)))));
    for (const [round, answers] of rounds.entries()) for (const answer of answers) expect(answer, `round ${round}`).toEqual(answers[0]);
    expect(rounds[0]?.[0]?.status).toBe(401);
    // All are shut together, by account and address.
    expect(rounds.at(-1)?.[0]).toMatchObject({ status: 429, waits: true });
    await forgiven();
    const links = [`${orgId}.${randomUUID()}.${'A'.repeat(43)}`, `${randomUUID()}.${randomUUID()}.${'A'.repeat(43)}`, 'nonsense'];
    const resets = await Promise.all(links.map(async (link) => shown(await post('/v1/sign-in/reset', { token: link, password: 'a long enough passphrase' }))));
    for (const reset of resets) expect({ ...reset, text: '', length: '' }).toEqual({ ...resets[0], text: '', length: '' });
    const passkeys = await Promise.all([slug, `none-${slug}`].map(async (organisation) => shown(await post('/v1/sign-in/passkey', { organisation, challengeId: randomUUID(), response: { id: 'AAAA', rawId: 'AAAA', type: 'public-key', clientExtensionResults: {}, response: { authenticatorData: 'AAAA', clientDataJSON: 'AAAA', signature: 'AAAA' } } }))));
    expect(passkeys[1]).toEqual(passkeys[0]);
    const begun = await post('/v1/sign-in/passkey/begin', { organisation: slug });
    expect(begun.status).toBe(200);
    expect(begun.text).not.toContain('allowCredentials');
  }, 120_000);

  it('starts each session under a token of its own, whatever the browser brought', async () => {
    const planted = 'A'.repeat(43);
    const visitor = new Visitor(test.url);
    visitor.cookies.set('hal9_session', planted);
    await visitor.signIn(slug, userName);
    const first = visitor.cookies.get('hal9_session') ?? '';
    expect(first).not.toBe(planted);
    await visitor.signIn(slug, userName);
    expect(visitor.cookies.get('hal9_session')).not.toBe(first);
    expect((await send('/v1/runs', { cookie: `hal9_session=${planted}` })).status).toBe(401);
  });

  it('asks for a recent proof before whatever would let somebody in later', async () => {
    const { userName: owner, userId } = await createPerson(test.database, orgId, { role: 'owner' });
    const visitor = new Visitor(test.url);
    await visitor.signIn(slug, owner);
    await test.database.database.withOrg(orgId, (tx) => tx.updateTable('sessions').set({ verified_at: new Date(Date.now() - 11 * 60_000) }).where('user_id', '=', userId).execute());
    const stepUp = test.api.routes.filter((route) => route.stepUp === true);
    for (const id of LETS_IN) expect([id, stepUp.some((route) => route.id === id)]).toEqual([id, true]);
    await expect.poll(async () => (await visitor.ask('POST', '/v1/api-keys', {})).body['type']).toBe('/problems/StepUpRequired');
    for (const route of stepUp) {
      const answer = await visitor.ask(route.method.toUpperCase(), route.path.replaceAll(/:[a-zA-Z]+/g, randomUUID()), route.method === 'get' || route.method === 'delete' ? undefined : {});
      expect([route.id, answer.status, answer.body['type']]).toEqual([route.id, 403, '/problems/StepUpRequired']);
    }
    expect((await visitor.ask('GET', '/v1/api-keys')).status).toBe(200);
    expect((await visitor.ask('POST', '/v1/session/proof', { kind: 'password', password: PASSWORD })).status).toBeLessThan(300);
    expect((await visitor.ask('POST', '/v1/api-keys', { name: 'proved', scopes: ['runs:read'] })).status).toBe(201);
  }, 60_000);

  it('sends the headers that protect browsers with every answer of every route', async () => {
    const path = (route: AnyRoute): string => route.path.replace(':file', 'none.js').replace('*file', 'none.js').replaceAll(/:[a-zA-Z]+/g, randomUUID());
    const without: string[] = [];
    for (const route of [...test.api.routes, ...['/nothing', '/v1/nothing', '/v1/runs?limit=x'].map((place) => ({ method: 'get', path: place, id: place }) as unknown as AnyRoute)]) {
      const { headers, status } = await send(path(route), route.method === 'get' ? {} : { 'content-type': 'application/json', 'content-length': '2' }, route.method.toUpperCase(), route.method === 'get' ? undefined : '{}');
      const policy = String(headers['content-security-policy'] ?? '');
      const right =
        headers['x-content-type-options'] === 'nosniff' &&
        headers['x-frame-options'] === 'SAMEORIGIN' &&
        ['no-referrer', 'same-origin'].includes(String(headers['referrer-policy'])) &&
        headers['cross-origin-opener-policy'] === 'same-origin' &&
        headers['x-powered-by'] === undefined &&
        /default-src '(self|none)'/.test(policy) &&
        !/script-src[^;]*unsafe-(inline|eval)/.test(policy) &&
        (headers['cache-control'] !== undefined);
      if (!right) without.push(`${route.id} ${status} ${JSON.stringify(headers)}`);
    }
    expect(without).toEqual([]);
    expect(test.api.routes.length).toBeGreaterThan(200);
  }, 60_000);
});
