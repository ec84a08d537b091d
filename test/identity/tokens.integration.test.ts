import { setTimeout as sleep } from 'node:timers/promises';
import { createRemoteJWKSet, exportJWK, generateKeyPair, importJWK, jwtVerify, SignJWT, type JWK, type JWTPayload } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ApiKeys } from '../../platform/identity/api-keys.ts';
import { Tokens } from '../../platform/identity/tokens.ts';
import { KeyRing } from '../../platform/keys/key-ring.ts';
import { startTestApi, type TestApi, type TestKey } from '../api/running-api.ts';

describe('service tokens', () => {
  let test: TestApi;
  let key: TestKey;
  let other: string;
  beforeAll(async () => {
    test = await startTestApi({ HAL9_PUBLIC_URL: 'http://hal9.example', HAL9_RATE_LIMIT: '0' });
    key = await test.key(await test.database.organisation(), ['runs:*', 'api-keys:*']);
    other = `http://127.0.0.1:${(await test.another({ HAL9_PUBLIC_URL: 'http://hal9.example', HAL9_RATE_LIMIT: '0' })).port}`;
  });
  afterAll(() => test.stop());

  const issue = async (secret: string, body: unknown = {}): Promise<Record<string, unknown>> => {
    const answer = await fetch(`${test.url}/v1/tokens`, { method: 'POST', headers: { authorization: `Bearer ${secret}`, 'content-type': 'application/json' }, body: JSON.stringify(body) });
    return (await answer.json()) as Record<string, unknown>;
  };
  const use = async (token: string, path = '/v1/runs', url = other): Promise<number> => (await fetch(url + path, { headers: { authorization: `Bearer ${token}` } })).status;
  /** The installation's own private key: what forgeries are signed with whose signature is right. */
  const signingKey = async () => {
    const row = await test.database.database.system.selectFrom('signing_keys').selectAll().orderBy('created_at').executeTakeFirstOrThrow();
    const ring = KeyRing.parse(`test:${Buffer.alloc(32, 7).toString('base64')}`);
    const jwk = JSON.parse(ring.open('installation', 'signing-keys', row.sealed, row.kid).toString()) as JWK;
    return { kid: row.kid, jwk, key: await importJWK(jwk, 'ES256') };
  };

  it('stand in for the key in every process, for what they name', async () => {
    const issued = await issue(key.text, { scope: 'runs:read', expiresInSeconds: 60 });
    expect(issued).toMatchObject({ token_type: 'Bearer', expires_in: 60, scope: 'runs:read' });
    const token = String(issued['access_token']);
    expect([await use(token), await use(token, '/v1/api-keys')]).toEqual([200, 403]);
    const { payload, protectedHeader } = await jwtVerify(token, createRemoteJWKSet(new URL(`${test.url}/.well-known/jwks.json`)), { issuer: 'http://hal9.example', audience: 'http://hal9.example', typ: 'at+jwt' });
    expect(payload).toMatchObject({ sub: key.id, org: key.orgId, scope: 'runs:read' });
    expect(protectedHeader.alg).toBe('ES256');
    expect(JSON.stringify(await (await fetch(`${test.url}/.well-known/jwks.json`)).json())).not.toContain('"d"');
    expect(await issue(key.text, { scope: 'signals:write' })).toMatchObject({ status: 403 });
    expect(await issue(key.text, { expiresInSeconds: 86_400 })).toMatchObject({ status: 422 });
    expect(await issue(token)).toMatchObject({ status: 401 });
    const act = await test.database.database.system.selectFrom('audit_acts').select(['action', 'actor_id']).where('org_id', '=', key.orgId).where('action', '=', 'token.issue').execute();
    expect(act[0]).toEqual({ action: 'token.issue', actor_id: key.id });
  });

  it('are also had by an OAuth client credentials grant', async () => {
    const [, prefix = ''] = key.text.split('_');
    const ask = async (headers: Record<string, string>, fields: Record<string, string>) => {
      const answer = await fetch(`${test.url}/v1/tokens`, { method: 'POST', headers, body: new URLSearchParams(fields) });
      return { status: answer.status, cache: answer.headers.get('cache-control'), body: (await answer.json()) as Record<string, unknown> };
    };
    const basic = { authorization: `Basic ${Buffer.from(`${prefix}:${key.text}`).toString('base64')}` };
    for (const answer of [await ask(basic, { grant_type: 'client_credentials', scope: 'runs:read' }), await ask({}, { grant_type: 'client_credentials', client_id: prefix, client_secret: key.text, scope: 'runs:read' })]) {
      expect([answer.status, answer.cache, await use(String(answer.body['access_token']))]).toEqual([200, 'no-store', 200]);
    }
    expect((await ask(basic, { grant_type: 'password' })).status).toBe(422);
    expect((await ask({}, { grant_type: 'client_credentials', client_secret: 'wrong' })).status).toBe(401);
  });

  it('end with their key within a second', async () => {
    const short = await test.key(key.orgId, ['runs:read']);
    const token = String((await issue(short.text))['access_token']);
    expect(await use(token)).toBe(200);
    await fetch(`${test.url}/v1/api-keys/${short.id}`, { method: 'DELETE', headers: { authorization: `Bearer ${key.text}` } });
    await expect.poll(() => use(token), { interval: 20 }).toBe(401);
    expect(await issue(short.text)).toMatchObject({ status: 401 });
  });

  it('are refused when anything about them is wrong, though the signature be right', async () => {
    const token = String((await issue(key.text))['access_token']);
    const { kid, key: own } = await signingKey();
    const claims = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString()) as JWTPayload & Record<string, unknown>;
    const forge = (change: Record<string, unknown>, header: Record<string, unknown> = {}) => new SignJWT({ ...claims, ...change }).setProtectedHeader({ alg: 'ES256', typ: 'at+jwt', kid, ...header }).sign(own);
    const now = Math.floor(Date.now() / 1000);
    expect(await use(await forge({}))).toBe(200);
    const stranger = await test.key(await test.database.organisation());
    const wrong: Record<string, Promise<string>> = {
      'another issuer': forge({ iss: 'http://other.example' }),
      'another audience': forge({ aud: 'http://other.example' }),
      'several audiences': forge({ aud: ['http://hal9.example', 'http://other.example'] }),
      expired: forge({ exp: now - 1 }),
      'without end': forge({ exp: undefined }),
      'too long': forge({ exp: now + 86_400 }),
      'not yet': forge({ nbf: now + 600 }),
      'from the future': forge({ iat: now + 600, exp: now + 700 }),
      'another type': forge({}, { typ: 'JWT' }),
      'no type': forge({}, { typ: undefined }),
      'another organisation': forge({ org: stranger.orgId }),
      'another subject': forge({ sub: stranger.id }),
      'another key': forge({ key: stranger.text.split('_')[1] }),
      'critical extension': new SignJWT(claims).setProtectedHeader({ alg: 'ES256', typ: 'at+jwt', kid, crit: ['b64'], b64: true }).sign(own),
    };
    for (const [name, forged] of Object.entries(wrong)) expect([name, await use(await forged)]).toEqual([name, 401]);
    const wider = await forge({ scope: 'runs:read api-keys:read signals:write *' });
    expect([await use(wider), await use(wider, '/v1/signals')]).toEqual([200, 403]);
  });

  it('are refused when somebody else signed them', async () => {
    const token = String((await issue(key.text))['access_token']);
    const [, payload = '', signature = ''] = token.split('.');
    const claims = JSON.parse(Buffer.from(payload, 'base64url').toString()) as JWTPayload;
    const { kid } = await signingKey();
    const { publicKey, privateKey } = await generateKeyPair('ES256', { extractable: true });
    const { keys } = (await (await fetch(`${test.url}/.well-known/jwks.json`)).json()) as { keys: JWK[] };
    const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');
    const sign = (header: Record<string, unknown>) => new SignJWT(claims).setProtectedHeader({ alg: 'ES256', typ: 'at+jwt', ...header }).sign(privateKey);
    const confused = (secret: string) => new SignJWT(claims).setProtectedHeader({ alg: 'HS256', typ: 'at+jwt', kid }).sign(new TextEncoder().encode(secret.padEnd(32, ' ')));
    const forgeries: Record<string, string> = {
      none: `${encode({ alg: 'none', typ: 'at+jwt', kid })}.${payload}.`,
      'none with a signature': `${encode({ alg: 'none', typ: 'at+jwt', kid })}.${payload}.${signature}`,
      'the public key as a secret': await confused(JSON.stringify(keys[0])),
      'x of the public key as a secret': await confused(keys[0]?.x ?? ''),
      'own key under the right name': await sign({ kid }),
      'own key in the header': await sign({ kid, jwk: await exportJWK(publicKey) }),
      'own key behind an address': await sign({ kid: 'mine', jku: 'http://127.0.0.1/keys' }),
      'own certificate': await sign({ kid, x5c: ['AAAA'] }),
      'a path for a name': await sign({ kid: '../../../dev/null' }),
      'a statement for a name': await sign({ kid: "x' union select 1 --" }),
      'no name': await sign({}),
      'another payload': `${token.split('.')[0] ?? ''}.${encode({ ...claims, scope: '*' })}.${signature}`,
      'a cut signature': token.slice(0, -4),
    };
    for (const [name, forged] of Object.entries(forgeries)) expect([name, await use(forged)]).toEqual([name, 401]);
    expect(await use(token)).toBe(200);
  });

  it('outlive the rotation of their signing key', async () => {
    const before = String((await issue(key.text))['access_token']);
    const keys = KeyRing.parse(`test:${Buffer.alloc(32, 7).toString('base64')}`);
    const tokens = new Tokens({ database: test.database.database, keys, apiKeys: new ApiKeys(test.database.database), issuer: 'http://hal9.example' });
    const kid = await tokens.rotate();
    expect((await tokens.jwks()).keys.map((one) => one.kid)).toContain(kid);
    const credential = await new ApiKeys(test.database.database).authenticate(key.text);
    const after = (await tokens.issue(credential!, {}, { address: '127.0.0.1', userAgent: undefined, requestId: 'test', https: false })).token;
    expect(JSON.parse(Buffer.from(after.split('.')[0] ?? '', 'base64url').toString())).toMatchObject({ kid });
    expect(await use(before)).toBe(200);
    // Another process reads the new key as soon as a token names it, once in five seconds at most.
    await sleep(5100);
    expect(await use(after)).toBe(200);
  });
});
