import { randomUUID } from 'node:crypto';
import { BUDGET_PERIODS, BudgetStore, type AccountRecord, type Amount, type BudgetLimits, type BudgetPeriod, type LimitedAccount } from '../../database/budgets.ts';
import type { Database } from '../../database/database.ts';
import { PlanStore } from '../../database/plans.ts';
import { actOf } from '../audit/act.ts';
import type { Caller } from '../identity/caller.ts';
import { usdText } from './money.ts';

/** Limits as people give them; a missing one is no limit. */
export interface LimitSetting {
  readonly calls?: number | undefined;
  readonly tokens?: number | undefined;
  readonly usd?: number | undefined;
}

export interface BudgetView {
  readonly period: BudgetPeriod;
  readonly limits: BudgetLimits;
  /** Of the running day or month (UTC); null for `cascade`, which has one account a batch. */
  readonly used: { readonly reserved: Amount; readonly spent: Amount } | null;
}

/** What a call may cost at the most, and who pays. */
export interface SpendRequest {
  readonly batchId: string;
  readonly neuronId: string;
  /** The neuron's own limit within one cascade. */
  readonly perCascade: LimitSetting;
  readonly worst: Amount;
  /** How long the caller may take; a reservation that is neither settled nor released by then and a minute is booked in full. */
  readonly seconds: number;
}

export type Reservation = { readonly kind: 'reserved'; readonly id: string } | { readonly kind: 'refused'; readonly reason: string };

const NOTHING: Amount = { calls: 0, tokens: 0, usd: '0' };
const GRACE_SECONDS = 60;

/** Spending limits of organisations: reserve the worst case, call, settle with what it cost. */
export class Budgets {
  readonly #store: BudgetStore;
  readonly #plans: PlanStore;
  readonly #monthlyUsd: number | undefined;

  /** @param monthlyUsd what the installation lets every organisation spend in a month, whatever its own limits say. Default: no limit. */
  constructor(database: Database, monthlyUsd?: number) {
    this.#store = new BudgetStore(database);
    this.#plans = new PlanStore(database);
    this.#monthlyUsd = monthlyUsd;
  }

  /** All periods, those without limits too. */
  async view(caller: Pick<Caller, 'orgId'>, now = new Date()): Promise<BudgetView[]> {
    await this.#store.expire(caller.orgId);
    const limits = await this.#limits(caller.orgId);
    const accounts = await this.#store.accounts(caller.orgId, [dayAccount(now), monthAccount(now)]);
    const used = (name: string) => amountsOf(accounts.find((account) => account.account === name));
    return BUDGET_PERIODS.map((period) => ({
      period,
      limits: limits.get(period) ?? unlimited(),
      used: period === 'cascade' ? null : used(period === 'day' ? dayAccount(now) : monthAccount(now)),
    }));
  }

  /** Replaces the limits; a period left out has none. What was spent stays. */
  async replace(caller: Caller, settings: Partial<Record<BudgetPeriod, LimitSetting>>): Promise<BudgetView[]> {
    const limits = new Map(BUDGET_PERIODS.flatMap((period) => (settings[period] === undefined ? [] : [[period, limitsOf(settings[period])] as const])));
    await this.#store.replaceLimits(caller.orgId, limits, `${caller.actor.kind}:${caller.actor.id}`, actOf(caller, 'budget.replace', { kind: 'budget', id: caller.orgId }, { periods: [...limits.keys()] }));
    return this.view(caller);
  }

  /** Reserves the worst case of one call in the accounts of the plan, the installation, the day, the month, the cascade and the neuron in it: in all or in none. */
  async reserve(orgId: string, request: SpendRequest, now = new Date()): Promise<Reservation> {
    const id = randomUUID();
    const [limits, plan] = await Promise.all([this.#limits(orgId), this.#plans.entitlements(orgId)]);
    const tokens = plan?.quotas.tokens.hard ?? null;
    const accounts: LimitedAccount[] = [
      // Reserved like the others, so that no number of calls at once passes the quota.
      ...(tokens === null ? [] : [{ account: planAccount(now), limits: { ...unlimited(), tokens } }]),
      ...(this.#monthlyUsd === undefined ? [] : [{ account: installationAccount(now), limits: limitsOf({ usd: this.#monthlyUsd }) }]),
      { account: dayAccount(now), limits: limits.get('day') ?? unlimited() },
      { account: monthAccount(now), limits: limits.get('month') ?? unlimited() },
      { account: `cascade/${request.batchId}`, limits: limits.get('cascade') ?? unlimited() },
      { account: `cascade/${request.batchId}/${request.neuronId}`, limits: limitsOf(request.perCascade) },
    ];
    const refusing = await this.#store.reserve(orgId, id, accounts, request.worst, request.seconds + GRACE_SECONDS);
    return refusing === undefined ? { kind: 'reserved', id } : { kind: 'refused', reason: `${nameOf(refusing)} is used up` };
  }

  /** Books what the call really cost. @returns false when the reservation had ended. */
  async settle(orgId: string, reservation: string, actual: Amount): Promise<boolean> {
    return this.#store.settle(orgId, reservation, actual);
  }

  /** The call did not happen and cost nothing. */
  async release(orgId: string, reservation: string): Promise<void> {
    await this.#store.settle(orgId, reservation, NOTHING);
  }

  async #limits(orgId: string): Promise<Map<BudgetPeriod, BudgetLimits>> {
    return new Map((await this.#store.limits(orgId)).map((budget) => [budget.period, budget.limits]));
  }
}

function unlimited(): BudgetLimits {
  return { calls: null, tokens: null, usd: null };
}

function limitsOf(setting: LimitSetting): BudgetLimits {
  return { calls: setting.calls ?? null, tokens: setting.tokens ?? null, usd: setting.usd === undefined ? null : usdText(setting.usd) };
}

function amountsOf(account: AccountRecord | undefined): { reserved: Amount; spent: Amount } {
  return account === undefined ? { reserved: NOTHING, spent: NOTHING } : { reserved: account.reserved, spent: account.spent };
}

function dayAccount(at: Date): string {
  return `day/${at.toISOString().slice(0, 10)}`;
}

function monthAccount(at: Date): string {
  return `month/${at.toISOString().slice(0, 7)}`;
}

function planAccount(at: Date): string {
  return `plan/${at.toISOString().slice(0, 7)}`;
}

function installationAccount(at: Date): string {
  return `installation/${at.toISOString().slice(0, 7)}`;
}

function nameOf(account: string): string {
  if (account.startsWith('plan/')) return "the plan's quota of tokens in this month";
  if (account.startsWith('installation/')) return "the installation's limit of this month";
  if (account.startsWith('day/')) return "the organisation's budget of the day";
  if (account.startsWith('month/')) return "the organisation's budget of the month";
  return account.split('/').length === 2 ? 'the budget of this cascade' : "the neuron's budget in this cascade";
}
