import type { OutgoingMessage } from 'node:http';
import type { RateStanding } from '../platform/usage/rate-limits.ts';

/**
 * Adds limits to an answer: `RateLimit-Policy` (the limits: `q` requests in `w` seconds) and `RateLimit` (`r` requests are left, the window
 * ends in `t` seconds), lists of structured fields as draft-ietf-httpapi-ratelimit-headers-10 has them.
 */
export function addRateLimits(response: Pick<OutgoingMessage, 'getHeader'> & { setHeader(name: string, value: string): unknown }, standings: readonly RateStanding[]): void {
  if (standings.length === 0) return;
  let policy = '';
  let state = '';
  for (const standing of standings) {
    policy = list(policy, `"${standing.name}";q=${standing.limit};w=${standing.windowSeconds}`);
    state = list(state, `"${standing.name}";r=${standing.remaining};t=${standing.resetSeconds}`);
  }
  response.setHeader('RateLimit-Policy', list(text(response, 'RateLimit-Policy'), policy));
  response.setHeader('RateLimit', list(text(response, 'RateLimit'), state));
}

function list(before: string, more: string): string {
  return before === '' ? more : `${before}, ${more}`;
}

function text(response: Pick<OutgoingMessage, 'getHeader'>, name: string): string {
  const value = response.getHeader(name);
  return typeof value === 'string' ? value : '';
}
