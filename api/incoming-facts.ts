import type { Request } from 'express';
import type { IncomingFacts } from '../platform/identity/incoming-facts.ts';

/** What a request tells of itself. @param https whether browsers reach the API by HTTPS. */
export function incomingFacts(request: Request, https: boolean): IncomingFacts {
  return { address: request.ip ?? 'unknown', userAgent: request.headers['user-agent'], requestId: String(request.id), https };
}

/** Value of a cookie that the browser sent. */
export function cookieOf(request: Request, name: string): string | undefined {
  for (const part of request.headers.cookie?.split(';') ?? []) {
    const equals = part.indexOf('=');
    if (part.slice(0, equals).trim() === name) return part.slice(equals + 1).trim();
  }
  return undefined;
}
