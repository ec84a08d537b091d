import Stripe from 'stripe';
import type { Meter } from '../../schemas/usage/meters.ts';
import { PLAN_NAMES, type PlanName } from '../../schemas/usage/plans.ts';
import { BillingError, type BillingPort, type MeterReport, type ProviderEvent, type ProviderSubscription } from './port.ts';

export interface StripeOptions {
  /** Secret key, `sk_...` or `rk_...`. */
  readonly apiKey: string;
  /** Secret of the webhook endpoint, `whsec_...`. */
  readonly webhookSecret: string;
  /** Default: Stripe's own. */
  readonly url?: string | undefined;
  /** Price of each plan that is sold. */
  readonly prices: ReadonlyMap<PlanName, string>;
  /** The guarded door out. */
  readonly fetch: typeof globalThis.fetch;
  /** Of one try, milliseconds; default 20,000. */
  readonly timeoutMs?: number;
  /** Tries of one call after the first, with the library's backoff; default 2. */
  readonly retries?: number;
}

/** Seconds by which the time in a signature may differ from now (Stripe's own default). */
const TOLERANCE_SECONDS = 300;

/** Stripe over its own client. Meter events are named `hal9_<meter>` with `_` for `-`; the meters must exist there under these names. */
export class StripeBilling implements BillingPort {
  readonly plans: readonly PlanName[];
  readonly #stripe: Stripe;
  readonly #options: StripeOptions;
  readonly #planByPrice: ReadonlyMap<string, PlanName>;

  constructor(options: StripeOptions) {
    const url = options.url === undefined ? undefined : new URL(options.url);
    this.#stripe = new Stripe(options.apiKey, {
      httpClient: Stripe.createFetchHttpClient(options.fetch),
      timeout: options.timeoutMs ?? 20_000,
      maxNetworkRetries: options.retries ?? 2,
      telemetry: false,
      ...(url === undefined ? {} : { protocol: url.protocol === 'http:' ? ('http' as const) : ('https' as const), host: url.hostname, port: url.port === '' ? (url.protocol === 'http:' ? 80 : 443) : Number(url.port) }),
    });
    this.#options = options;
    this.plans = PLAN_NAMES.filter((plan) => options.prices.has(plan));
    this.#planByPrice = new Map([...options.prices].map(([plan, price]) => [price, plan]));
  }

  async createCustomer({ orgId, name }: { orgId: string; name: string }, key: string): Promise<string> {
    const customer = await this.#ask(() => this.#stripe.customers.create({ name, metadata: { hal9_organisation: orgId } }, { idempotencyKey: key }));
    return customer.id;
  }

  async subscribe(customerId: string, plan: PlanName, key: string): Promise<ProviderSubscription> {
    return this.#subscription(await this.#ask(() => this.#stripe.subscriptions.create({ customer: customerId, items: [{ price: this.#price(plan) }], payment_behavior: 'default_incomplete' }, { idempotencyKey: key })));
  }

  async changePlan(subscriptionId: string, plan: PlanName, key: string): Promise<ProviderSubscription> {
    const current = await this.#ask(() => this.#stripe.subscriptions.retrieve(subscriptionId));
    const item = current.items.data.find((entry) => this.#planByPrice.has(entry.price.id));
    const items = [item === undefined ? { price: this.#price(plan) } : { id: item.id, price: this.#price(plan) }];
    return this.#subscription(await this.#ask(() => this.#stripe.subscriptions.update(subscriptionId, { items, cancel_at_period_end: false }, { idempotencyKey: key })));
  }

  async cancel(subscriptionId: string, key: string): Promise<ProviderSubscription> {
    return this.#subscription(await this.#ask(() => this.#stripe.subscriptions.update(subscriptionId, { cancel_at_period_end: true }, { idempotencyKey: key })));
  }

  async report({ identifier, customerId, meter, quantity, at }: MeterReport): Promise<void> {
    try {
      await this.#ask(() =>
        this.#stripe.billing.meterEvents.create(
          { event_name: meterEventName(meter), identifier, timestamp: Math.floor(at.getTime() / 1000), payload: { stripe_customer_id: customerId, value: String(quantity) } },
          { idempotencyKey: identifier },
        ),
      );
    } catch (error) {
      // It arrived by an earlier try whose answer was lost.
      if (error instanceof BillingError && error.cause instanceof Stripe.errors.StripeInvalidRequestError && /identifier/.test(error.cause.message) && /already exists|duplicate/i.test(error.cause.message)) return;
      throw error;
    }
  }

  readEvent(body: Buffer, signature: string): ProviderEvent {
    let event: Stripe.Event;
    try {
      event = this.#stripe.webhooks.constructEvent(body, signature, this.#options.webhookSecret, TOLERANCE_SECONDS);
    } catch (error) {
      throw new BillingError('the signature does not fit the body', { retryable: false, cause: error });
    }
    const head = { id: event.id, type: event.type, at: new Date(event.created * 1000) };
    switch (event.type) {
      case 'customer.subscription.created':
      case 'customer.subscription.updated':
      case 'customer.subscription.deleted': {
        const subscription = this.#subscription(event.data.object);
        return { ...head, kind: 'subscription', customerId: subscription.customerId, subscription };
      }
      case 'invoice.created':
      case 'invoice.finalized':
      case 'invoice.updated':
      case 'invoice.paid':
      case 'invoice.payment_failed':
      case 'invoice.voided':
        return invoiceEvent(head, event.data.object);
      default:
        return { ...head, kind: 'other' };
    }
  }

  #price(plan: PlanName): string {
    const price = this.#options.prices.get(plan);
    if (price === undefined) throw new BillingError(`no price is set for the plan ${plan}`, { retryable: false });
    return price;
  }

  #subscription({ id, customer, status, items, cancel_at: cancelAt }: Stripe.Subscription): ProviderSubscription {
    const plan = items.data.map((item) => this.#planByPrice.get(item.price.id)).find((found) => found !== undefined) ?? null;
    return { id, customerId: idOf(customer), status, plan, cancelsAt: cancelAt === null ? null : new Date(cancelAt * 1000) };
  }

  /** The library retries what is safe; what comes out is told as a code. */
  async #ask<T>(call: () => Promise<T>): Promise<T> {
    try {
      return await call();
    } catch (error) {
      throw billingError(error);
    }
  }
}

