import { createHash } from 'node:crypto';
import { z } from 'zod';
import type { Config } from '../config/config.ts';
import { KeyError, type KeyRing } from '../keys/key-ring.ts';

/** What a link names: the organisation and the approval, no person. */
const contentSchema = z.object({ org: z.uuid(), approval: z.uuid() });

const PURPOSE = 'approval-link';

/**
 * A link that answers an approval once, without a credential. The same approval and deadline make the same token, so that a repeated
 * attempt to tell people does not spoil the link that was sent; it is kept as a hash only.
 */
export function approvalToken(keys: KeyRing, orgId: string, approvalId: string, expiresAt: Date): string {
  return keys.sign(PURPOSE, { org: orgId, approval: approvalId }, expiresAt);
}

/** @returns undefined when the token was not made by HAL9 or has expired. */
export function readApprovalToken(keys: KeyRing, token: string): { orgId: string; approvalId: string; hash: Buffer } | undefined {
  try {
    const { org, approval } = contentSchema.parse(keys.verify(PURPOSE, token));
    return { orgId: org, approvalId: approval, hash: hashToken(token) };
  } catch (error) {
    if (error instanceof KeyError) return undefined;
    throw error;
  }
}

export function hashToken(token: string): Buffer {
  return createHash('sha256').update(token).digest();
}

/** Where people reach the API. */
export function publicUrl(config: Pick<Config, 'HAL9_PUBLIC_URL' | 'HAL9_HOST' | 'HAL9_PORT' | 'HAL9_TLS_CERT'>): string {
  return (config.HAL9_PUBLIC_URL ?? `${config.HAL9_TLS_CERT === undefined ? 'http' : 'https'}://${config.HAL9_HOST}:${config.HAL9_PORT}`).replace(/\/+$/, '');
}
