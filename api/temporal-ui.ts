import { request as httpRequest, type IncomingHttpHeaders } from 'node:http';
import { request as httpsRequest } from 'node:https';
import type { RequestHandler } from 'express';
import { assertCan } from '../platform/identity/permissions.ts';
import { HalError } from '../schemas/errors.ts';
import { authenticate, type AuthenticationOptions } from './authentication.ts';
import { SESSION_COOKIES } from '../platform/identity/session-cookie.ts';

/** Where the API serves the Temporal UI; the UI must be told the same as its public path. */
export const TEMPORAL_UI_PATH = '/temporal';

const TIMEOUT_MS = 30_000;
/** Headers about one connection (RFC 9110, 7.6.1) do not travel further; neither do HAL9's own credentials. */
const STAY = new Set(['connection', 'keep-alive', 'proxy-authenticate', 'proxy-authorization', 'te', 'trailer', 'transfer-encoding', 'upgrade', 'authorization', 'x-api-key', 'cookie']);

export interface TemporalUiOptions extends AuthenticationOptions {
  /** Address of the UI, started with the public path {@link TEMPORAL_UI_PATH}. */
  target: string;
  /** The one organisation whose people may use it: the UI shows and steers the runs of all. */
  platformOrganisation: () => Promise<string | undefined>;
}

/**
 * The Temporal UI behind HAL9's session: it has no sign-in of its own, and under the API's own origin its calls to the
 * codec endpoint carry the session cookie without any setting in the browser.
 */
export function temporalUi({ target, platformOrganisation, ...authentication }: TemporalUiOptions): RequestHandler {
  const base = new URL(target);
  const send = base.protocol === 'https:' ? httpsRequest : httpRequest;
  return async (request, response, next) => {
    let credential;
    try {
      credential = await authenticate(request, response, 'origin', authentication);
    } catch (error) {
      if (!(error instanceof HalError) || error.type !== 'Unauthenticated' || request.accepts(['json', 'html']) !== 'html') throw error;
      response.redirect(303, `/sign-in?returnTo=${encodeURIComponent(request.originalUrl)}`);
      return;
    }
    assertCan(credential, 'temporal-ui:use');
    if (credential.orgId !== (await platformOrganisation())) throw new HalError('Forbidden', 'the Temporal UI shows all organisations; only the one that runs the installation may use it');
    const upstream = send({ host: base.hostname, port: base.port, method: request.method, path: request.originalUrl, headers: { ...travelling(request.headers), ...otherCookies(request.headers.cookie), host: base.host }, timeout: TIMEOUT_MS }, (answer) => {
      // A renewed session's cookie joins those of the UI.
      const own = response.getHeader('set-cookie');
      const cookies = [...(answer.headers['set-cookie'] ?? []), ...(Array.isArray(own) ? own : own === undefined ? [] : [String(own)])];
      response.writeHead(answer.statusCode ?? 502, { ...travelling(answer.headers), ...(cookies.length === 0 ? {} : { 'set-cookie': cookies }) });
      answer.pipe(response);
    });
    upstream.on('timeout', () => upstream.destroy(new Error('timeout')));
    upstream.on('error', (cause) => {
      if (response.headersSent) response.destroy();
      else next(new HalError('DependencyUnavailable', 'the Temporal UI does not answer', { retryAfterSeconds: 1, cause }));
    });
    response.on('close', () => upstream.destroy());
    // Its pages set their own policy; ours would keep them from loading their scripts.
    response.removeHeader('Content-Security-Policy');
    request.pipe(upstream);
  };
}

function travelling(headers: IncomingHttpHeaders): IncomingHttpHeaders {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !STAY.has(name)));
}

function otherCookies(header: string | undefined): { cookie?: string } {
  const others = (header ?? '').split(';').map((part) => part.trim()).filter((part) => part !== '' && !SESSION_COOKIES.some((name) => part.startsWith(`${name}=`)));
  return others.length === 0 ? {} : { cookie: others.join('; ') };
}
