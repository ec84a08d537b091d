import type { Logger } from 'pino';
import type { Database } from '../../database/database.ts';
import { PlanStore } from '../../database/plans.ts';
import { RateCounterStore } from '../../database/rate-counters.ts';
import type { Config } from '../config/config.ts';
import { INSTALLATION, type KeyRing } from '../keys/key-ring.ts';
import { RateLimits } from './rate-limits.ts';
import { SharedCounters } from './shared-counters.ts';

/** The rate limits of a process that shares them with the others. `close` it. */
export function openRateLimits({ config, database, keys, logger }: { readonly config: Config; readonly database: Database; readonly keys: KeyRing; readonly logger: Logger }): RateLimits {
  const plans = new PlanStore(database);
  return new RateLimits({
    counters: new SharedCounters(new RateCounterStore(database), logger),
    requestsPerKey: config.HAL9_RATE_LIMIT,
    failedAuthentications: config.HAL9_FAILED_LOGINS,
    addressKey: (address) => keys.hmac(INSTALLATION, 'rate-limits', address).toString('base64url'),
    plan: (orgId) => plans.ofAnyOrganisation(orgId, config.HAL9_DEFAULT_PLAN).then((found) => found && { plan: found.plan, limits: found.entitlements.limits }),
    logger,
  });
}
