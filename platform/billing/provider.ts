import { ConfigError, type Config } from '../config/config.ts';
import type { Egress } from '../connections/egress.ts';
import { PLAN_NAMES, type PlanName } from '../../schemas/usage/plans.ts';
import type { BillingPort } from './port.ts';

/**
 * The payment provider of this installation; undefined where none is set.
 * @throws {ConfigError} when a setting beside HAL9_STRIPE_KEY is missing or malformed.
 */
export async function billingProvider(config: Pick<Config, 'HAL9_STRIPE_KEY' | 'HAL9_STRIPE_WEBHOOK_SECRET' | 'HAL9_STRIPE_PRICES' | 'HAL9_STRIPE_URL'>, egress: Pick<Egress, 'fetch'>): Promise<BillingPort | undefined> {
  if (config.HAL9_STRIPE_KEY === undefined) return undefined;
  if (config.HAL9_STRIPE_WEBHOOK_SECRET === undefined) throw new ConfigError('HAL9_STRIPE_WEBHOOK_SECRET: needed beside HAL9_STRIPE_KEY');
  const prices = pricesOf(config.HAL9_STRIPE_PRICES);
  // Not where nobody pays: the client is more than two hundred modules.
  const { StripeBilling } = await import('./stripe.ts');
  return new StripeBilling({ apiKey: config.HAL9_STRIPE_KEY, webhookSecret: config.HAL9_STRIPE_WEBHOOK_SECRET, url: config.HAL9_STRIPE_URL, prices, fetch: egress.fetch });
}

function pricesOf(entries: readonly string[]): Map<PlanName, string> {
  const prices = new Map<PlanName, string>();
  for (const entry of entries) {
    const [name, price = ''] = entry.split('=', 2);
    const plan = PLAN_NAMES.find((known) => known === name);
    if (plan === undefined || price === '') throw new ConfigError(`HAL9_STRIPE_PRICES: expected <plan>=<price id> with a plan of ${PLAN_NAMES.join(', ')}`);
    prices.set(plan, price);
  }
  return prices;
}
