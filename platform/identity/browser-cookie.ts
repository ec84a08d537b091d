import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';

/**
 * A random value that stays in one browser while it is away at an identity provider. What comes back counts only from the browser that
 * left: without it somebody could make another person's browser finish a sign-in that is not theirs (login CSRF, RFC 9700 4.7).
 */
const VALUE = /^[A-Za-z0-9_-]{43}$/;

/** Seconds a sign-in at a provider may take. */
export const AWAY_SECONDS = 600;

/** With HTTPS the name has the prefix by which browsers accept it from this host only, for the whole site, over HTTPS (RFC 6265bis 4.1.3.2). */
export function browserCookieName(https: boolean): string {
  return https ? '__Host-hal9_browser' : 'hal9_browser';
}

/** @param sent value that the browser has already, so that several tabs may be away at once; another is made when it is missing or malformed. */
export function browserValue(sent: string | undefined): string {
  return sent !== undefined && VALUE.test(sent) ? sent : randomBytes(32).toString('base64url');
}

/** A `Set-Cookie` value. Lax: the provider sends the browser back by a top-level GET. */
export function browserCookie(value: string, https: boolean): string {
  return `${browserCookieName(https)}=${value}; Path=/; Max-Age=${AWAY_SECONDS}; HttpOnly; SameSite=Lax${https ? '; Secure' : ''}`;
}

/** What is kept with the challenge instead of the value. */
export function browserHash(value: string): string {
  return createHash('sha256').update(value).digest('base64url');
}

/** Whether this browser is the one that left. */
export function isSameBrowser(sent: string | undefined, hash: string): boolean {
  if (sent === undefined || !VALUE.test(sent)) return false;
  const [given, expected] = [Buffer.from(browserHash(sent)), Buffer.from(hash)];
  return given.length === expected.length && timingSafeEqual(given, expected);
}
