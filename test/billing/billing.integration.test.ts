import { sql } from 'kysely';
import pg from 'pg';
import pino from 'pino';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { BillingStore } from '../../database/billing.ts';
import { PlanStore } from '../../database/plans.ts';
import { StatementStore } from '../../database/statements.ts';
import { Billing } from '../../platform/billing/billing.ts';
import { billingProvider } from '../../platform/billing/provider.ts';
import { reportUsage } from '../../platform/billing/reporter.ts';
import { StripeBilling } from '../../platform/billing/stripe.ts';
import { Egress } from '../../platform/connections/egress.ts';
import { systemCaller } from '../../platform/identity/caller.ts';
import type { PlanName } from '../../schemas/usage/plans.ts';
import { createTestDatabase, type TestDatabase } from '../environment/database.ts';
import { API_KEY, startStripeServer, WEBHOOK_SECRET, type StripeServer } from './stripe-server.ts';

const logger = pino({ level: 'silent' });
const PRICES = new Map<PlanName, string>([['starter', 'price_s'], ['professional', 'price_p']]);

describe('billing', () => {
  let test: TestDatabase;
  let stripe: StripeServer;
  let provider: StripeBilling;
  let billing: Billing;
  let store: BillingStore;
  const egress = new Egress({ allowPrivate: true });
  beforeAll(async () => {
    test = await createTestDatabase();
    store = new BillingStore(test.database);
  });
  beforeEach(async () => {
    stripe = await startStripeServer();
    provider = new StripeBilling({ apiKey: API_KEY, webhookSecret: WEBHOOK_SECRET, url: stripe.url, prices: PRICES, fetch: egress.fetch, timeoutMs: 500, retries: 1 });
    billing = new Billing({ database: test.database, provider, planAfterEnd: 'free' });
  });
  afterEach(async () => {
    // What a test left pending must not leave in the next one.
    await sql`update billing_reports set state = 'failed' where state = 'pending'`.execute(test.database.system);
    await stripe.close();
  });
  afterAll(async () => {
    await egress.close();
    await test.drop();
  });

  const planOf = async (orgId: string) => (await new PlanStore(test.database).ofAnyOrganisation(orgId, 'enterprise'))?.plan;
  const subscribed = async (): Promise<{ orgId: string; customerId: string; subscriptionId: string }> => {
    const orgId = await test.organisation('shop');
    const account = await billing.subscribe(systemCaller(orgId, 'test'), 'starter');
    return { orgId, customerId: account.customerId ?? '', subscriptionId: account.subscriptionId ?? '' };
  };
  const receive = ({ body, signature }: { body: string; signature: string }) => billing.receive(Buffer.from(body), signature);
  const subscription = (subscriptionId: string, fields: Record<string, unknown>) => ({ ...stripe.subscriptions.get(subscriptionId), ...fields });

  it('subscribes, and entitles once the provider counts the subscription as good', async () => {
    const { orgId, customerId, subscriptionId } = await subscribed();
    expect(stripe.customers.get(customerId)).toMatchObject({ name: 'shop', metadata: { hal9_organisation: orgId } });
    expect((await billing.view({ orgId })).account).toMatchObject({ status: 'incomplete', plan: 'starter' });
    expect(await planOf(orgId)).toBe('enterprise');
    const active = stripe.event('customer.subscription.updated', subscription(subscriptionId, { status: 'active' }));
    expect([await receive(active), await receive(active)]).toEqual([true, false]);
    expect(await planOf(orgId)).toBe('starter');
    const acts = await sql<{ action: string }>`select action from audit_acts where org_id = ${orgId} order by at`.execute(test.database.system);
    expect(acts.rows.map(({ action }) => action)).toEqual(['billing.register', 'billing.subscribe', 'plan.set']);
  });

  it('changes the plan of the subscription there is, and ends it with what is paid', async () => {
    const { orgId, subscriptionId } = await subscribed();
    await billing.subscribe(systemCaller(orgId, 'test'), 'professional');
    expect(stripe.subscriptions.size).toBe(1);
    expect(stripe.subscriptions.get(subscriptionId)).toMatchObject({ items: { data: [{ id: `${subscriptionId}_item_0`, price: { id: 'price_p' } }] } });
    const { cancelsAt } = await billing.cancel(systemCaller(orgId, 'test'));
    expect(cancelsAt?.getTime()).toBeGreaterThan(Date.now());
    await receive(stripe.event('customer.subscription.updated', subscription(subscriptionId, { status: 'active' })));
    expect(await planOf(orgId)).toBe('professional');
    await receive(stripe.event('customer.subscription.deleted', subscription(subscriptionId, { status: 'canceled' })));
    expect(await planOf(orgId)).toBe('free');
    await expect(billing.cancel(systemCaller(orgId, 'test'))).rejects.toMatchObject({ type: 'NotFound' });
    await billing.subscribe(systemCaller(orgId, 'test'), 'starter');
    expect(stripe.subscriptions.size).toBe(2);
  });

  it('makes one customer and one subscription, whatever is lost on the way', async () => {
    const orgId = await test.organisation('shop');
    const caller = systemCaller(orgId, 'test');
    // Both tries of the first request take effect and are never heard of.
    stripe.fail('/customers', 'answer-lost', 'answer-lost');
    await expect(billing.subscribe(caller, 'starter')).rejects.toMatchObject({ type: 'ExternalCallFailed' });
    stripe.fail('/subscriptions', 'answer-lost', 'hangs');
    await expect(billing.subscribe(caller, 'starter')).rejects.toMatchObject({ type: 'ExternalCallFailed', retryAfterSeconds: 10 });
    await billing.subscribe(caller, 'starter');
    expect([stripe.customers.size, stripe.subscriptions.size]).toEqual([1, 1]);
    const both = await Promise.all([billing.subscribe(caller, 'professional'), billing.subscribe(caller, 'professional')]);
    expect(both.map(({ plan }) => plan)).toEqual(['professional', 'professional']);
    expect(stripe.subscriptions.size).toBe(1);
  });

  it('ignores events that are older, forged, replayed late, or not ours', async () => {
    const { orgId, subscriptionId } = await subscribed();
    const now = Math.floor(Date.now() / 1000);
    await receive(stripe.event('customer.subscription.updated', subscription(subscriptionId, { status: 'active' }), { created: now }));
    await receive(stripe.event('customer.subscription.updated', subscription(subscriptionId, { status: 'canceled' }), { created: now - 60 }));
    expect(await planOf(orgId)).toBe('starter');
    const canceled = subscription(subscriptionId, { status: 'canceled' });
    const forged = [stripe.event('customer.subscription.deleted', canceled, { secret: 'whsec_other' }), stripe.event('customer.subscription.deleted', canceled, { signedAt: now - 3_600 })];
    const genuine = stripe.event('customer.subscription.deleted', canceled);
    forged.push({ ...genuine, body: genuine.body.replace('canceled', 'active') }, { ...genuine, signature: '' });
    for (const event of forged) await expect(receive(event)).rejects.toMatchObject({ type: 'Unauthenticated' });
    expect(await receive(stripe.event('customer.subscription.deleted', { ...canceled, customer: 'cus_somebody' }))).toBe(false);
    expect(await receive(stripe.event('charge.refunded', { id: 'ch_1' }))).toBe(false);
    expect(await planOf(orgId)).toBe('starter');
  });

  it('keeps invoices as they were told last', async () => {
    const { orgId, customerId } = await subscribed();
    const now = Math.floor(Date.now() / 1000);
    const invoice = (status: string, paid: number) => ({ id: 'in_1', object: 'invoice', customer: customerId, number: 'A-1', status, currency: 'eur', amount_due: 4900, amount_paid: paid, period_start: now - 86_400, period_end: now, hosted_invoice_url: 'https://pay.example/in_1' });
    await receive(stripe.event('invoice.finalized', invoice('open', 0), { created: now - 10 }));
    await receive(stripe.event('invoice.paid', invoice('paid', 4900), { created: now }));
    await receive(stripe.event('invoice.updated', invoice('open', 0), { created: now - 5 }));
    expect((await billing.view({ orgId })).invoices).toEqual([expect.objectContaining({ invoiceId: 'in_1', status: 'paid', amountPaid: 4900, currency: 'eur' })]);
  });

  it('says what is wrong without saying more', async () => {
    const caller = systemCaller(await test.organisation(), 'test');
    await expect(billing.subscribe(caller, 'free')).rejects.toMatchObject({ type: 'InvalidInput' });
    await expect(new Billing({ database: test.database, provider: undefined, planAfterEnd: 'free' }).subscribe(caller, 'starter')).rejects.toMatchObject({ type: 'NotFound' });
    const wrongKey = new Billing({ database: test.database, planAfterEnd: 'free', provider: new StripeBilling({ apiKey: 'sk_wrong', webhookSecret: WEBHOOK_SECRET, url: stripe.url, prices: PRICES, fetch: egress.fetch }) });
    await expect(wrongKey.subscribe(caller, 'starter')).rejects.toMatchObject({ type: 'ExternalCallFailed', message: expect.not.stringContaining('sk_wrong') });
    const guarded = new Egress({ allowPrivate: false });
    const closed = new Billing({ database: test.database, planAfterEnd: 'free', provider: new StripeBilling({ apiKey: API_KEY, webhookSecret: WEBHOOK_SECRET, url: stripe.url, prices: PRICES, fetch: guarded.fetch, retries: 0 }) });
    const before = stripe.requests.length;
    await expect(closed.subscribe(caller, 'starter')).rejects.toMatchObject({ type: 'ExternalCallFailed' });
    expect(stripe.requests).toHaveLength(before);
    await guarded.close();
  });

  describe('reports of usage', () => {
    const month = new Date(Date.UTC(new Date().getUTCFullYear(), new Date().getUTCMonth() - 1, 1)).toISOString().slice(0, 7);
    const closedMonth = async () => {
      const account = await subscribed();
      await sql`update billing_accounts set created_at = ${`${month}-01T00:00:00Z`}::timestamptz where org_id = ${account.orgId}`.execute(test.database.system);
      for (const [meter, quantity] of [['runs', 12], ['signals', 3_000]] as const) await sql`insert into usage_hours (org_id, meter, hour, quantity) values (${account.orgId}, ${meter}, ${`${month}-05T00:00:00Z`}, ${quantity})`.execute(test.database.system);
      while ((await new StatementStore(test.database).closeMonthsAcrossOrganisations(100, 'enterprise')) > 0);
      return account;
    };
    const due = (orgId: string) => sql`update billing_reports set next_at = now() where org_id = ${orgId} and state = 'pending'`.execute(test.database.system);
    const states = async (orgId: string) => (await sql<{ meter: string; state: string; attempts: number; failure: string | null }>`select meter, state, attempts, last_failure as failure from billing_reports where org_id = ${orgId} order by meter`.execute(test.database.system)).rows;

    it('leave once for each line of a closed month', async () => {
      const { orgId, customerId } = await closedMonth();
      await Promise.all(Array.from({ length: 3 }, () => reportUsage({ store, provider, logger })));
      await reportUsage({ store, provider, logger });
      expect([...stripe.meterEvents.values()].map(({ event_name, payload }) => [event_name, payload.stripe_customer_id, payload.value].join(' ')).sort()).toEqual([`hal9_runs ${customerId} 12`, `hal9_signals ${customerId} 3000`]);
      expect(stripe.requests.filter((request) => request.endsWith('/meter_events'))).toHaveLength(2);
      const [first] = stripe.meterEvents.values();
      expect(new Date((first?.timestamp ?? 0) * 1000).toISOString().slice(0, 7)).toBe(month);
      expect((await states(orgId)).map(({ state }) => state)).toEqual(['done', 'done']);
    });

    it('are tried again after limits, faults and lost answers, and arrive once', async () => {
      const { orgId } = await closedMonth();
      stripe.fail('/meter_events', 'rate-limited', 'broken', 'answer-lost', 'answer-lost', 'unauthorized');
      for (let round = 0; round < 6; round++) {
        await reportUsage({ store, provider, logger });
        await due(orgId);
      }
      expect((await states(orgId)).map(({ state }) => state)).toEqual(['done', 'done']);
      expect([...stripe.meterEvents.values()].map(({ payload }) => payload.value).sort()).toEqual(['12', '3000']);
    });

    it('are the same event also when the provider has forgotten the key of the request', async () => {
      const { orgId } = await closedMonth();
      stripe.fail('/meter_events', 'answer-lost', 'answer-lost');
      await reportUsage({ store, provider, logger });
      stripe.forgetKeys();
      await due(orgId);
      await reportUsage({ store, provider, logger });
      expect((await states(orgId)).map(({ state }) => state)).toEqual(['done', 'done']);
      expect(stripe.meterEvents.size).toBe(2);
    });

    it('leave no event behind for ever', async () => {
      const { subscriptionId } = await subscribed();
      await receive(stripe.event('customer.subscription.updated', subscription(subscriptionId, { status: 'active' })));
      const owner = new pg.Client({ connectionString: test.url });
      await owner.connect();
      const { rowCount } = await owner.query("update billing_events set received_at = now() - interval '91 days'");
      await owner.end();
      expect(rowCount).toBeGreaterThan(0);
      await reportUsage({ store, provider, logger });
      const { rows } = await sql<{ n: number }>`select count(*)::int as n from billing_events`.execute(test.database.system);
      expect(rows).toEqual([{ n: 0 }]);
    });

    it('are given up when refused, or undecided for too long to be repeated safely', async () => {
      const { orgId } = await closedMonth();
      stripe.customers.clear();
      await reportUsage({ store, provider, logger });
      expect(await states(orgId)).toEqual([expect.objectContaining({ state: 'failed', attempts: 1, failure: expect.stringContaining('resource_missing') }), expect.objectContaining({ state: 'failed' })]);
      const late = await closedMonth();
      stripe.fail('/meter_events', 'broken', 'broken', 'broken', 'broken');
      await reportUsage({ store, provider, logger, now: () => Date.now() + 21 * 3_600_000 });
      expect((await states(late.orgId)).every(({ state, failure }) => state === 'failed' && failure?.startsWith('undecided') === true)).toBe(true);
    });
  });

  it('is set up by settings that fit together', async () => {
    const settings = { HAL9_STRIPE_KEY: API_KEY, HAL9_STRIPE_WEBHOOK_SECRET: WEBHOOK_SECRET, HAL9_STRIPE_PRICES: ['starter=price_s'], HAL9_STRIPE_URL: undefined };
    expect((await billingProvider(settings, egress))?.plans).toEqual(['starter']);
    expect(await billingProvider({ ...settings, HAL9_STRIPE_KEY: undefined }, egress)).toBeUndefined();
    await expect(billingProvider({ ...settings, HAL9_STRIPE_WEBHOOK_SECRET: undefined }, egress)).rejects.toThrow('HAL9_STRIPE_WEBHOOK_SECRET');
    for (const wrong of ['gold=price_1', 'starter', 'starter=']) await expect(billingProvider({ ...settings, HAL9_STRIPE_PRICES: [wrong] }, egress)).rejects.toThrow('HAL9_STRIPE_PRICES');
  });
});
