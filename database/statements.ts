import { createHash } from 'node:crypto';
import { sql, type ColumnType } from 'kysely';
import { METER_UNITS, METERS, type Meter } from '../schemas/usage/meters.ts';
import { entitlementsOf, planOverridesSchema, type Entitlements, type PlanName } from '../schemas/usage/plans.ts';
import type { Database } from './database.ts';
import type { Timestamp } from './organisations.ts';
import { MONTH_LOCK } from './usage.ts';

export interface StatementTables {
  statements: {
    org_id: string;
    /** `YYYY-MM-DD`, the first of the month. */
    month: string;
    plan: PlanName;
    lines: ColumnType<StatementLine[], string, never>;
    closed_at: Timestamp;
    previous_hash: Buffer | null;
    hash: Buffer;
  };
}

export interface StatementLine {
  readonly meter: Meter;
  readonly unit: string;
  readonly quantity: number;
  /** Quotas of the month; null: none. */
  readonly soft: number | null;
  readonly hard: number | null;
}

export interface Statement {
  /** `YYYY-MM`. */
  readonly month: string;
  readonly plan: PlanName;
  readonly lines: readonly StatementLine[];
  readonly closedAt: Date;
  /** SHA-256, 64 hexadecimal digits; null for the organisation's first statement. */
  readonly previousHash: string | null;
  readonly hash: string;
}

/** How long after its end a month stays open for transactions that began in it, seconds. */
const GRACE_SECONDS = 3_600;

/** Statements of closed months: written once, chained by hash, never changed. */
export class StatementStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /** Newest first. */
  async list(orgId: string, limit: number, before?: string): Promise<Statement[]> {
    return this.#database.withOrg(orgId, async (tx) => {
      let query = tx.selectFrom('statements').selectAll().where('org_id', '=', orgId).orderBy('month', 'desc').limit(limit);
      if (before !== undefined) query = query.where('month', '<', `${before}-01`);
      return (await query.execute()).map(fromRow);
    });
  }

  async find(orgId: string, month: string): Promise<Statement | undefined> {
    return this.#database.withOrg(orgId, async (tx) => {
      const row = await tx.selectFrom('statements').selectAll().where('org_id', '=', orgId).where('month', '=', `${month}-01`).executeTakeFirst();
      return row === undefined ? undefined : fromRow(row);
    });
  }

  /**
   * Writes the statements of months that are over, oldest first, at most `limit`. While uses of such a month are still to be folded it waits.
   * @param presetPlan of organisations that have no plan of their own.
   * @returns how many were written.
   */
  async closeMonthsAcrossOrganisations(limit: number, presetPlan: PlanName): Promise<number> {
    return this.#database.system.transaction().execute(async (tx) => {
      await sql`select pg_advisory_xact_lock(${MONTH_LOCK})`.execute(tx);
      const due = await sql<{ orgId: string; month: string; plan: PlanName | null; overrides: unknown; previous: Buffer | null; totals: Record<string, number> }>`
        with over as (
          select h.org_id, date_trunc('month', h.hour, 'UTC') as starts, h.meter, sum(h.quantity)::float8 as quantity from usage_hours h
          where h.hour < date_trunc('month', now() - make_interval(secs => ${GRACE_SECONDS}), 'UTC')
            and not exists (select from statements s where s.org_id = h.org_id and s.month = (date_trunc('month', h.hour, 'UTC') at time zone 'UTC')::date)
          group by 1, 2, 3
        ), months as (
          select org_id, starts, jsonb_object_agg(meter, quantity) as totals from over group by 1, 2
        )
        select m.org_id as "orgId", (m.starts at time zone 'UTC')::date as month, p.plan, p.overrides, m.totals,
          (select hash from statements s where s.org_id = m.org_id order by s.month desc limit 1) as previous
        from months m left join organisation_plans p on p.org_id = m.org_id
        where not exists (select from usage_events e where e.org_id = m.org_id and e.folded_at is null and e.at < (m.starts at time zone 'UTC' + interval '1 month') at time zone 'UTC')
          -- One month of an organisation at a time, because each carries the hash of the one before.
          and not exists (select from months earlier where earlier.org_id = m.org_id and earlier.starts < m.starts)
        order by m.starts, m.org_id limit ${limit}`.execute(tx);
      for (const { orgId, month, plan, overrides, previous, totals } of due.rows) {
        const entitlements = entitlementsOf(plan ?? presetPlan, planOverridesSchema.parse(overrides ?? {}));
        const lines = linesOf(totals, entitlements);
        const hash = Buffer.from(statementHash({ month: month.slice(0, 7), plan: entitlements.plan, lines, previousHash: previous?.toString('hex') ?? null }), 'hex');
        await tx.insertInto('statements').values({ org_id: orgId, month, plan: entitlements.plan, lines: JSON.stringify(lines), previous_hash: previous, hash }).execute();
      }
      return due.rows.length;
    });
  }
}

/** The lines of a month, one a meter. */
export function linesOf(totals: Readonly<Partial<Record<string, number>>>, { quotas }: Entitlements): StatementLine[] {
  return METERS.map((meter) => ({ meter, unit: METER_UNITS[meter], quantity: totals[meter] ?? 0, soft: quotas[meter].soft, hard: quotas[meter].hard }));
}

/** SHA-256 over a statement and the hash of the one before, as hexadecimal digits: what was changed later no longer fits. */
export function statementHash({ month, plan, lines, previousHash }: Pick<Statement, 'month' | 'plan' | 'lines' | 'previousHash'>): string {
  const canonical = [month, plan, lines.map(({ meter, unit, quantity, soft, hard }) => [meter, unit, quantity, soft, hard]), previousHash];
  return createHash('sha256').update(JSON.stringify(canonical)).digest('hex');
}

function fromRow(row: { month: string; plan: PlanName; lines: StatementLine[]; closed_at: Date; previous_hash: Buffer | null; hash: Buffer }): Statement {
  return { month: row.month.slice(0, 7), plan: row.plan, lines: row.lines, closedAt: row.closed_at, previousHash: row.previous_hash?.toString('hex') ?? null, hash: row.hash.toString('hex') };
}
