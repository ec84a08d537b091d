import { sql, type ColumnType } from 'kysely';
import pg from 'pg';
import { recordAct, type Act } from './audit-acts.ts';
import type { Database, Tx } from './database.ts';
import type { Timestamp } from './organisations.ts';
import { recordUsage } from './usage-events.ts';

/** numeric arrives as text, so that no cent is lost. */
type MaybeMoney = ColumnType<string | null, string | null | undefined, string | null>;
type MaybeCount = ColumnType<number | null, number | null | undefined, number | null>;

export const BUDGET_PERIODS = ['day', 'month', 'cascade'] as const;
export type BudgetPeriod = (typeof BUDGET_PERIODS)[number];

export interface BudgetTables {
  budgets: { org_id: string; period: BudgetPeriod; calls: MaybeCount; tokens: MaybeCount; usd: MaybeMoney; updated_at: Timestamp; updated_by: string };
  budget_spends: {
    org_id: string;
    account: string;
    reserved_calls: number;
    reserved_tokens: number;
    reserved_usd: string;
    spent_calls: number;
    spent_tokens: number;
    spent_usd: string;
    created_at: Timestamp;
  };
  budget_reservations: { org_id: string; id: string; accounts: string[]; calls: number; tokens: number; usd: string; expires_at: Timestamp };
}

/** An amount of each; `usd` is decimal text with up to nine places. */
export interface Amount {
  calls: number;
  tokens: number;
  usd: string;
}

/** Null: no limit. */
export interface BudgetLimits {
  calls: number | null;
  tokens: number | null;
  usd: string | null;
}

export interface BudgetRecord {
  period: BudgetPeriod;
  limits: BudgetLimits;
  updatedAt: Date;
  updatedBy: string;
}

export interface AccountRecord {
  account: string;
  reserved: Amount;
  spent: Amount;
}

/** One account a reservation is taken from, with its limits. */
export interface LimitedAccount {
  account: string;
  limits: BudgetLimits;
}

/** SQLSTATE that `hal9_reserve_budget` raises, with the account as its message. */
const EXHAUSTED = 'HB402';

/** Limits, what is reserved and what was spent. Every account is PostgreSQL's: any number of processes share them. */
export class BudgetStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  async limits(orgId: string): Promise<BudgetRecord[]> {
    return this.#database.withOrg(orgId, async (tx) => {
      const rows = await tx.selectFrom('budgets').selectAll().orderBy('period').execute();
      return rows.map((row) => ({ period: row.period, limits: { calls: row.calls, tokens: row.tokens, usd: row.usd }, updatedAt: row.updated_at, updatedBy: row.updated_by }));
    });
  }

  /** Replaces all limits of the organisation. A period that is left out has none. */
  async replaceLimits(orgId: string, limits: ReadonlyMap<BudgetPeriod, BudgetLimits>, updatedBy: string, act: Act): Promise<void> {
    await this.#database.withOrg(orgId, async (tx) => {
      await tx.deleteFrom('budgets').where('org_id', '=', orgId).execute();
      const rows = [...limits].map(([period, { calls, tokens, usd }]) => ({ org_id: orgId, period, calls, tokens, usd, updated_by: updatedBy }));
      if (rows.length > 0) await tx.insertInto('budgets').values(rows).execute();
      await recordAct(tx, act);
    });
  }

  async accounts(orgId: string, names: readonly string[]): Promise<AccountRecord[]> {
    return this.#database.withOrg(orgId, async (tx) => {
      const rows = await tx.selectFrom('budget_spends').selectAll().where('account', 'in', [...names]).execute();
      return rows.map((row) => ({
        account: row.account,
        reserved: { calls: row.reserved_calls, tokens: row.reserved_tokens, usd: row.reserved_usd },
        spent: { calls: row.spent_calls, tokens: row.spent_tokens, usd: row.spent_usd },
      }));
    });
  }

  /**
   * Takes `worst` out of every account, or out of none.
   * @param expirySeconds after which the reservation is booked in full, because its owner is gone.
   * @returns the account whose limit stands against it; undefined when it was reserved.
   */
  async reserve(orgId: string, id: string, accounts: readonly LimitedAccount[], worst: Amount, expirySeconds: number): Promise<string | undefined> {
    try {
      await this.#database.withOrgClient(orgId, (client) =>
        client.query(`select hal9_reserve_budget($1, $2, $3, $4, $5::numeric[], $6, $7, $8::numeric, now() + make_interval(secs => $9))`, [
          id,
          accounts.map((entry) => entry.account),
          accounts.map((entry) => entry.limits.calls),
          accounts.map((entry) => entry.limits.tokens),
          accounts.map((entry) => entry.limits.usd),
          worst.calls,
          worst.tokens,
          worst.usd,
          expirySeconds,
        ]),
      );
      return undefined;
    } catch (error) {
      if (error instanceof pg.DatabaseError && error.code === EXHAUSTED) return error.message;
      throw error;
    }
  }

  /**
   * Ends a reservation with what was really spent; nothing spent is a release.
   * @returns false when it had ended before (settled, or expired and booked in full).
   */
  async settle(orgId: string, id: string, actual: Amount): Promise<boolean> {
    return this.#database.withOrg(orgId, (tx) => settleBudget(tx, orgId, id, actual));
  }

  /** Books reservations whose time is up. @returns how many. */
  async expire(orgId: string): Promise<number> {
    return this.#database.withOrg(orgId, async (tx) => {
      const { rows } = await sql<{ ended: number }>`select hal9_expire_budget_reservations() as ended`.execute(tx);
      return rows[0]?.ended ?? 0;
    });
  }
}

/** {@link BudgetStore.settle} inside the caller's transaction. What was used is metered, also when the reservation had expired. */
export async function settleBudget(tx: Tx, orgId: string, id: string, actual: Amount): Promise<boolean> {
  if (actual.tokens > 0) await recordUsage(tx, { orgId, meter: 'tokens', key: id, quantity: actual.tokens });
  const { rows } = await sql<{ settled: boolean }>`select hal9_settle_budget(${id}, ${actual.calls}, ${actual.tokens}, ${actual.usd}::numeric) as settled`.execute(tx);
  return rows[0]?.settled ?? false;
}
