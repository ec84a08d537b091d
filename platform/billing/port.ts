import type { InvoiceState } from '../../database/billing.ts';
import type { Meter } from '../../schemas/usage/meters.ts';
import type { PlanName } from '../../schemas/usage/plans.ts';

/** A subscription as the provider knows it. */
export interface ProviderSubscription {
  readonly id: string;
  readonly customerId: string;
  readonly status: string;
  /** Null when its price is none of HAL9's. */
  readonly plan: PlanName | null;
  readonly cancelsAt: Date | null;
}

export type ProviderEvent = { readonly id: string; readonly type: string; readonly at: Date } & (
  | { readonly kind: 'subscription'; readonly customerId: string; readonly subscription: ProviderSubscription }
  | { readonly kind: 'invoice'; readonly customerId: string; readonly invoice: InvoiceState }
  | { readonly kind: 'other' }
);

export interface MeterReport {
  /** Equal identifiers are one event. */
  readonly identifier: string;
  readonly customerId: string;
  readonly meter: Meter;
  readonly quantity: number;
  readonly at: Date;
}

/**
 * What HAL9 asks of a payment provider. `key` makes a repeated request the same request.
 * @throws {BillingError}
 */
export interface BillingPort {
  /** Plans that can be bought. */
  readonly plans: readonly PlanName[];
  createCustomer(customer: { orgId: string; name: string }, key: string): Promise<string>;
  subscribe(customerId: string, plan: PlanName, key: string): Promise<ProviderSubscription>;
  changePlan(subscriptionId: string, plan: PlanName, key: string): Promise<ProviderSubscription>;
  /** At the end of what is paid. */
  cancel(subscriptionId: string, key: string): Promise<ProviderSubscription>;
  report(report: MeterReport): Promise<void>;
  /** Checks the signature over the bytes as they came. */
  readEvent(body: Buffer, signature: string): ProviderEvent;
}

/** The provider refused, or did not answer. The message names a code, never data of a person. */
export class BillingError extends Error {
  override readonly name = 'BillingError';
  /** Whether the same request may succeed later. */
  readonly retryable: boolean;
  /** Seconds the provider asks to wait. */
  readonly retryAfterSeconds: number | undefined;

  constructor(message: string, options: { retryable: boolean; retryAfterSeconds?: number | undefined; cause?: unknown }) {
    super(message, { cause: options.cause });
    this.retryable = options.retryable;
    this.retryAfterSeconds = options.retryAfterSeconds;
  }
}
