import { createHmac, timingSafeEqual } from 'node:crypto';

/** Name of the cookie by which the Temporal UI reaches the codec endpoint. */
export const SESSION_COOKIE = 'hal9_ui';
/** Life of a session, seconds. */
export const SESSION_SECONDS = 8 * 60 * 60;

/**
 * Sessions of browsers that cannot send an API key by themselves. A token is `<key prefix>.<expiry>.<HMAC>`: it needs no
 * store, and dies with the key it was made from, whose expiry and revocation are checked on every use.
 */
export class UiSessions {
  readonly #secret: Buffer;

  /** @param secret at least 32 bytes, the same in every API process. */
  constructor(secret: Buffer) {
    if (secret.length < 32) throw new RangeError('a session secret needs 32 bytes');
    this.#secret = secret;
  }

  /** @param keyPrefix public part of the API key that was proved. */
  issue(keyPrefix: string, now = Date.now()): string {
    const claim = `${keyPrefix}.${Math.floor(now / 1000) + SESSION_SECONDS}`;
    return `${claim}.${this.#sign(claim).toString('base64url')}`;
  }

  /** The key prefix of a genuine token that has not expired. */
  verify(token: string, now = Date.now()): string | undefined {
    const [prefix = '', expiry = '', signature = ''] = token.split('.');
    const expected = this.#sign(`${prefix}.${expiry}`);
    const given = Buffer.from(signature, 'base64url');
    if (given.length !== expected.length || !timingSafeEqual(given, expected)) return undefined;
    return Number(expiry) * 1000 > now ? prefix : undefined;
  }

  #sign(claim: string): Buffer {
    return createHmac('sha256', this.#secret).update(`ui-session:${claim}`).digest();
  }
}
