import { hash } from 'node:crypto';

/**
 * HAL9's id of a signal: the first 16 bytes of SHA-256 over `org NUL source NUL id` in UTF-8, marked as a UUID of version 8
 * (RFC 9562, section 5.8), as 32 hex digits. Equal (org, source, id) give the same key, which is what deduplication rests on.
 * Neither source nor id may hold U+0000.
 */
export function signalKey(orgId: string, source: string, id: string): string {
  const hex = hash('sha256', `${orgId}\0${source}\0${id}`, 'hex');
  return `${hex.slice(0, 12)}8${hex.slice(13, 16)}a${hex.slice(17, 32)}`;
}

/** 32 hex digits in the form people see: 8-4-4-4-12. */
export function uuidText(hex: string): string {
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}
