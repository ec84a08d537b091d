import { RateLimiterRes, type RateLimiterPostgres } from 'rate-limiter-flexible';
import type { Database } from '../../database/database.ts';
import { throttleCounterAcrossOrganisations } from '../../database/sign-in-throttle.ts';
import { HalError } from '../../schemas/errors.ts';
import { INSTALLATION, type KeyRing } from '../keys/key-ring.ts';

/** Failures of an account at one address, and the window they count in, seconds. */
const PAIR = { points: 5, windowSeconds: 5 * 60 };
/** Of an account from all addresses together: 90 an hour. Addresses it has signed in from before are not counted out by it. */
const ACCOUNT = { points: 15, windowSeconds: 10 * 60 };
/** Of an address for all accounts together. */
const ADDRESS = { points: 30, windowSeconds: 10 * 60 };
/** Wrong second factors of an account, wherever they come from: who gets here has the password. */
const FACTOR = { points: 6, windowSeconds: 10 * 60 };

/** Letters that may be asked for one name, whoever asks. */
const MAIL = { points: 3, windowSeconds: 3600 };

export interface Attempt {
  readonly orgId: string;
  /** What was typed, whether or not there is such an account. */
  readonly account: string;
  readonly address: string;
  /** Whether the account has signed in from this address before. */
  readonly knownAddress: boolean;
}

/**
 * Slows guessing down, across all API processes: by account and address together, by account, by address. Only failures count, so
 * nobody is slowed by signing in. Somebody else's guesses can shut an account for unknown addresses at most, and for ten minutes:
 * the rightful owner goes on where they signed in before.
 */
export class SignInThrottle {
  readonly #keys: KeyRing;
  readonly #pair: RateLimiterPostgres;
  readonly #account: RateLimiterPostgres;
  readonly #address: RateLimiterPostgres;
  readonly #factor: RateLimiterPostgres;
  readonly #mail: RateLimiterPostgres;

  constructor(database: Database, keys: KeyRing) {
    this.#keys = keys;
    this.#pair = throttleCounterAcrossOrganisations(database, { name: 'pair', ...PAIR });
    this.#account = throttleCounterAcrossOrganisations(database, { name: 'account', ...ACCOUNT });
    this.#address = throttleCounterAcrossOrganisations(database, { name: 'address', ...ADDRESS });
    this.#factor = throttleCounterAcrossOrganisations(database, { name: 'factor', ...FACTOR });
    this.#mail = throttleCounterAcrossOrganisations(database, { name: 'mail', ...MAIL });
  }

  /**
   * Before a password is looked at. Takes the try as failed until {@link succeeded} says otherwise, so that tries at the same moment count too.
   * @throws {HalError} `RateLimited` with the seconds to wait, the same whether or not the account exists.
   */
  async begin(attempt: Attempt): Promise<void> {
    await consume([
      [this.#pair, this.#pairKey(attempt)],
      [this.#address, this.#addressKey(attempt.address)],
      ...(attempt.knownAddress ? [] : [[this.#account, this.#accountKey(attempt)] as const]),
    ]);
  }

  /** It was right: forgets the failures of the account here. @returns how many there were. */
  async succeeded(attempt: Attempt): Promise<{ failures: number; suspectAddress: boolean }> {
    const [pairKey, addressKey] = [this.#pairKey(attempt), this.#addressKey(attempt.address)];
    const [pair, address] = await Promise.all([this.#pair.get(pairKey), this.#address.reward(addressKey), ...(attempt.knownAddress ? [] : [this.#account.reward(this.#accountKey(attempt))])]);
    await this.#pair.delete(pairKey);
    return { failures: Math.max(0, (pair?.consumedPoints ?? 1) - 1), suspectAddress: (address?.consumedPoints ?? 0) > ADDRESS.points / 2 };
  }

  /** Before a second factor is looked at; as {@link begin}. @throws {HalError} `RateLimited`. */
  async beginFactor(orgId: string, userId: string): Promise<void> {
    await consume([[this.#factor, this.#hash(`${orgId}/${userId}`)]]);
  }

  async factorSucceeded(orgId: string, userId: string): Promise<void> {
    await this.#factor.delete(this.#hash(`${orgId}/${userId}`));
  }

  /** Before something that belongs to no account is looked at: a link, a key, a passkey. @throws {HalError} `RateLimited`. */
  async beginAt(address: string): Promise<void> {
    await consume([[this.#address, this.#addressKey(address)]]);
  }

  async succeededAt(address: string): Promise<void> {
    await this.#address.reward(this.#addressKey(address));
  }

  /** Whether another letter may be sent for what was typed, whether or not it names somebody. */
  async mayMail(orgId: string, typed: string): Promise<boolean> {
    try {
      await consume([[this.#mail, this.#hash(`mail\n${orgId}\n${typed.toLowerCase()}`)]]);
      return true;
    } catch (error) {
      if (error instanceof HalError && error.type === 'RateLimited') return false;
      throw error;
    }
  }

  #pairKey({ orgId, account, address }: Attempt): string {
    return this.#hash(`${orgId}\n${account.toLowerCase()}\n${address}`);
  }

  #accountKey({ orgId, account }: Attempt): string {
    return this.#hash(`${orgId}\n${account.toLowerCase()}`);
  }

  #addressKey(address: string): string {
    return this.#hash(address);
  }

  #hash(text: string): string {
    return this.#keys.hmac(INSTALLATION, 'sign-in-throttle', text).toString('base64url');
  }
}

async function consume(counters: readonly (readonly [RateLimiterPostgres, string])[]): Promise<void> {
  const outcomes = await Promise.allSettled(counters.map(([counter, key]) => counter.consume(key)));
  let waitMs = 0;
  for (const outcome of outcomes) {
    if (outcome.status === 'fulfilled') continue;
    if (!(outcome.reason instanceof RateLimiterRes)) throw outcome.reason;
    waitMs = Math.max(waitMs, outcome.reason.msBeforeNext);
  }
  if (waitMs > 0) throw new HalError('RateLimited', 'too many failed sign-ins; wait before you try again', { retryAfterSeconds: Math.max(1, Math.ceil(waitMs / 1000)) });
}
