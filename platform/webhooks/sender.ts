import type { Database } from '../../database/database.ts';
import { DeliveryStore, type MessageRecord } from '../../database/deliveries.ts';
import { EndpointStore, type EndpointRecord } from '../../database/webhook-endpoints.ts';
import { actOf } from '../audit/act.ts';
import type { Egress } from '../connections/egress.ts';
import { explainFailure, explainStatus } from '../connections/failure.ts';
import { systemCaller } from '../identity/caller.ts';
import type { KeyRing } from '../keys/key-ring.ts';
import { circuitPause, nextWait } from './schedule.ts';
import { SecretBox } from './secrets.ts';
import { StandardWebhook } from './standard-webhooks.ts';

/** What one round of deliveries came to. */
export interface DeliveryRound {
  readonly delivered: number;
  /** Given up: the schedule is used up. */
  readonly failed: number;
  /** Messages that wait for a later attempt. */
  readonly waiting: number;
  /** Milliseconds to the next one; 0: more is due now; null: none waits. */
  readonly nextInMs: number | null;
}

export interface SenderDependencies {
  readonly database: Database;
  readonly egress: Egress;
  readonly keys: KeyRing;
}

const PURPOSE = 'webhook-endpoints';
/** Messages of one round, and how many of them are under way at once. */
const MESSAGES_A_ROUND = 100;
const AT_ONCE = 10;
/** Time an endpoint has to answer, ms. */
const ANSWER_MS = 15_000;
/** Up to this length an answer is read, so that its connection can be used again; nobody looks at it. */
const ANSWER_BYTES = 64 * 1024;
const DAY_SECONDS = 86_400;

/** Delivers messages to endpoints. */
export class WebhookSender {
  readonly #endpoints: EndpointStore;
  readonly #deliveries: DeliveryStore;
  readonly #egress: Egress;
  readonly #box: SecretBox;

  constructor({ database, egress, keys }: SenderDependencies) {
    this.#endpoints = new EndpointStore(database);
    this.#deliveries = new DeliveryStore(database);
    this.#egress = egress;
    this.#box = new SecretBox(keys, PURPOSE);
  }

