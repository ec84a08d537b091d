import { RateLimiterPostgres } from 'rate-limiter-flexible';
import type { Database } from './database.ts';

export interface CounterOptions {
  /** Distinguishes counters. */
  readonly name: string;
  /** Failures allowed within the window. */
  readonly points: number;
  /** The window, seconds. */
  readonly windowSeconds: number;
}

/** A counter of failures shared by all processes: rows of `sign_in_throttle`. Crosses organisations; its keys are HMACs. */
export function throttleCounterAcrossOrganisations(database: Database, options: CounterOptions): RateLimiterPostgres {
  return new RateLimiterPostgres({
    storeClient: database.systemPool,
    storeType: 'pool',
    tableName: 'sign_in_throttle',
    tableCreated: true,
    // Pruned with the sessions: a timer in each process would do the same work again.
    clearExpiredByTimeout: false,
    keyPrefix: options.name,
    points: options.points,
    duration: options.windowSeconds,
  });
}
