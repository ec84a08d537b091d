import type { Database } from '../../database/database.ts';
import { PlanStore, type PlanRecord } from '../../database/plans.ts';
import { linesOf, StatementStore, type Statement, type StatementLine } from '../../database/statements.ts';
import { UsageStore, type UsagePoint, type UsageQuery } from '../../database/usage.ts';
import { HalError } from '../../schemas/errors.ts';
import { METER_UNITS, METERS, type Meter } from '../../schemas/usage/meters.ts';
import { PLAN_LIMITS, type PlanLimit, type PlanName, type PlanOverrides } from '../../schemas/usage/plans.ts';
import { actOf } from '../audit/act.ts';
import type { Caller } from '../identity/caller.ts';
import { platformOrganisation } from '../identity/platform-organisation.ts';
import { monthNamed, monthOf, projected, type Month } from './month.ts';

/** How a meter stands in the running month. */
export interface MeterStanding {
  readonly meter: Meter;
  readonly unit: string;
  readonly used: number;
  readonly projected: number;
  readonly soft: number | null;
  readonly hard: number | null;
  readonly state: 'within' | 'over-soft' | 'over-hard';
}

export interface UsageSummary {
  readonly plan: PlanName;
  readonly month: Month;
  readonly meters: readonly MeterStanding[];
  readonly limits: readonly { readonly name: PlanLimit; readonly used: number | null; readonly limit: number | null }[];
}

/** A month's statement; without hash while the month is open. */
export type StatementView = Pick<Statement, 'month' | 'plan' | 'lines'> & { readonly state: 'open' | 'closed'; readonly closedAt: Date | null; readonly hash: string | null; readonly previousHash: string | null };

const DAY_MS = 86_400_000;
/** Longest span of a series by its step, days. */
const LONGEST_DAYS = { hour: 32, day: 400, month: 3_700 } as const;

/** Plans, usage and statements of organisations. */
export class Plans {
  readonly #plans: PlanStore;
  readonly #usage: UsageStore;
  readonly #statements: StatementStore;
  readonly #defaultPlan: PlanName;
  readonly #platform: () => Promise<string | undefined>;

  /** @param defaultPlan of organisations for which none was set (`HAL9_DEFAULT_PLAN`). */
  constructor(database: Database, defaultPlan: PlanName) {
    this.#plans = new PlanStore(database);
    this.#usage = new UsageStore(database);
    this.#statements = new StatementStore(database);
    this.#defaultPlan = defaultPlan;
    this.#platform = platformOrganisation(database);
  }

  /** @throws {HalError} InvalidInput when the span is empty or too long for the step. */
  async series(caller: Pick<Caller, 'orgId'>, query: UsageQuery): Promise<UsagePoint[]> {
    const days = (query.to.getTime() - query.from.getTime()) / DAY_MS;
    if (days <= 0 || days > LONGEST_DAYS[query.step]) {
      throw new HalError('InvalidInput', 'the span is empty or too long', { errors: [{ path: '/query/to', message: `after \`from\`, by at most ${LONGEST_DAYS[query.step]} days for steps of a ${query.step}` }] });
    }
    return this.#usage.series(caller.orgId, query);
  }

