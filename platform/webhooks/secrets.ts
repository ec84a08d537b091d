import { randomBytes } from 'node:crypto';
import { z } from 'zod';
import type { KeyRing } from '../keys/key-ring.ts';

const secretSchema = z.object({ id: z.string(), secret: z.string(), createdAt: z.coerce.date(), expiresAt: z.coerce.date().nullable() });

/** A secret that is live, or was. */
export type WebhookSecret = z.output<typeof secretSchema>;

/** Secrets of one webhook or endpoint: sealed together, newest first, two live at most. */
export class SecretBox {
  readonly #keys: KeyRing;
  readonly #purpose: string;

  /** @param purpose keeps kinds of boxes apart. */
  constructor(keys: KeyRing, purpose: string) {
    this.#keys = keys;
    this.#purpose = purpose;
  }

  /** The first secret. */
  first(orgId: string, id: string, secret: string): Buffer {
    return this.#seal(orgId, id, [fresh(secret)]);
  }

  /** Puts a secret before the newest one, which lives for `overlapSeconds` more; older ones are dropped. */
  rotated(orgId: string, id: string, sealed: Buffer, secret: string, overlapSeconds: number): Buffer {
    const [current] = this.live(orgId, id, sealed);
    const until = new Date(Date.now() + overlapSeconds * 1000);
    const kept = current === undefined || overlapSeconds === 0 ? [] : [{ ...current, expiresAt: current.expiresAt !== null && current.expiresAt < until ? current.expiresAt : until }];
    return this.#seal(orgId, id, [fresh(secret), ...kept]);
  }

  /** Those that are live now, newest first. */
  live(orgId: string, id: string, sealed: Buffer): WebhookSecret[] {
    const opened: unknown = JSON.parse(this.#keys.open(orgId, this.#purpose, sealed, id).toString('utf8'));
    return z.array(secretSchema).parse(opened).filter(({ expiresAt }) => expiresAt === null || expiresAt.getTime() > Date.now());
  }

  #seal(orgId: string, id: string, secrets: readonly WebhookSecret[]): Buffer {
    return this.#keys.seal(orgId, this.#purpose, JSON.stringify(secrets), id);
  }
}

/** A secret of Standard Webhooks: 24 random bytes. */
export function newStandardSecret(): string {
  return `whsec_${randomBytes(24).toString('base64')}`;
}

function fresh(secret: string): WebhookSecret {
  return { id: randomBytes(6).toString('hex'), secret, createdAt: new Date(), expiresAt: null };
}
