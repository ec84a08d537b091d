import { sql, type ColumnType, type Generated } from 'kysely';
import type { Meter } from '../schemas/usage/meters.ts';
import type { PlanName } from '../schemas/usage/plans.ts';
import { entitlementsOf } from '../schemas/usage/plans.ts';
import { recordAct, type Act } from './audit-acts.ts';
import type { Database, Tx } from './database.ts';
import type { Timestamp } from './organisations.ts';

type MaybeTime = ColumnType<Date | null, Date | null | undefined, Date | null>;

export interface BillingTables {
  billing_accounts: {
    org_id: string;
    customer_id: string | null;
    subscription_id: string | null;
    subscription_status: string | null;
    plan: PlanName | null;
    cancels_at: MaybeTime;
    revision: Generated<number>;
    event_at: MaybeTime;
    created_at: Timestamp;
    updated_at: Timestamp;
  };
  billing_invoices: {
    org_id: string;
    invoice_id: string;
    number: string | null;
    status: string;
    currency: string;
    amount_due: number;
    amount_paid: number;
    period_start: Date;
    period_end: Date;
    url: string | null;
    event_at: Date;
  };
  billing_reports: {
    org_id: string;
    month: string;
    meter: Meter;
    quantity: number;
    state: Generated<'pending' | 'done' | 'failed'>;
    attempts: Generated<number>;
    first_attempt_at: MaybeTime;
    next_at: Timestamp;
    last_failure: string | null;
    done_at: MaybeTime;
  };
  billing_events: { event_id: string; type: string; received_at: Timestamp };
}

export interface BillingAccount {
  readonly customerId: string | null;
  readonly subscriptionId: string | null;
  readonly status: string | null;
  readonly plan: PlanName | null;
  readonly cancelsAt: Date | null;
  readonly revision: number;
}

export interface SubscriptionState {
  readonly subscriptionId: string;
  readonly status: string;
  readonly plan: PlanName | null;
  readonly cancelsAt: Date | null;
}

export interface InvoiceState {
  readonly invoiceId: string;
  readonly number: string | null;
  readonly status: string;
  readonly currency: string;
  /** In the currency's smallest unit. */
  readonly amountDue: number;
  readonly amountPaid: number;
  readonly periodStart: Date;
  readonly periodEnd: Date;
  readonly url: string | null;
}

/** A statement's line on its way to the provider. */
export interface UsageReport {
  readonly orgId: string;
  /** `YYYY-MM`. */
  readonly month: string;
  readonly meter: Meter;
  readonly quantity: number;
  readonly customerId: string;
  /** This try included. */
  readonly attempts: number;
  readonly firstAttemptAt: Date;
}

/** Seconds a report is left to the process that took it. */
const LEASE_SECONDS = 120;

