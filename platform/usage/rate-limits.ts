import type { Logger } from 'pino';
import type { Entitlements } from '../../schemas/usage/plans.ts';
import { HalError } from '../../schemas/errors.ts';
import type { OperationContract, RateRule } from '../../schemas/operations/operation.ts';
import type { CounterRule, SharedCounters } from './shared-counters.ts';

/** How long a plan that was read is believed, milliseconds; it is read again behind the requests. */
const FRESH_MS = 5_000;
/** Organisations remembered by a process. */
const REMEMBERED = 10_000;
const SECOND = 1_000;
/** Refused deliveries of one webhook that are noted a second. */
const REFUSALS_NOTED = 5;

/** How a request stands with one limit, as the `RateLimit` header says it. */
export interface RateStanding {
  readonly name: 'key' | 'organisation' | 'operation';
  readonly limit: number;
  readonly windowSeconds: number;
  readonly remaining: number;
  /** Seconds until the window ends, rounded up. */
  readonly resetSeconds: number;
}

export interface RateAnswer {
  readonly standings: readonly RateStanding[];
  /** The limit that is used up. */
  readonly refused: RateStanding | undefined;
}

/** What of a plan limits the rate of requests. */
export type RateEntitlements = Pick<Entitlements, 'plan' | 'limits'>;

export interface RateLimitOptions {
  readonly counters: SharedCounters;
  /** Requests a second of each API key, session or service token, and deliveries to each inbound webhook (`HAL9_RATE_LIMIT`); 0 for no limit but that of the plan. */
  readonly requestsPerKey: number;
  /** Failed authentications a minute of each address, and as many refused deliveries (`HAL9_FAILED_LOGINS`); 0 for no limit. */
  readonly failedAuthentications: number;
  /** Under which an address is counted: never the address itself. */
  readonly addressKey: (address: string) => string;
  /** The organisation's plan; undefined when there is no such organisation. Missing: plans limit nothing. */
  readonly plan?: (orgId: string) => Promise<RateEntitlements | undefined>;
  readonly logger: Pick<Logger, 'warn'>;
  /** Milliseconds; for tests. */
  readonly now?: () => number;
}

/** Requests by key and organisation, starts by operation, deliveries by webhook, failed authentications and refused deliveries by address: counted over all processes. */
export class RateLimits {
  readonly #options: RateLimitOptions;
  readonly #now: () => number;
  readonly #plans = new Map<string, { readonly limits: RateEntitlements['limits'] | undefined; readonly readAt: number }>();
  readonly #reading = new Set<string>();

  constructor(options: RateLimitOptions) {
    this.#options = options;
    this.#now = options.now ?? Date.now;
  }

  /** Counts a request. Never waits. */
  takeRequest(orgId: string, keyId: string): RateAnswer {
    const limits = this.#limitsOf(orgId);
    const own = this.#options.requestsPerKey === 0 ? null : this.#options.requestsPerKey;
    const standings: RateStanding[] = [];
    let refused: RateStanding | undefined;
    for (const [name, id, limit] of [['key', `${orgId}/${keyId}`, least(own, limits?.keyRequestsPerSecond ?? null)], ['organisation', orgId, limits?.requestsPerSecond ?? null]] as const) {
      if (limit === null) continue;
      const { allowed, remaining, resetMs } = this.#options.counters.take(`${name}/${id}`, { points: limit, windowMs: SECOND });
      const standing = { name, limit, windowSeconds: 1, remaining, resetSeconds: seconds(resetMs) };
      standings.push(standing);
      if (allowed) continue;
      refused = standing;
      break;
    }
    return { standings, refused };
  }

  /**
   * Counts a start of an operation that has a rate of its own.
   * @throws {HalError} `RateLimited`, with the seconds to wait.
   */
  takeStart(orgId: string, contract: Pick<OperationContract, 'name' | 'rate'>): void {
    const { rate } = contract;
    if (rate === undefined) return;
    const { allowed, resetMs } = this.#options.counters.take(startKey(orgId, contract.name), ruleOf(rate));
    if (!allowed) throw new HalError('RateLimited', `"${contract.name}" may be started ${rate.starts} times in ${rate.perSeconds} s`, { retryAfterSeconds: seconds(resetMs) });
  }