  async summary(caller: Pick<Caller, 'orgId'>, now = new Date()): Promise<UsageSummary> {
    const month = monthOf(now);
    const [plan, totals, counts] = await Promise.all([this.#planOf(caller.orgId), this.#usage.totals(caller.orgId, month.from, now), this.#plans.counts(caller.orgId)]);
    const { quotas, limits } = plan.entitlements;
    return {
      plan: plan.plan,
      month,
      meters: METERS.map((meter) => {
        const [used, { soft, hard }] = [totals[meter], quotas[meter]];
        return { meter, unit: METER_UNITS[meter], used, projected: projected(used, month, now), soft, hard, state: hard !== null && used >= hard ? 'over-hard' : soft !== null && used > soft ? 'over-soft' : 'within' };
      }),
      limits: PLAN_LIMITS.map((name) => ({ name, used: name === 'openRuns' || name === 'apiKeys' || name === 'seats' ? counts[name] : null, limit: limits[name] })),
    };
  }

  /** Closed months, newest first. */
  async statements(caller: Pick<Caller, 'orgId'>, limit: number, before?: string): Promise<StatementView[]> {
    return (await this.#statements.list(caller.orgId, limit, before)).map(closedView);
  }

  /**
   * A month's statement: as it was closed, or as it stands.
   * @param name `YYYY-MM`.
   * @throws {HalError} NotFound for a month that has not begun.
   */
  async statement(caller: Pick<Caller, 'orgId'>, name: string, now = new Date()): Promise<StatementView> {
    const closed = await this.#statements.find(caller.orgId, name);
    if (closed !== undefined) return closedView(closed);
    const month = monthNamed(name);
    if (month.from > now) throw new HalError('NotFound', 'the month has not begun');
    const [plan, totals] = await Promise.all([this.#planOf(caller.orgId), this.#usage.totals(caller.orgId, month.from, month.to)]);
    const lines: StatementLine[] = linesOf(totals, plan.entitlements);
    return { month: name, plan: plan.plan, lines, state: 'open', closedAt: null, hash: null, previousHash: null };
  }

  /** The running month of every organisation. @throws {HalError} Forbidden but for the platform's organisation. */
  async ofAllOrganisations(caller: Caller, name: string | undefined, now = new Date()): Promise<{ month: Month; items: { orgId: string; plan: PlanName; quantities: Record<Meter, number> }[] }> {
    await this.#assertPlatform(caller);
    const month = name === undefined ? monthOf(now) : monthNamed(name);
    const [totals, plans] = await Promise.all([this.#usage.totalsAcrossOrganisations(month.from, month.to), this.#plans.listAcrossOrganisations()]);
    const byOrganisation = new Map(plans.map((plan) => [plan.orgId, plan.plan]));
    return { month, items: [...totals].map(([orgId, quantities]) => ({ orgId, plan: byOrganisation.get(orgId) ?? this.#defaultPlan, quantities })).sort((a, b) => (a.orgId < b.orgId ? -1 : 1)) };
  }

  /** @throws {HalError} Forbidden but for the platform's organisation; NotFound. */
  async planOfOrganisation(caller: Caller, orgId: string): Promise<PlanRecord> {
    await this.#assertPlatform(caller);
    return this.#planOf(orgId);
  }

  /** Takes effect in every process within two seconds. @throws {HalError} Forbidden but for the platform's organisation; NotFound. */
  async set(caller: Caller, orgId: string, plan: PlanName, overrides: PlanOverrides): Promise<PlanRecord> {
    await this.#assertPlatform(caller);
    const act = actOf(caller, 'plan.set', { kind: 'organisation', id: orgId }, { plan, overridden: Object.keys(overrides.quotas ?? {}).concat(Object.keys(overrides.limits ?? {})) });
    // Its people read in their own log who changed what they may use.
    const acts = orgId === caller.orgId ? [act] : [act, { ...act, orgId, personal: {} }];
    const set = await this.#plans.setForAnyOrganisation(orgId, plan, overrides, `${caller.actor.kind}:${caller.actor.id}`, acts);
    if (set === undefined) throw new HalError('NotFound', 'no such organisation');
    return set;
  }

  async #planOf(orgId: string): Promise<PlanRecord> {
    const plan = await this.#plans.ofAnyOrganisation(orgId, this.#defaultPlan);
    if (plan === undefined) throw new HalError('NotFound', 'no such organisation');
    return plan;
  }

  async #assertPlatform(caller: Caller): Promise<void> {
    if ((await this.#platform()) !== caller.orgId) throw new HalError('Forbidden', 'only the organisation that runs the installation may do this');
  }
}

function closedView({ month, plan, lines, closedAt, hash, previousHash }: Statement): StatementView {
  return { month, plan, lines, state: 'closed', closedAt, hash, previousHash };
}
