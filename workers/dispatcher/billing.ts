import { BillingStore } from '../../database/billing.ts';
import { billingProvider } from '../../platform/billing/provider.ts';
import { reportUsage } from '../../platform/billing/reporter.ts';
import { Egress } from '../../platform/connections/egress.ts';
import type { BackgroundProcess } from '../process.ts';
import type { Drain } from './drains.ts';

const EVERY_MS = 5_000;
const IDLE_MS = 3_600_000;

/** Reports closed months to the payment provider, where there is one. */
export async function createBillingReporter({ config, database, logger }: Pick<BackgroundProcess, 'config' | 'database' | 'logger'>): Promise<Drain> {
  const provider = await billingProvider(config, new Egress({ allowPrivate: config.HAL9_ALLOW_PRIVATE_ADDRESSES }));
  const store = new BillingStore(database);
  return {
    name: 'billing-reports',
    pollMs: provider === undefined ? IDLE_MS : EVERY_MS,
    run: async () => provider !== undefined && reportUsage({ store, provider, logger }),
  };
}
