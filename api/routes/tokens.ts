import type { Request } from 'express';
import { z } from 'zod';
import type { Credential } from '../../platform/identity/api-keys.ts';
import { HalError } from '../../schemas/errors.ts';
import { issuedToken, jwkSet, tokenRequest } from '../../schemas/rest/sign-in.ts';
import { incomingFacts } from '../incoming-facts.ts';
import type { Identity } from '../identity.ts';
import { readJson, readText } from '../json-body.ts';
import { defineRoute, type AnyRoute } from '../route.ts';

const tag = 'Service tokens';
const FORM = 'application/x-www-form-urlencoded';
const LIMIT_BYTES = 32 * 1024;

interface TokenRequest {
  readonly key: string | undefined;
  readonly scopes: readonly string[] | undefined;
  readonly seconds: number | undefined;
}

/** Short tokens for services, and the keys that check them. */
export function createTokenRoutes({ tokens, apiKeys, throttle, https }: Identity): AnyRoute[] {
  return [
    defineRoute({
      method: 'post',
      path: '/v1/tokens',
      id: 'issueToken',
      tag,
      summary: 'Exchanges an API key for a short token',
      description:
        'The key comes as in every request, or as an OAuth 2.0 client credentials grant (RFC 6749, 4.4): a form, the client id the key\'s prefix, the secret the whole key, by HTTP Basic or in the form. The token allows what the key allows or the part of it that `scope` names, and ends with the key.',
      permission: 'public',
      audit: 'token.issue',
      rawBody: { 'application/json': tokenRequest, [FORM]: z.object({ grant_type: z.literal('client_credentials'), client_id: z.string().optional(), client_secret: z.string().optional(), scope: z.string().optional() }) },
      timeoutMs: 15_000,
      responses: { 200: { description: 'The token.', schema: issuedToken } },
      async handler({ request }) {
        const facts = incomingFacts(request, https);
        await throttle.beginAt(facts.address);
        const wanted = await read(request);
        const credential: Credential | undefined = wanted.key === undefined ? undefined : await apiKeys.authenticate(wanted.key);
        if (credential === undefined) throw new HalError('Unauthenticated', 'the request carries no valid API key');
        await throttle.succeededAt(facts.address);
        const { token, expiresInSeconds, scopes } = await tokens.issue(credential, { scopes: wanted.scopes, seconds: wanted.seconds }, facts);
        return { status: 200, body: { access_token: token, token_type: 'Bearer', expires_in: expiresInSeconds, scope: scopes.join(' ') }, headers: { Pragma: 'no-cache' } };
      },
    }),
    defineRoute({
      method: 'get',
      path: '/.well-known/jwks.json',
      id: 'getJwks',
      tag,
      summary: 'The public keys that check service tokens',
      permission: 'public',
      responses: { 200: { description: 'A JWK set (RFC 7517).', schema: jwkSet, contentType: 'application/jwk-set+json' } },
      handler: async () => ({ status: 200, body: await tokens.jwks(), headers: { 'Cache-Control': 'public, max-age=300' } }),
    }),
  ];
}

async function read(request: Request): Promise<TokenRequest> {
  const header = fromHeaders(request);
  if (request.is(FORM) === FORM) {
    const form = new URLSearchParams(await readText(request, { type: FORM, limitBytes: LIMIT_BYTES }));
    if (form.get('grant_type') !== 'client_credentials') throw new HalError('InvalidInput', 'the only grant is client_credentials', { errors: [{ path: '/grant_type', message: 'expected client_credentials' }] });
    const key = header ?? form.get('client_secret') ?? undefined;
    return { key, scopes: scopesOf(form.get('scope') ?? undefined), seconds: undefined };
  }
  const hasBody = Number(request.headers['content-length'] ?? 0) > 0 || request.headers['transfer-encoding'] !== undefined;
  const parsed = tokenRequest.safeParse(hasBody ? await readJson(request, { limitBytes: LIMIT_BYTES }) : {});
  if (!parsed.success) throw new HalError('InvalidInput', 'the body does not match the schema', { errors: parsed.error.issues.map((issue) => ({ path: `/${issue.path.join('/')}`, message: issue.message })) });
  return { key: header, scopes: scopesOf(parsed.data.scope), seconds: parsed.data.expiresInSeconds };
}

function fromHeaders(request: Request): string | undefined {
  const { authorization } = request.headers;
  const bearer = /^Bearer +(\S+)$/i.exec(authorization ?? '')?.[1];
  if (bearer !== undefined) return bearer;
  const basic = /^Basic +([A-Za-z0-9+/=]+)$/i.exec(authorization ?? '')?.[1];
  if (basic !== undefined) return Buffer.from(basic, 'base64').toString('utf8').split(':').slice(1).join(':');
  const own = request.headers['x-api-key'];
  return typeof own === 'string' ? own : undefined;
}

function scopesOf(text: string | undefined): string[] | undefined {
  const scopes = (text ?? '').split(' ').filter(Boolean);
  return scopes.length === 0 ? undefined : scopes;
}
