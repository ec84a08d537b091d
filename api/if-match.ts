import { HalError } from '../schemas/errors.ts';

/** For the `headers` of routes that change something with a version. */
export const IF_MATCH: Readonly<Record<string, string>> = { 'If-Match': 'Version that the change is made to, as the ETag or `version` of the resource says it; 412 if somebody changed it meanwhile.' };

/**
 * Version that a change is made to (RFC 9110, 13.1.1); undefined: whichever is there.
 * @throws {HalError} InvalidInput.
 */
export function ifMatch(header: string | undefined): number | undefined {
  if (header === undefined || header.trim() === '*') return undefined;
  const version = /^\s*(?:W\/)?"?(\d{1,9})"?\s*$/.exec(header)?.[1];
  if (version === undefined) throw new HalError('InvalidInput', 'If-Match holds no version', { errors: [{ path: '/headers/if-match', message: 'use the ETag of the resource, e.g. "3"' }] });
  return Number(version);
}
