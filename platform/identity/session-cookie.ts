/**
 * The cookie that carries a session's token. With HTTPS its name has the `__Host-` prefix, by which browsers accept it only from this
 * host, over HTTPS, for the whole site (RFC 6265bis, 4.1.3.2); on plain HTTP (loopback) that prefix would be refused.
 */
export function sessionCookieName(https: boolean): string {
  return https ? '__Host-hal9_session' : 'hal9_session';
}

/** Names of the session's cookie with and without HTTPS: neither travels to servers behind HAL9. */
export const SESSION_COOKIES: readonly string[] = [sessionCookieName(true), sessionCookieName(false)];

/**
 * A `Set-Cookie` value. Lax, not Strict: who comes back from an identity provider or follows a link in a mail is signed in at once;
 * requests that change something need the CSRF token besides.
 * @param seconds life of the cookie; 0 removes it.
 */
export function sessionCookie(token: string, seconds: number, https: boolean): string {
  return `${sessionCookieName(https)}=${token}; ${attributes(seconds, https)}; SameSite=Lax`;
}

/** Names the sign-in that waits for a second factor. Only its own page needs it. */
export function pendingCookieName(https: boolean): string {
  return https ? '__Host-hal9_pending' : 'hal9_pending';
}

/** @param value `<organisation>.<challenge>`; empty with 0 seconds removes it. */
export function pendingCookie(value: string, seconds: number, https: boolean): string {
  return `${pendingCookieName(https)}=${value}; ${attributes(seconds, https)}; SameSite=Lax`;
}

function attributes(seconds: number, https: boolean): string {
  return `Path=/; Max-Age=${seconds}; HttpOnly${https ? '; Secure' : ''}`;
}
