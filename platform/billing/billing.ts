import { BillingStore, type BillingAccount, type InvoiceState, type SubscriptionState } from '../../database/billing.ts';
import type { Database } from '../../database/database.ts';
import { OrganisationStore } from '../../database/organisations.ts';
import { HalError } from '../../schemas/errors.ts';
import type { PlanName } from '../../schemas/usage/plans.ts';
import { actOf } from '../audit/act.ts';
import { systemCaller, type Caller } from '../identity/caller.ts';
import { BillingError, type BillingPort, type ProviderSubscription } from './port.ts';

export interface BillingOptions {
  readonly database: Database;
  /** Undefined: nothing is sold here. */
  readonly provider: BillingPort | undefined;
  /** Plan of an organisation whose subscription ended. */
  readonly planAfterEnd: PlanName;
}

const INVOICES = 100;
/** In these the provider counts the subscription as good; `past_due` is its time of grace. */
const ENTITLING = new Set(['active', 'trialing', 'past_due']);
/** In these a subscription never comes back. */
const ENDED = new Set(['canceled', 'incomplete_expired']);

/** Subscriptions and invoices of organisations. */
export class Billing {
  readonly #store: BillingStore;
  readonly #organisations: OrganisationStore;
  readonly #options: BillingOptions;

  constructor(options: BillingOptions) {
    this.#store = new BillingStore(options.database);
    this.#organisations = new OrganisationStore(options.database);
    this.#options = options;
  }

  /** Plans that can be bought; none where nothing is sold. */
  get plans(): readonly PlanName[] {
    return this.#options.provider?.plans ?? [];
  }

  async view(caller: Pick<Caller, 'orgId'>): Promise<{ account: BillingAccount | undefined; invoices: InvoiceState[] }> {
    const [account, invoices] = await Promise.all([this.#store.account(caller.orgId), this.#store.invoices(caller.orgId, INVOICES)]);
    return { account, invoices };
  }

  /**
   * Subscribes to a plan, or changes to it. What the organisation may use follows the provider's event, once it counts the subscription
   * as good: a payment may have to come first.
   * @throws {HalError} NotFound where nothing is sold; InvalidInput for a plan that is not; ExternalCallFailed; Conflict when the provider refuses.
   */
  async subscribe(caller: Caller, plan: PlanName): Promise<BillingAccount> {
    const provider = this.#provider();
    if (!provider.plans.includes(plan)) throw new HalError('InvalidInput', 'this plan is not sold here', { errors: [{ path: '/plan', message: `one of ${provider.plans.join(', ')}` }] });
    // Committed before there is a subscription: the first event about it must find whose it is.
    const customerId = (await this.#store.account(caller.orgId))?.customerId ?? (await this.#register(caller, provider));
    return this.#change(caller, 'billing.subscribe', { plan }, async ({ subscriptionId, status, revision }) => {
      const key = `hal9/${caller.orgId}/${revision}/${plan}`;
      const live = subscriptionId !== null && !ENDED.has(status ?? '');
      return { customerId, subscription: stateOf(live ? await provider.changePlan(subscriptionId, plan, key) : await provider.subscribe(customerId, plan, key)) };
    });
  }

  /** Ends the subscription with what is paid. @throws {HalError} NotFound, also when there is no subscription; ExternalCallFailed, Conflict. */
  async cancel(caller: Caller): Promise<BillingAccount> {
    const provider = this.#provider();
    return this.#change(caller, 'billing.cancel', {}, async ({ customerId, subscriptionId, status, revision }) => {
      if (customerId === null || subscriptionId === null || ENDED.has(status ?? '')) throw new HalError('NotFound', 'there is no subscription');
      return { customerId, subscription: stateOf(await provider.cancel(subscriptionId, `hal9/${caller.orgId}/${revision}/cancel`)) };
    });
  }

  /**
   * Applies an event of the provider, once.
   * @returns whether it was news.
   * @throws {HalError} Unauthenticated when the signature does not fit; NotFound where nothing is sold.
   */
  async receive(body: Buffer, signature: string): Promise<boolean> {
    const event = this.#readEvent(body, signature);
    if (event.kind === 'other') return false;
    const orgId = await this.#store.organisationOfCustomer(event.customerId);
    // Somebody else's customer at the same provider.
    if (orgId === undefined) return false;
    if (event.kind === 'invoice') return this.#store.applyToAnyOrganisation(orgId, event, { invoice: event.invoice });
    const { subscription } = event;
    const entitled = ENTITLING.has(subscription.status) && subscription.plan !== null ? subscription.plan : this.#options.planAfterEnd;
    const act = actOf(systemCaller(orgId, 'billing'), 'plan.set', { kind: 'organisation', id: orgId }, { plan: entitled, status: subscription.status });
    return this.#store.applyToAnyOrganisation(orgId, event, { subscription: stateOf(subscription), entitled, act });
  }

  async #register(caller: Caller, provider: BillingPort): Promise<string> {
    const { customerId } = await this.#change(caller, 'billing.register', {}, async ({ customerId: known }) => ({
      customerId: known ?? (await provider.createCustomer({ orgId: caller.orgId, name: await this.#nameOf(caller.orgId) }, `hal9/${caller.orgId}/customer`)),
    }));
    if (customerId === null) throw new HalError('Internal', 'the customer was not kept');
    return customerId;
  }

  #readEvent(body: Buffer, signature: string): ReturnType<BillingPort['readEvent']> {
    try {
      return this.#provider().readEvent(body, signature);
    } catch (error) {
      if (error instanceof BillingError) throw new HalError('Unauthenticated', 'the signature of the event does not fit', { cause: error });
      throw error;
    }
  }

  #provider(): BillingPort {
    if (this.#options.provider === undefined) throw new HalError('NotFound', 'nothing is sold here: HAL9_STRIPE_KEY is not set');
    return this.#options.provider;
  }

  async #change(caller: Caller, action: string, details: Record<string, string>, work: (account: BillingAccount) => Promise<{ customerId: string; subscription?: SubscriptionState }>): Promise<BillingAccount> {
    try {
      return await this.#store.change(caller.orgId, async (account) => ({ ...(await work(account)), act: actOf(caller, action, { kind: 'organisation', id: caller.orgId }, details) }));
    } catch (error) {
      if (!(error instanceof BillingError)) throw error;
      if (!error.retryable) throw new HalError('Conflict', error.message, { cause: error });
      throw new HalError('ExternalCallFailed', error.message, { cause: error, retryAfterSeconds: error.retryAfterSeconds ?? 10 });
    }
  }

  async #nameOf(orgId: string): Promise<string> {
    return (await this.#organisations.listAll()).find((organisation) => organisation.orgId === orgId)?.name ?? orgId;
  }
}

function stateOf({ id, status, plan, cancelsAt }: ProviderSubscription): SubscriptionState {
  return { subscriptionId: id, status, plan, cancelsAt };
}