  /** How an operation's rate stands; undefined when it has none. */
  ofStarts(orgId: string, contract: Pick<OperationContract, 'name' | 'rate'>): RateStanding | undefined {
    const { rate } = contract;
    if (rate === undefined) return undefined;
    const { remaining, resetMs } = this.#options.counters.standing(startKey(orgId, contract.name), ruleOf(rate));
    return { name: 'operation', limit: rate.starts, windowSeconds: rate.perSeconds, remaining, resetSeconds: seconds(resetMs) };
  }

  /** Counts a failed authentication. @throws {HalError} `RateLimited`, with the seconds to wait. */
  takeFailedAuthentication(address: string): void {
    const { failedAuthentications: points, addressKey } = this.#options;
    this.#take(`address/${addressKey(address)}`, { points, windowMs: 60 * SECOND }, 'too many failed authentications from this address');
  }

  /** Counts a delivery to an inbound webhook, whether or not there is one. @throws {HalError} `RateLimited`, with the seconds to wait. */
  takeDelivery(hookId: string): void {
    this.#take(`hook/${hookId}`, { points: this.#options.requestsPerKey, windowMs: SECOND }, 'this webhook gets more deliveries a second than it may');
  }

  /** Counts a delivery that proved nothing. @throws {HalError} `RateLimited`, with the seconds to wait. */
  takeRefusedDelivery(address: string): void {
    const { failedAuthentications: points, addressKey } = this.#options;
    this.#take(`refused/${addressKey(address)}`, { points, windowMs: 60 * SECOND }, 'too many deliveries from this address were refused');
  }

  /** Whether one more refused delivery of this webhook may be noted: strangers must not fill the log. */
  takeNotedRefusal(webhookId: string): boolean {
    return this.#options.counters.take(`noted/${webhookId}`, { points: REFUSALS_NOTED, windowMs: SECOND }).allowed;
  }

  async close(): Promise<void> {
    await this.#options.counters.close();
  }

  /** A rule of 0 is no limit. */
  #take(key: string, rule: CounterRule, detail: string): void {
    if (rule.points === 0) return;
    const { allowed, resetMs } = this.#options.counters.take(key, rule);
    if (!allowed) throw new HalError('RateLimited', detail, { retryAfterSeconds: seconds(resetMs) });
  }

  /** What is known of the plan; what is not known yet, or is old, is read behind the request. */
  #limitsOf(orgId: string): RateEntitlements['limits'] | undefined {
    const { plan } = this.#options;
    if (plan === undefined) return undefined;
    const known = this.#plans.get(orgId);
    if ((known === undefined || this.#now() - known.readAt > FRESH_MS) && !this.#reading.has(orgId)) {
      this.#reading.add(orgId);
      void plan(orgId)
        .then((read) => {
          if (this.#plans.size >= REMEMBERED) this.#plans.clear();
          this.#plans.set(orgId, { limits: read?.limits, readAt: this.#now() });
        })
        .catch((error: unknown) => this.#options.logger.warn({ orgId, reason: error instanceof Error ? error.message : String(error) }, 'plan not read, the rates known hold on'))
        .finally(() => this.#reading.delete(orgId));
    }
    return known?.limits;
  }
}

function startKey(orgId: string, operation: string): string {
  return `operation/${orgId}/${operation}`;
}

function ruleOf({ starts, perSeconds }: RateRule): CounterRule {
  return { points: starts, windowMs: perSeconds * SECOND };
}

function seconds(ms: number): number {
  return Math.max(1, Math.ceil(ms / SECOND));
}

function least(a: number | null, b: number | null): number | null {
  if (a === null || b === null) return a ?? b;
  return Math.min(a, b);
}
