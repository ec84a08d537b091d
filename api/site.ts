import type { Request } from 'express';
import type { Site } from '../platform/identity/factors.ts';
import { HalError } from '../schemas/errors.ts';

/**
 * The site that passkeys are bound to: of the public address where one is set; else of the request, which on one machine is `localhost`.
 * WebAuthn knows names only: on `127.0.0.1` no browser offers it.
 * @throws {HalError} `InvalidInput` for a malformed Host.
 */
export function siteOf(request: Request, publicUrl: string, https: boolean): Site {
  const configured = new URL(publicUrl);
  const host = request.headers.host ?? configured.host;
  const asked = `${https ? 'https' : 'http'}://${host}`;
  if (!URL.canParse(asked)) throw new HalError('InvalidInput', 'the Host header is malformed');
  const url = new URL(asked);
  // A name that somebody made up in the Host header must not become a site: only this machine's own names stand in for the public one.
  const chosen = ['localhost', '127.0.0.1', '[::1]'].includes(url.hostname) && ['localhost', '127.0.0.1', '[::1]', '0.0.0.0'].includes(configured.hostname) ? url : configured;
  return { rpId: chosen.hostname, origin: chosen.origin };
}
