import type { Database } from '../database/database.ts';
import type { Stores } from '../platform/database/stores.ts';
import { createBlobStore } from '../platform/blobs/create.ts';
import type { Config } from '../platform/config/config.ts';
import type { KeyRing } from '../platform/keys/key-ring.ts';
import type { SignalIngest } from '../platform/signals/ingest.ts';
import type { SignalReceiver } from '../platform/signals/receive.ts';
import type { RateLimits } from '../platform/usage/rate-limits.ts';
import { WebhookIntake } from '../platform/webhooks/intake.ts';
import { ReceiptLog } from '../platform/webhooks/receipt-log.ts';
import { Webhooks } from '../platform/webhooks/webhooks.ts';
import type { AnyRoute } from './route.ts';
import { createDeliveryRoutes } from './routes/deliveries.ts';
import { createWebhookRoutes } from './routes/webhooks.ts';

export interface InboundWebhookParts {
  readonly config: Config;
  readonly database: Database;
  readonly stores: Pick<Stores, 'webhooks' | 'receipts'>;
  readonly keys: KeyRing;
  readonly receiver: SignalReceiver;
  readonly ingest: SignalIngest;
  readonly limits: RateLimits;
}

/** Inbound webhooks with everything that takes their deliveries in. */
export function openInboundWebhooks({ config, database, stores, keys, receiver, ingest, limits }: InboundWebhookParts): { readonly routes: readonly AnyRoute[]; close(): Promise<void> } {
  const webhooks = new Webhooks({ database, keys });
  const log = new ReceiptLog(stores.receipts);
  const intake = new WebhookIntake({
    webhooks,
    store: stores.webhooks,
    receipts: stores.receipts,
    log,
    receiver,
    ingest,
    keys,
    blobs: createBlobStore(config, keys),
    limits,
  });
  return { routes: [...createWebhookRoutes({ webhooks, intake, limits }), ...createDeliveryRoutes({ receipts: stores.receipts, intake })], close: () => log.close() };
}
