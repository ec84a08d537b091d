import { RateLimiterMemory, RateLimiterRes } from 'rate-limiter-flexible';
import { HalError } from '../schemas/errors.ts';

export interface RateLimitOptions {
  /** Requests a second for each API key; 0 for no limit. */
  requestsPerKey: number;
  /** Failed authentications a minute for each address; 0 for no limit. */
  failedAuthentications: number;
}

/** Counted in each process on its own: with n API processes a client gets up to n times the limit. */
export class RateLimits {
  readonly #requests: RateLimiterMemory | undefined;
  readonly #failures: RateLimiterMemory | undefined;

  constructor(options: RateLimitOptions) {
    this.#requests = limiter(options.requestsPerKey, 1);
    this.#failures = limiter(options.failedAuthentications, 60);
  }

  /** @throws {HalError} `RateLimited`, with the seconds to wait. */
  async countRequest(keyId: string): Promise<void> {
    await consume(this.#requests, keyId, 'this API key is over its requests per second');
  }

  /** @throws {HalError} `RateLimited`, with the seconds to wait. */
  async countFailedAuthentication(address: string): Promise<void> {
    await consume(this.#failures, address, 'too many failed authentications from this address');
  }
}

function limiter(points: number, seconds: number): RateLimiterMemory | undefined {
  return points === 0 ? undefined : new RateLimiterMemory({ points, duration: seconds });
}

async function consume(limits: RateLimiterMemory | undefined, key: string, detail: string): Promise<void> {
  if (limits === undefined) return;
  try {
    await limits.consume(key);
  } catch (refusal) {
    if (!(refusal instanceof RateLimiterRes)) throw refusal;
    throw new HalError('RateLimited', detail, { retryAfterSeconds: Math.max(1, Math.ceil(refusal.msBeforeNext / 1000)) });
  }
}