export function meterEventName(meter: Meter): string {
  return `hal9_${meter.replaceAll('-', '_')}`;
}

function invoiceEvent(head: { id: string; type: string; at: Date }, invoice: Stripe.Invoice): ProviderEvent {
  const customerId = invoice.customer === null ? '' : idOf(invoice.customer);
  return {
    ...head,
    kind: 'invoice',
    customerId,
    invoice: {
      invoiceId: invoice.id ?? '',
      number: invoice.number,
      status: invoice.status ?? 'draft',
      currency: invoice.currency,
      amountDue: invoice.amount_due,
      amountPaid: invoice.amount_paid,
      periodStart: new Date(invoice.period_start * 1000),
      periodEnd: new Date(invoice.period_end * 1000),
      url: invoice.hosted_invoice_url ?? null,
    },
  };
}

function idOf(reference: string | { id: string }): string {
  return typeof reference === 'string' ? reference : reference.id;
}

function billingError(error: unknown): BillingError {
  if (!(error instanceof Stripe.errors.StripeError)) return new BillingError('the payment provider could not be asked', { retryable: true, cause: error });
  const code = error.code ?? error.rawType ?? error.type;
  const away = error instanceof Stripe.errors.StripeConnectionError || error instanceof Stripe.errors.StripeRateLimitError || (error.statusCode ?? 500) >= 500 || error.statusCode === 409;
  // A wrong key is mended by people while reports wait.
  const retryable = away || error instanceof Stripe.errors.StripeAuthenticationError || error instanceof Stripe.errors.StripePermissionError;
  const wait = Number(error.headers?.['retry-after']);
  return new BillingError(`the payment provider answered ${error.statusCode ?? 'nothing'} ${code}`, { retryable, retryAfterSeconds: Number.isFinite(wait) && wait > 0 ? wait : undefined, cause: error });
}