  /** Attempts what is due for an endpoint, unless its circuit is open; with it half-open, one message. */
  async deliverDue(orgId: string, endpointId: string, signal: AbortSignal): Promise<DeliveryRound> {
    const endpoint = await this.#endpoints.find(orgId, endpointId);
    const none: DeliveryRound = { delivered: 0, failed: 0, waiting: 0, nextInMs: null };
    if (endpoint?.enabled !== true) return none;
    const openMs = (endpoint.openUntil?.getTime() ?? 0) - Date.now();
    if (openMs > 0) {
      const { count } = await this.#deliveries.waiting(orgId, endpointId);
      return count === 0 ? none : { ...none, waiting: count, nextInMs: openMs };
    }
    const halfOpen = endpoint.openUntil !== null;
    const queue = await this.#deliveries.due(orgId, endpointId, halfOpen ? 1 : MESSAGES_A_ROUND);
    const tally = { delivered: 0, failed: 0, ended: false };
    const webhook = new StandardWebhook(this.#box.live(orgId, endpointId, endpoint.secrets).map(({ secret }) => secret));
    const lane = async (): Promise<void> => {
      for (let message = queue.shift(); message !== undefined && !tally.ended && !signal.aborted; message = queue.shift()) {
        const outcome = await this.#deliver(endpoint, webhook, message, signal);
        if (outcome === 'delivered') tally.delivered += 1;
        if (outcome === 'failed') tally.failed += 1;
        if (outcome === 'stop') tally.ended = true;
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, lane));
    const { count, inMs } = await this.#deliveries.waiting(orgId, endpointId);
    const after = await this.#endpoints.find(orgId, endpointId);
    const closedMs = Math.max(0, (after?.openUntil?.getTime() ?? 0) - Date.now());
    return { delivered: tally.delivered, failed: tally.failed, waiting: count, nextInMs: inMs === null ? null : Math.ceil(Math.max(0, inMs, closedMs)) };
  }

  async #deliver(endpoint: EndpointRecord, webhook: StandardWebhook, message: MessageRecord, signal: AbortSignal): Promise<'delivered' | 'failed' | 'waits' | 'stop'> {
    const { orgId, id: endpointId } = endpoint;
    const began = performance.now();
    const answer = await this.#attempt(endpoint.url, webhook, message, signal);
    // Not the endpoint's doing: the attempt is made again.
    if (signal.aborted) return 'stop';
    const durationMs = performance.now() - began;
    if (answer.failure === null) {
      await this.#deliveries.noteAttempt(orgId, message.id, { httpStatus: answer.status, failure: null, durationMs }, { delivered: true });
      await this.#endpoints.noteHealth(orgId, endpointId, true);
      return 'delivered';
    }
    const waitSeconds = nextWait(message.attempts + 1, answer.retryAfterSeconds);
    await this.#deliveries.noteAttempt(orgId, message.id, { httpStatus: answer.status, failure: answer.failure, durationMs }, { delivered: false, waitSeconds });
    if (answer.status === 410) {
      const act = actOf(systemCaller(orgId, 'webhook-delivery'), 'webhook-endpoint.disable', { kind: 'webhook-endpoint', id: endpointId }, { reason: 'gone' });
      await this.#endpoints.disable(orgId, endpointId, 'the endpoint answered 410 Gone: it wants no more messages', act);
      return 'stop';
    }
    const pause = Math.max(circuitPause(await this.#endpoints.noteHealth(orgId, endpointId, false)), answer.retryAfterSeconds);
    if (pause === 0) return waitSeconds === undefined ? 'failed' : 'waits';
    await this.#endpoints.openCircuit(orgId, endpointId, pause);
    return 'stop';
  }

  async #attempt(url: string, webhook: StandardWebhook, message: MessageRecord, signal: AbortSignal): Promise<{ readonly status: number | null; readonly failure: string | null; readonly retryAfterSeconds: number }> {
    const body = JSON.stringify({ type: message.type, timestamp: message.createdAt.toISOString(), data: message.data });
    const id = webhookId(message.id);
    const timestamp = Math.floor(Date.now() / 1000);
    try {
      const response = await this.#egress.fetch(url, {
        method: 'POST',
        headers: { 'user-agent': 'HAL9', 'content-type': 'application/json', 'webhook-id': id, 'webhook-timestamp': String(timestamp), 'webhook-signature': webhook.sign(id, timestamp, body) },
        body,
        signal: AbortSignal.any([signal, AbortSignal.timeout(ANSWER_MS)]),
      });
      const { status, headers } = response;
      if (Number(headers.get('content-length') ?? Number.NaN) <= ANSWER_BYTES) await response.arrayBuffer();
      else await response.body?.cancel();
      if (status >= 200 && status < 300) return { status, failure: null, retryAfterSeconds: 0 };
      const { message: failure } = explainStatus(status, headers);
      return { status, failure, retryAfterSeconds: retryAfter(headers) };
    } catch (error) {
      return { status: null, failure: explainFailure(error).message, retryAfterSeconds: 0 };
    }
  }
}

/** What stands in `webhook-id`. */
export function webhookId(messageId: string): string {
  return `msg_${messageId}`;
}

/** Seconds of a Retry-After header (RFC 9110, section 10.2.3), at most a day; 0 for none. */
function retryAfter(headers: Headers): number {
  const text = headers.get('retry-after');
  if (text === null) return 0;
  const seconds = /^\d+$/.test(text) ? Number(text) : (Date.parse(text) - Date.now()) / 1000;
  return Number.isFinite(seconds) ? Math.min(DAY_SECONDS, Math.max(0, seconds)) : 0;
}
