import { v7 as uuidv7 } from 'uuid';
import type { Database } from '../../database/database.ts';
import { NotificationStore, type DeliveryRecord } from '../../database/notifications.ts';
import { HalError } from '../../schemas/errors.ts';
import type { Severity } from '../../schemas/neurons/definition.ts';
import type { Caller } from '../identity/caller.ts';
import type { Connections } from '../connections/connections.ts';
import type { Egress } from '../connections/egress.ts';
import { CARRIER_KINDS, carry } from './carriers.ts';
import { deliveryMetrics } from './metrics.ts';

export interface Notification {
  /** Name of a connection of kind smtp, slack, pagerduty or webhook. */
  readonly connection: string;
  /** One line. */
  readonly title: string;
  readonly message: string;
  /** Default `warning`. */
  readonly severity?: Severity;
  /** Messages with the same key through one connection are one message, however often `send` is called. At most 512 characters. */
  readonly dedupKey: string;
  readonly link?: string;
  /** Default `trigger`. */
  readonly action?: 'trigger' | 'resolve';
}

/** How a delivery stands after a call. */
export interface Delivery extends DeliveryRecord {
  /** For `queued`: when to call again with the same notification, seconds. */
  readonly retryAfterSeconds: number | null;
}

export interface Notify {
  /**
   * Makes at most one attempt and answers how the delivery stands; failures of the other side do not throw.
   * `delivered` and `failed` are final; after `queued` (retry later) and `sending` (another process is at it) call again with the same
   * notification. An attempt whose process dies is made again after a minute: at least once for mail and chat, once for receivers that
   * know the id (PagerDuty's dedup_key, webhook-id).
   * @throws {HalError} `NotFound` for an unknown connection, `Conflict` for one that carries no messages.
   */
  send(caller: Pick<Caller, 'orgId'>, notification: Notification, signal?: AbortSignal): Promise<Delivery>;
  /**
   * As `send`, for callers that repeat by themselves (activities, the outbox): returns once delivered.
   * @throws {HalError} `ExternalCallFailed` (retryable) when it should be called again, `Conflict` when the delivery failed for good;
   *   and those of `send`.
   */
  deliver(caller: Pick<Caller, 'orgId'>, notification: Notification, signal?: AbortSignal): Promise<Delivery>;
}

export interface NotifyDependencies {
  readonly database: Database;
  readonly connections: Connections;
  readonly egress: Egress;
}

/** Seconds an attempt may take before another process may make the next. */
const CLAIM_SECONDS = 60;
/** After so many attempts a delivery fails for good: with the waits below about an hour. */
const MAX_ATTEMPTS = 10;
/** Wait before the next attempt, seconds: 2, 4, 8 ... at most 15 minutes. */
const waitAfter = (attempts: number): number => Math.min(900, 2 ** attempts);

export function createNotify({ database, connections, egress }: NotifyDependencies): Notify {
  const store = new NotificationStore(database);
  const notify: Notify = {
    async send({ orgId }, notification, signal = new AbortController().signal) {
      const { action = 'trigger', severity = 'warning' } = notification;
      const connection = await connections.open(orgId, notification.connection, CARRIER_KINDS);
      const { delivery, claimed } = await store.claim(
        orgId,
        {
          id: uuidv7(),
          connectionId: connection.id,
          connectionName: connection.name,
          kind: connection.settings.kind,
          dedupKey: notification.dedupKey,
          action,
          severity,
          title: notification.title.slice(0, 1000),
        },
        CLAIM_SECONDS,
      );
      if (!claimed) return { ...delivery, retryAfterSeconds: delivery.state === 'sending' ? CLAIM_SECONDS : null };
      const failure = await carry(egress, connection.settings, delivery.id, { ...notification, action, severity }, signal);
      if (failure === undefined) {
        deliveryMetrics.inc({ kind: delivery.kind, outcome: 'delivered' });
        return { ...(await store.finish(orgId, delivery.id, delivery.attempts, { state: 'delivered', failure: null })), retryAfterSeconds: null };
      }
      const final = !failure.retryable || delivery.attempts >= MAX_ATTEMPTS;
      deliveryMetrics.inc({ kind: delivery.kind, outcome: final ? 'failed' : 'retried' });
      const finished = await store.finish(orgId, delivery.id, delivery.attempts, { state: final ? 'failed' : 'queued', failure: failure.message });
      return { ...finished, retryAfterSeconds: final ? null : Math.max(failure.retryAfterSeconds ?? 0, waitAfter(delivery.attempts)) };
    },
    async deliver(caller, notification, signal) {
      const delivery = await notify.send(caller, notification, signal);
      switch (delivery.state) {
        case 'delivered':
          return delivery;
        case 'failed':
          throw new HalError('Conflict', `the message was not delivered: ${delivery.lastFailure ?? 'unknown'}`);
        case 'queued':
        case 'sending': {
          const why = delivery.lastFailure ?? 'another process is sending it';
          throw new HalError('ExternalCallFailed', `the message is not delivered yet: ${why}`, delivery.retryAfterSeconds === null ? {} : { retryAfterSeconds: delivery.retryAfterSeconds });
        }
      }
    },
  };
  return notify;
}
