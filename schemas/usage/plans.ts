import { z } from 'zod';
import { METERS, type Meter } from './meters.ts';

export const PLAN_NAMES = ['free', 'starter', 'professional', 'enterprise'] as const;
export type PlanName = (typeof PLAN_NAMES)[number];

/** What is limited besides the meters. */
export const PLAN_LIMITS = ['openRuns', 'apiKeys', 'seats', 'retentionDays', 'requestsPerSecond', 'keyRequestsPerSecond'] as const;
export type PlanLimit = (typeof PLAN_LIMITS)[number];

/** Of one calendar month (UTC). Null: none. */
export interface Quota {
  /** Passing it is told, and refused nothing. */
  readonly soft: number | null;
  /** What would pass it is refused. */
  readonly hard: number | null;
}

/** What an organisation may use. */
export interface Entitlements {
  readonly plan: PlanName;
  readonly quotas: Readonly<Record<Meter, Quota>>;
  /** Null: no limit. */
  readonly limits: Readonly<Record<PlanLimit, number | null>>;
}

const amount = z.int().min(0).nullable();
const quota = z.strictObject({ soft: amount.optional(), hard: amount.optional() });

/** What was agreed besides the plan; what is left out is the plan's, null lifts a limit. */
export const planOverridesSchema = z.strictObject({
  quotas: z.partialRecord(z.enum(METERS), quota).optional(),
  limits: z.partialRecord(z.enum(PLAN_LIMITS), amount).optional(),
});
export type PlanOverrides = z.infer<typeof planOverridesSchema>;

const GIB_HOURS = 1024 ** 3 * 720;

/** Included and most, of one month: the soft quota is what the plan includes. */
function upTo(soft: number | null, hard: number | null): Quota {
  return { soft, hard };
}
const NO_QUOTA = upTo(null, null);

/** The plans, from least to most. Enterprise has no limits of its own: contracts set theirs as overrides; it is what one's own machine gets. */
export const PLANS: Readonly<Record<PlanName, Entitlements>> = {
  free: {
    plan: 'free',
    quotas: {
      'runs': upTo(800, 1_000),
      'signals': upTo(80_000, 100_000),
      'tokens': upTo(80_000, 100_000),
      'browser-seconds': upTo(2_880, 3_600),
      'storage-byte-hours': upTo(0.8 * GIB_HOURS, GIB_HOURS),
      'plugin-cpu-ms': upTo(480_000, 600_000),
    },
    limits: { openRuns: 10, apiKeys: 5, seats: 3, retentionDays: 7, requestsPerSecond: 50, keyRequestsPerSecond: 25 },
  },
  starter: {
    plan: 'starter',
    quotas: {
      'runs': upTo(10_000, 20_000),
      'signals': upTo(5_000_000, 10_000_000),
      'tokens': upTo(2_000_000, 4_000_000),
      'browser-seconds': upTo(36_000, 72_000),
      'storage-byte-hours': upTo(10 * GIB_HOURS, 20 * GIB_HOURS),
      'plugin-cpu-ms': upTo(18_000_000, 36_000_000),
    },
    limits: { openRuns: 200, apiKeys: 25, seats: 15, retentionDays: 30, requestsPerSecond: 400, keyRequestsPerSecond: 200 },
  },
  professional: {
    plan: 'professional',
    quotas: {
      'runs': upTo(200_000, 1_000_000),
      'signals': upTo(500_000_000, 2_000_000_000),
      'tokens': upTo(50_000_000, 200_000_000),
      'browser-seconds': upTo(720_000, 3_600_000),
      'storage-byte-hours': upTo(200 * GIB_HOURS, 1000 * GIB_HOURS),
      'plugin-cpu-ms': upTo(360_000_000, 1_800_000_000),
    },
    limits: { openRuns: 5_000, apiKeys: 250, seats: 150, retentionDays: 365, requestsPerSecond: 4_000, keyRequestsPerSecond: 2_000 },
  },
  enterprise: {
    plan: 'enterprise',
    quotas: { 'runs': NO_QUOTA, 'signals': NO_QUOTA, 'tokens': NO_QUOTA, 'browser-seconds': NO_QUOTA, 'storage-byte-hours': NO_QUOTA, 'plugin-cpu-ms': NO_QUOTA },
    limits: { openRuns: null, apiKeys: null, seats: null, retentionDays: null, requestsPerSecond: null, keyRequestsPerSecond: null },
  },
};

/** The plan with what was agreed besides. */
export function entitlementsOf(plan: PlanName, overrides: PlanOverrides = {}): Entitlements {
  const base = PLANS[plan];
  const quotas = { ...base.quotas };
  for (const meter of METERS) {
    const own = overrides.quotas?.[meter];
    if (own !== undefined) quotas[meter] = { soft: own.soft === undefined ? quotas[meter].soft : own.soft, hard: own.hard === undefined ? quotas[meter].hard : own.hard };
  }
  const limits = { ...base.limits };
  for (const limit of PLAN_LIMITS) {
    const own = overrides.limits?.[limit];
    if (own !== undefined) limits[limit] = own;
  }
  return { plan, quotas, limits };
}
