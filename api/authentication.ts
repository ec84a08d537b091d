import type { Request, Response } from 'express';
import type { Authenticated, Credentials } from '../platform/identity/credentials.ts';
import { sessionCookieName } from '../platform/identity/session-cookie.ts';
import type { LiveSession, Sessions } from '../platform/identity/sessions.ts';
import type { RateLimits } from '../platform/usage/rate-limits.ts';
import { HalError } from '../schemas/errors.ts';
import { cookieOf, incomingFacts } from './incoming-facts.ts';

export interface AuthenticationOptions {
  credentials: Credentials;
  sessions: Sessions;
  limits: RateLimits;
  /** Whether browsers reach the API by HTTPS. */
  https: boolean;
  /** Origin of the Temporal UI, where it is not proxied. */
  uiOrigin?: string | undefined;
}

/** How a request by cookie shows that it comes from a page of ours: by the token that only such a page can read, or by its Origin alone. */
export type OriginProof = 'token' | 'origin';

/** Name of the header in which people of an organisation above say where they act. */
const ORGANISATION = 'hal9-organisation';
/** Name of the header that a page of ours sends with what changes something. */
const CSRF = 'x-csrf-token';
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
const SAFE = new Set(['GET', 'HEAD', 'OPTIONS']);

const sessionsOfRequests = new WeakMap<object, LiveSession>();

/** The session that a request came with, for handlers of the routes that are about it. */
export function sessionOf(request: object): LiveSession | undefined {
  return sessionsOfRequests.get(request);
}

/**
 * Who asks. Keys and service tokens come as `Authorization: Bearer` (keys also as `X-API-Key`), browsers with the cookie of a session.
 * @throws {HalError} `Unauthenticated` with one text for all causes; `RateLimited` after too many failures from one address; `Forbidden`
 *   for a cookie without proof of its origin, or an organisation the caller may not act in.
 */
export async function authenticate(request: Request, response: Response, proof: OriginProof, options: AuthenticationOptions): Promise<Authenticated> {
  const sent = credentialText(request);
  const target = organisationOf(request);
  const found = sent === undefined ? await fromSession(request, response, target, proof, options) : await options.credentials.ofText(sent);
  if (found === undefined) {
    // Only failures count, so nobody can lock out a holder of a valid key behind the same address.
    options.limits.takeFailedAuthentication(request.ip ?? 'unknown');
    throw new HalError('Unauthenticated', 'the request carries no valid credential');
  }
  if (target !== undefined && found.orgId !== target) throw new HalError('Forbidden', 'a key acts in its own organisation only');
  return found;
}

function credentialText(request: Request): string | undefined {
  const authorization = request.headers.authorization;
  if (authorization !== undefined) return /^Bearer +(\S+)$/i.exec(authorization)?.[1] ?? '';
  const header = request.headers['x-api-key'];
  return Array.isArray(header) ? '' : header;
}

function organisationOf(request: Request): string | undefined {
  const header = request.headers[ORGANISATION];
  if (header === undefined) return undefined;
  if (typeof header !== 'string' || !UUID.test(header)) throw new HalError('InvalidInput', 'HAL9-Organisation is not the id of an organisation');
  return header.toLowerCase();
}

async function fromSession(request: Request, response: Response, target: string | undefined, proof: OriginProof, options: AuthenticationOptions): Promise<Authenticated | undefined> {
  const token = cookieOf(request, sessionCookieName(options.https));
  if (token === undefined) return undefined;
  // SameSite keeps other sites out, this keeps out other ports of the same site.
  if (!isOwnOrigin(request, proof === 'origin' ? options.uiOrigin : undefined)) return undefined;
  const facts = incomingFacts(request, options.https);
  const found = await options.credentials.ofSession(token, target, facts);
  if (found?.session === undefined) return found;
  const header = request.headers[CSRF];
  if (proof === 'token' && !SAFE.has(request.method) && !options.sessions.provesOrigin(found.session, typeof header === 'string' ? header : undefined)) {
    throw new HalError('Forbidden', 'a request by cookie needs the X-CSRF-Token that GET /v1/session answers');
  }
  const renewed = await options.sessions.renew(found.session, facts);
  if (renewed !== undefined) response.append('Set-Cookie', renewed);
  sessionsOfRequests.set(request, found.session);
  return found;
}

function isOwnOrigin(request: Request, other: string | undefined): boolean {
  const origin = request.headers.origin;
  if (origin === undefined) {
    // Browsers that say where a request comes from say so here too; others send Origin with whatever changes something.
    const site = request.headers['sec-fetch-site'];
    return SAFE.has(request.method) || site === undefined || site === 'same-origin' || site === 'none';
  }
  return origin === other || (URL.canParse(origin) && new URL(origin).host === request.headers.host);
}
