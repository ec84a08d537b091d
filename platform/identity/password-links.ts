import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { z } from 'zod';
import type { Challenges } from './challenges.ts';

/** Life of a link, seconds. */
export const LINK_SECONDS = 3600;
const TOKEN = /^([0-9a-f-]{36})\.([0-9a-f-]{36})\.([A-Za-z0-9_-]{43})$/;
const payload = z.object({ userId: z.string(), secretHash: z.string(), password: z.string() });

/** Who may set a password by a link. */
export interface PasswordLink {
  readonly orgId: string;
  readonly userId: string;
  readonly challengeId: string;
  /** Whether the person's password is still the one that the link was made to replace. */
  readonly replaces: (passwordHash: string | null) => boolean;
}

/** Links by which a password is set: once, within an hour, as long as it is not set another way. */
export class PasswordLinks {
  readonly #challenges: Challenges;
  readonly #publicUrl: string;

  /** @param publicUrl where people reach HAL9, without a slash at the end. */
  constructor(challenges: Challenges, publicUrl: string) {
    this.#challenges = challenges;
    this.#publicUrl = publicUrl;
  }

  /** @param passwordHash the present one's; null when there is none. */
  async make(orgId: string, userId: string, passwordHash: string | null): Promise<{ link: string; expiresAt: Date }> {
    const secret = randomBytes(32).toString('base64url');
    const challengeId = await this.#challenges.create(orgId, 'password-reset', { userId, secretHash: hash(secret), password: hash(passwordHash ?? '') }, LINK_SECONDS);
    // After the #, browsers send it to nobody.
    return { link: `${this.#publicUrl}/welcome#reset=${orgId}.${challengeId}.${secret}`, expiresAt: new Date(Date.now() + LINK_SECONDS * 1000) };
  }

  /** What a link is good for, without using it. @param token what stands behind `reset=`. @returns undefined when it is not (any more). */
  async read(token: string): Promise<PasswordLink | undefined> {
    const [, orgId = '', challengeId = '', secret = ''] = TOKEN.exec(token) ?? [];
    const found = orgId === '' ? undefined : payload.safeParse(await this.#challenges.read(orgId, challengeId, 'password-reset'));
    if (found?.success !== true || !timingSafeEqual(Buffer.from(hash(secret)), Buffer.from(found.data.secretHash))) return undefined;
    const { userId, password } = found.data;
    return { orgId, userId, challengeId, replaces: (passwordHash) => hash(passwordHash ?? '') === password };
  }

  /** Uses it up. @returns false for whoever comes second. */
  async use({ orgId, challengeId }: PasswordLink): Promise<boolean> {
    return (await this.#challenges.consume(orgId, challengeId, 'password-reset')) !== undefined;
  }
}

function hash(secret: string): string {
  return createHash('sha256').update(secret).digest('base64url');
}