export class BillingStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  async account(orgId: string): Promise<BillingAccount | undefined> {
    return this.#database.withOrg(orgId, (tx) => accountIn(tx, orgId));
  }

  /**
   * Runs `work` while nobody else changes the account, and keeps what it answers with the acts. Should the process die between the
   * provider and here, the next call repeats the same request under the same idempotency key.
   */
  async change(orgId: string, work: (account: BillingAccount) => Promise<{ customerId: string; subscription?: SubscriptionState; act: Act }>): Promise<BillingAccount> {
    return this.#database.withOrg(orgId, async (tx) => {
      await tx.insertInto('billing_accounts').values({ org_id: orgId }).onConflict((conflict) => conflict.doNothing()).execute();
      await sql`select from billing_accounts where org_id = ${orgId} for update`.execute(tx);
      const before = await accountIn(tx, orgId);
      if (before === undefined) throw new Error('the account was just made');
      const { customerId, subscription, act } = await work(before);
      await tx
        .updateTable('billing_accounts')
        .set({
          customer_id: customerId,
          ...(subscription === undefined ? {} : { subscription_id: subscription.subscriptionId, subscription_status: subscription.status, plan: subscription.plan, cancels_at: subscription.cancelsAt }),
          revision: before.revision + 1,
          updated_at: sql<Date>`now()`,
        })
        .where('org_id', '=', orgId)
        .execute();
      await recordAct(tx, act);
      const after = await accountIn(tx, orgId);
      if (after === undefined) throw new Error('the account went away');
      return after;
    });
  }

  async invoices(orgId: string, limit: number): Promise<InvoiceState[]> {
    return this.#database.withOrg(orgId, async (tx) => {
      const rows = await tx.selectFrom('billing_invoices').selectAll().where('org_id', '=', orgId).orderBy('period_end', 'desc').orderBy('invoice_id').limit(limit).execute();
      return rows.map((row) => ({ invoiceId: row.invoice_id, number: row.number, status: row.status, currency: row.currency, amountDue: row.amount_due, amountPaid: row.amount_paid, periodStart: row.period_start, periodEnd: row.period_end, url: row.url }));
    });
  }

  /** Whose customer it is, of all organisations. */
  async organisationOfCustomer(customerId: string): Promise<string | undefined> {
    const row = await this.#database.system.selectFrom('billing_accounts').select('org_id').where('customer_id', '=', customerId).executeTakeFirst();
    return row?.org_id;
  }

  /**
   * Applies an event of the provider to any organisation, once: subscription and plan, with the act, or an invoice. An event older than
   * the one applied last changes nothing.
   * @returns whether it was new.
   */
  async applyToAnyOrganisation(
    orgId: string,
    event: { readonly id: string; readonly type: string; readonly at: Date },
    change: { readonly subscription: SubscriptionState; readonly entitled: PlanName; readonly act: Act } | { readonly invoice: InvoiceState },
  ): Promise<boolean> {
    return this.#database.system.transaction().execute(async (tx) => {
      const fresh = await tx.insertInto('billing_events').values({ event_id: event.id, type: event.type }).onConflict((conflict) => conflict.doNothing()).executeTakeFirst();
      if (fresh.numInsertedOrUpdatedRows === 0n) return false;
      if ('invoice' in change) await applyInvoice(tx, orgId, event.at, change.invoice);
      else await applySubscription(tx, orgId, event.at, change);
      return true;
    });
  }

  /** Makes a report of each line of a statement closed since the organisation has a subscription. @returns how many are new. */
  async prepareReportsAcrossOrganisations(): Promise<number> {
    const { rows } = await sql<{ made: number }>`
      with made as (
        insert into billing_reports (org_id, month, meter, quantity)
        select s.org_id, s.month, l.meter, l.quantity from statements s
        join billing_accounts a on a.org_id = s.org_id and a.subscription_id is not null and s.month >= date_trunc('month', a.created_at at time zone 'UTC')::date
        cross join lateral jsonb_to_recordset(s.lines) as l (meter text, quantity bigint)
        where l.quantity > 0 on conflict do nothing returning 1
      ) select count(*)::int as made from made`.execute(this.#database.system);
    return rows[0]?.made ?? 0;
  }

  /** Takes due reports for a try each. */
  async takeReportsAcrossOrganisations(limit: number): Promise<UsageReport[]> {
    const { rows } = await sql<UsageReport>`
      update billing_reports r set attempts = attempts + 1, first_attempt_at = coalesce(first_attempt_at, now()), next_at = now() + make_interval(secs => ${LEASE_SECONDS})
      from (
        select d.org_id, d.month, d.meter, a.customer_id from billing_reports d join billing_accounts a on a.org_id = d.org_id
        where d.state = 'pending' and d.next_at <= now() order by d.next_at limit ${limit} for update of d skip locked
      ) due
      where r.org_id = due.org_id and r.month = due.month and r.meter = due.meter
      returning r.org_id as "orgId", to_char(r.month, 'YYYY-MM') as month, r.meter, r.quantity, due.customer_id as "customerId", r.attempts, r.first_attempt_at as "firstAttemptAt"`.execute(this.#database.system);
    return rows;
  }

  /** Forgets events that the provider no longer repeats. @returns how many. */
  async forgetEvents(olderThanDays: number): Promise<number> {
    const { rows } = await sql<{ removed: number }>`
      with removed as (delete from billing_events where received_at < now() - make_interval(days => ${olderThanDays}) returning 1) select count(*)::int as removed from removed`.execute(this.#database.system);
    return rows[0]?.removed ?? 0;
  }

  async reportDone(report: Pick<UsageReport, 'orgId' | 'month' | 'meter'>): Promise<void> {
    await this.#setReport(report, sql`state = 'done', done_at = now(), last_failure = null`);
  }

  async retryReport(report: Pick<UsageReport, 'orgId' | 'month' | 'meter'>, failure: string, afterSeconds: number): Promise<void> {
    await this.#setReport(report, sql`next_at = now() + make_interval(secs => ${afterSeconds}), last_failure = ${failure}`);
  }

  async failReport(report: Pick<UsageReport, 'orgId' | 'month' | 'meter'>, failure: string): Promise<void> {
    await this.#setReport(report, sql`state = 'failed', last_failure = ${failure}`);
  }

  async #setReport({ orgId, month, meter }: Pick<UsageReport, 'orgId' | 'month' | 'meter'>, set: ReturnType<typeof sql>): Promise<void> {
    await sql`update billing_reports set ${set} where org_id = ${orgId} and month = ${`${month}-01`} and meter = ${meter}`.execute(this.#database.system);
  }
}

async function accountIn(tx: Tx, orgId: string): Promise<BillingAccount | undefined> {
  const row = await tx.selectFrom('billing_accounts').selectAll().where('org_id', '=', orgId).executeTakeFirst();
  if (row === undefined) return undefined;
  return { customerId: row.customer_id, subscriptionId: row.subscription_id, status: row.subscription_status, plan: row.plan, cancelsAt: row.cancels_at, revision: row.revision };
}

async function applyInvoice(tx: Tx, orgId: string, at: Date, invoice: InvoiceState): Promise<void> {
  const values = {
    number: invoice.number, status: invoice.status, currency: invoice.currency, amount_due: invoice.amountDue, amount_paid: invoice.amountPaid, period_start: invoice.periodStart, period_end: invoice.periodEnd, url: invoice.url, event_at: at,
  };
  await tx
    .insertInto('billing_invoices')
    .values({ org_id: orgId, invoice_id: invoice.invoiceId, ...values })
    .onConflict((conflict) => conflict.columns(['org_id', 'invoice_id']).doUpdateSet(values).where('billing_invoices.event_at', '<=', at))
    .execute();
}

async function applySubscription(tx: Tx, orgId: string, at: Date, { subscription, entitled, act }: { subscription: SubscriptionState; entitled: PlanName; act: Act }): Promise<void> {
  const applied = await tx
    .updateTable('billing_accounts')
    .set({ subscription_id: subscription.subscriptionId, subscription_status: subscription.status, plan: subscription.plan, cancels_at: subscription.cancelsAt, event_at: at, updated_at: sql<Date>`now()` })
    .where('org_id', '=', orgId)
    .where((where) => where.or([where('event_at', 'is', null), where('event_at', '<=', at)]))
    .executeTakeFirst();
  if (applied.numUpdatedRows === 0n) return;
  const current = await tx.selectFrom('organisation_plans').select(['plan', 'overrides']).where('org_id', '=', orgId).executeTakeFirst();
  if (current?.plan === entitled) return;
  const { limits } = entitlementsOf(entitled);
  const values = { plan: entitled, overrides: '{}', seats: limits.seats, api_keys: limits.apiKeys, updated_by: 'system:billing', updated_at: sql<Date>`now()` };
  await tx.insertInto('organisation_plans').values({ org_id: orgId, ...values }).onConflict((conflict) => conflict.column('org_id').doUpdateSet(values)).execute();
  await recordAct(tx, act);
}
