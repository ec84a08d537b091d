import type { Request } from 'express';
import type { ApiKeys, Credential } from '../platform/identity/api-keys.ts';
import { HalError } from '../schemas/errors.ts';
import type { RateLimits } from './rate-limits.ts';
import { SESSION_COOKIE, type UiSessions } from './ui-session.ts';

export interface AuthenticationOptions {
  apiKeys: ApiKeys;
  sessions: UiSessions;
  limits: RateLimits;
  /** Origin of the Temporal UI, where it is not proxied. */
  uiOrigin?: string | undefined;
}

/**
 * Who asks. Keys come as `Authorization: Bearer` or `X-API-Key`; routes that a browser reaches without headers of ours also
 * take the session cookie.
 * @throws {HalError} `Unauthenticated` with one text for all causes; `RateLimited` after too many failures from one address.
 */
export async function authenticate(request: Request, takesSession: boolean, options: AuthenticationOptions): Promise<Credential> {
  const sent = credentialText(request);
  const credential = sent === undefined ? await fromSession(request, takesSession, options) : await options.apiKeys.authenticate(sent);
  if (credential !== undefined) return credential;
  // Only failures count, so nobody can lock out a holder of a valid key behind the same address.
  await options.limits.countFailedAuthentication(request.ip ?? 'unknown');
  throw new HalError('Unauthenticated', 'the request carries no valid API key');
}

function credentialText(request: Request): string | undefined {
  const authorization = request.headers.authorization;
  if (authorization !== undefined) return /^Bearer +(\S+)$/i.exec(authorization)?.[1] ?? '';
  const header = request.headers['x-api-key'];
  return Array.isArray(header) ? '' : header;
}

async function fromSession(request: Request, takesSession: boolean, options: AuthenticationOptions): Promise<Credential | undefined> {
  if (!takesSession) return undefined;
  // SameSite keeps other sites out, this keeps out other ports of the same site.
  const origin = request.headers.origin;
  if (origin !== undefined && origin !== options.uiOrigin && !(URL.canParse(origin) && new URL(origin).host === request.headers.host)) return undefined;
  const token = cookie(request.headers.cookie, SESSION_COOKIE);
  const prefix = token === undefined ? undefined : options.sessions.verify(token);
  return prefix === undefined ? undefined : options.apiKeys.credentialOf(prefix);
}

function cookie(header: string | undefined, name: string): string | undefined {
  for (const part of header?.split(';') ?? []) {
    const equals = part.indexOf('=');
    if (part.slice(0, equals).trim() === name) return part.slice(equals + 1).trim();
  }
  return undefined;
}
