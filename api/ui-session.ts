import { KeyError, type KeyRing } from '../platform/keys/key-ring.ts';

/** Name of the cookie by which the Temporal UI reaches HAL9. */
export const SESSION_COOKIE = 'hal9_ui';
/** Life of a session, seconds. */
export const SESSION_SECONDS = 8 * 60 * 60;

const PURPOSE = 'ui-session';

/**
 * Sessions of browsers that cannot send an API key by themselves. A token is signed and names a key's public prefix: it
 * needs no store, and dies with the key it was made from, whose expiry and revocation are checked on every use.
 */
export class UiSessions {
  readonly #keys: KeyRing;

  constructor(keys: KeyRing) {
    this.#keys = keys;
  }

  /** @param keyPrefix public part of the API key that was proved. */
  issue(keyPrefix: string): string {
    return this.#keys.sign(PURPOSE, keyPrefix, new Date(Date.now() + SESSION_SECONDS * 1000));
  }

  /** The key prefix of a genuine token that has not expired. */
  verify(token: string, now: Date = new Date()): string | undefined {
    try {
      const prefix = this.#keys.verify(PURPOSE, token, now);
      return typeof prefix === 'string' ? prefix : undefined;
    } catch (error) {
      if (error instanceof KeyError) return undefined;
      throw error;
    }
  }
}
