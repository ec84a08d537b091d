import type { Logger } from 'pino';
import { DeliveryStore, WEBHOOKS_CHANNEL } from '../../database/deliveries.ts';
import { ReceiptStore } from '../../database/webhook-receipts.ts';
import { createBlobStore } from '../../platform/blobs/create.ts';
import { isBlobRef } from '../../platform/blobs/blob-store.ts';
import { systemCaller } from '../../platform/identity/caller.ts';
import type { OperationsPort } from '../../platform/operations/contract.ts';
import { HalError } from '../../schemas/errors.ts';
import { WEBHOOK_WAKE_SIGNAL } from '../../schemas/names/messages.ts';
import type { BackgroundProcess } from '../process.ts';
import type { Drain } from './drains.ts';

const UPKEEP_MS = 300_000;
const RECEIPT_DAYS = 7;
const MESSAGE_DAYS = 30;

export interface WebhookDrainOptions {
  readonly deliveries: DeliveryStore;
  readonly operations: Pick<OperationsPort, 'start' | 'signal'>;
  readonly logger: Logger;
}

/** Tells the delivery run of each endpoint that something waits, once however many messages there are. */
export function createWebhookDrain({ database, operations, logger }: BackgroundProcess): Drain {
  return createWebhookAnnouncer({ deliveries: new DeliveryStore(database), operations, logger });
}

export function createWebhookAnnouncer({ deliveries, operations, logger }: WebhookDrainOptions): Drain {
  const tell = async (orgId: string, endpointId: string): Promise<void> => {
    const caller = systemCaller(orgId, 'dispatcher');
    try {
      const { runId, created } = await operations.start(caller, { operation: 'webhook-delivery', input: { endpointId }, origin: 'dispatcher' });
      if (!created) await operations.signal(caller, runId, WEBHOOK_WAKE_SIGNAL, {});
    } catch (error) {
      await deliveries.unannounceAcrossOrganisations(orgId, endpointId);
      // It ended between the two calls: the next round starts it anew.
      if (error instanceof HalError && error.type === 'RunClosed') return;
      logger.warn({ endpoint: endpointId, reason: error instanceof Error ? error.message : String(error) }, 'delivery run not told, will be tried again');
    }
  };
  return {
    name: 'webhooks',
    channels: [WEBHOOKS_CHANNEL],
    pollMs: 1000,
    async run() {
      const endpoints = await deliveries.announceAcrossOrganisations();
      await Promise.all(endpoints.map(({ orgId, endpointId }) => tell(orgId, endpointId)));
      return false;
    },
  };
}

/** Forgets deliveries past their time, with their blobs. */
export function createWebhookUpkeep({ config, database, keys }: Pick<BackgroundProcess, 'config' | 'database' | 'keys'>): Drain {
  const receipts = new ReceiptStore(database);
  const deliveries = new DeliveryStore(database);
  const blobs = createBlobStore(config, keys);
  return {
    name: 'webhooks-upkeep',
    pollMs: UPKEEP_MS,
    async run() {
      await deliveries.forgetAcrossOrganisations(MESSAGE_DAYS);
      for (const { orgId, blobRef } of await receipts.forgetAcrossOrganisations(RECEIPT_DAYS)) if (isBlobRef(blobRef)) await blobs.delete(orgId, blobRef);
      return false;
    },
  };
}
