import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { z } from 'zod';
import type { NewReceipt, ReceiptRecord, ReceiptStatus, ReceiptStore } from '../../database/webhook-receipts.ts';
import type { SignalRow } from '../../database/signals.ts';
import type { WebhookStore } from '../../database/webhooks.ts';
import { HOOK_SOURCE } from '../../schemas/automations/definition.ts';
import { HalError } from '../../schemas/errors.ts';
import { isRecord } from '../../schemas/signals/is-signal.ts';
import { actOf } from '../audit/act.ts';
import { isBlobRef, type BlobRef, type BlobStore } from '../blobs/blob-store.ts';
import { toHalError } from '../failures/translate.ts';
import { systemCaller, type Caller } from '../identity/caller.ts';
import { openKept, unopenable } from '../keys/kept.ts';
import { KeyError, type KeyRing } from '../keys/key-ring.ts';
import type { IngestOutcome, SignalIngest } from '../signals/ingest.ts';
import { uuidText } from '../signals/key.ts';
import type { SignalReceiver } from '../signals/receive.ts';
import type { RateLimits } from '../usage/rate-limits.ts';
import { prove, proveNothing, read, tellableHeaders, type Incoming, type Message } from './presets.ts';
import type { ReceiptLog } from './receipt-log.ts';
import { liveSecrets, type OpenWebhook, type Webhooks } from './webhooks.ts';

export interface IntakeDependencies {
  readonly webhooks: Webhooks;
  readonly store: Pick<WebhookStore, 'noteAlerts'>;
  readonly receipts: ReceiptStore;
  readonly log: ReceiptLog;
  readonly receiver: Pick<SignalReceiver, 'prepareOne' | 'admit'>;
  readonly ingest: Pick<SignalIngest, 'accept'>;
  readonly keys: KeyRing;
  readonly blobs: BlobStore;
  readonly limits: Pick<RateLimits, 'takeNotedRefusal'>;
}

export type IntakeAnswer =
  | { readonly kind: 'accepted'; readonly accepted: number; readonly duplicates: number; readonly ids: readonly string[] }
  | { readonly kind: 'challenge'; readonly answer: string };

/** Deliveries up to this size are kept in the row; larger ones as blobs. */
const INLINE_BYTES = 32 * 1024;
/** Largest refused delivery whose body is kept: anybody may send one. */
const REFUSED_BYTES = 64 * 1024;
export const RECEIPT_PURPOSE = 'webhook-receipts';
/** Every refusal takes this long, ms: whether there is an address behind it, and a log to write, must not be told by the time. */
const REFUSAL_MS = 60;

const sealedDelivery = z.object({ headers: z.record(z.string(), z.string()), body: z.string() });
const alertSchema = z.looseObject({
  status: z.enum(['firing', 'resolved']),
  labels: z.record(z.string(), z.string()).default({}),
  annotations: z.record(z.string(), z.string()).default({}),
  startsAt: z.iso.datetime({ offset: true }),
  endsAt: z.string().optional(),
  generatorURL: z.string().optional(),
  fingerprint: z.string().min(1).max(100),
});

/** From a delivery to signals: proof, reading, commit, log. */
export class WebhookIntake {
  readonly #parts: IntakeDependencies;

  constructor(parts: IntakeDependencies) {
    this.#parts = parts;
  }

  /**
   * Takes a delivery in. Answers once its signals and its receipt are committed.
   * @throws {HalError} `WebhookRefused`, the same for an unknown address and for a wrong signature; `MalformedBody`, `InvalidInput`, `DependencyUnavailable`.
   */
  async receive(hookId: string, incoming: Incoming, traceparent: string | undefined): Promise<IntakeAnswer> {
    const receivedAt = new Date();
    const webhook = await this.#parts.webhooks.open(hookId);
    if (webhook?.enabled !== true) {
      proveNothing(incoming);
      await delay(REFUSAL_MS);
      throw refused();
    }
    const proof = prove(webhook.settings, liveSecrets(webhook, receivedAt.getTime()), incoming, receivedAt.getTime() / 1000);
    const note = async (status: ReceiptStatus, reason: string | null, deliveryId: string | null = null, signalKeys: readonly string[] = []): Promise<void> =>
      this.#parts.log.write(await this.#receipt(webhook, incoming, { receivedAt, status, reason, deliveryId, signalKeys }));
    if (!proof.valid) {
      await Promise.all([this.#parts.limits.takeNotedRefusal(webhook.id) ? note('refused', proof.reason) : undefined, delay(REFUSAL_MS)]);
      throw refused();
    }
    const message = read(webhook.settings, incoming);
    if (message === undefined) {
      await note('failed', 'the body is not what this preset sends');
      throw new HalError('MalformedBody', 'the body is not what this preset of webhook sends');
    }
    if (message.kind === 'challenge') return message;
    try {
      const taken = await this.#take(webhook, message, { traceparent, suffix: '' });
      await note(taken.accepted > 0 || taken.ids.length === 0 ? 'accepted' : 'duplicate', taken.reason, taken.deliveryId, taken.ids);
      return { kind: 'accepted', accepted: taken.accepted, duplicates: taken.duplicates, ids: taken.ids };
    } catch (thrown) {
      const error = toHalError(thrown);
      // While the database is away there is nowhere to note it; the sender is told and tries again.
      if (!error.failure.retryable) await note('failed', `${error.type}: ${error.message}`, message.kind === 'event' ? message.id : null);
      throw error;
    }
  }

  /**
   * Takes a kept delivery in once more: one that was refused or failed as it came, after proving it again as of its arrival; one that
   * was accepted under new ids, so that everything it sets off happens again.
   * @throws {HalError} `NotFound`; `Conflict` when its body is not kept or it still proves nothing; `Unopenable`; whatever {@link receive} says.
   */
  async replay(caller: Caller, id: string): Promise<ReceiptRecord> {
    const receipt = await this.#parts.receipts.find(caller.orgId, id);
    if (receipt === undefined) throw new HalError('NotFound', 'there is no such delivery');
    const webhook = await this.#parts.webhooks.open(receipt.webhookId);
    if (webhook === undefined || webhook.orgId !== caller.orgId) throw new HalError('Conflict', 'its webhook was removed');
    const incoming = await this.#incoming(receipt);
    const proof = prove(webhook.settings, liveSecrets(webhook, Date.now()), incoming, receipt.receivedAt.getTime() / 1000);
    const trusted = receipt.status === 'accepted' || receipt.status === 'duplicate';
    if (!trusted && !proof.valid) throw new HalError('Conflict', `the delivery still proves nothing: ${proof.reason}`);
    const message = read(webhook.settings, incoming);
    if (message === undefined || message.kind === 'challenge') throw new HalError('Conflict', 'there is nothing in this delivery to take in');
    const count = await this.#parts.receipts.countReplay(caller.orgId, id, actOf(caller, 'webhook-delivery.replay', { kind: 'webhook-delivery', id }, { webhook: webhook.id }));
    if (count === undefined) throw new HalError('NotFound', 'there is no such delivery');
    const taken = await this.#take(webhook, message, { traceparent: caller.traceparent, suffix: trusted ? `~replay-${String(count)}` : '' });
    await this.#parts.receipts.settleReplay(caller.orgId, id, 'accepted', taken.reason, taken.ids);
    const after = await this.#parts.receipts.find(caller.orgId, id);
    if (after === undefined) throw new HalError('NotFound', 'there is no such delivery');
    return after;
  }

  async #take(webhook: OpenWebhook, message: Exclude<Message, { kind: 'challenge' }>, options: { traceparent: string | undefined; suffix: string }): Promise<IngestOutcome & { ids: string[]; deliveryId: string | null; reason: string | null }> {
    const caller = systemCaller(webhook.orgId, 'webhooks', options.traceparent);
    const source = `${HOOK_SOURCE}${webhook.id}`;
    const { events, reason } = message.kind === 'event' ? { events: [message], reason: null } : await this.#alerts(webhook, message.payload);
    const rows: SignalRow[] = events.map((event) =>
      this.#parts.receiver.prepareOne(
        caller,
        {
          specversion: '1.0', id: `${event.id.slice(0, 230)}${options.suffix}`, source, type: event.type, datacontenttype: 'application/json', data: event.data,
          ...(event.subject === undefined ? {} : { subject: event.subject }),
          ...('partitionkey' in event ? { partitionkey: event.partitionkey } : {}),
        },
        { defaultSpecversion: false },
      ),
    );
    const deliveryId = message.kind === 'event' ? message.id.slice(0, 256) : null;
    await this.#parts.receiver.admit(caller, rows.length);
    const outcome = rows.length === 0 ? { accepted: 0, duplicates: 0 } : await this.#parts.ingest.accept(webhook.orgId, options.traceparent, rows);
    return { ...outcome, ids: rows.map(({ key }) => uuidText(key)), deliveryId, reason };
  }

  /**
   * A signal for each alert; (fingerprint, startsAt, status) is its id, so what Alertmanager repeats counts once. A firing whose end came
   * before it is over and is left out.
   */
  async #alerts(webhook: OpenWebhook, payload: Readonly<Record<string, unknown>>) {
    const parsed = z.array(alertSchema).max(10_000).safeParse(payload['alerts']);
    if (!parsed.success) throw new HalError('InvalidInput', 'the alerts are not as Alertmanager sends them (webhook version 4)', { errors: parsed.error.issues.map(({ path, message }) => ({ path: `/alerts/${path.map(String).join('/')}`, message })) });
    const alerts = parsed.data;
    const verdicts = await this.#parts.store.noteAlerts(webhook.orgId, webhook.id, alerts.map(({ fingerprint, startsAt, status }) => ({ fingerprint, startsAt, resolved: status === 'resolved' })));
    const over = verdicts.filter((verdict) => verdict.over).length;
    const group = { groupKey: payload['groupKey'], groupLabels: payload['groupLabels'], receiver: payload['receiver'], externalURL: payload['externalURL'], truncatedAlerts: payload['truncatedAlerts'] };
    const events = alerts.flatMap((alert, index) => {
      const verdict = verdicts[index];
      if (verdict?.over !== false) return [];
      const { fingerprint, startsAt, status, labels } = alert;
      const data = { ...alert, ...(status === 'resolved' ? { firingSeen: verdict.firingSeen } : {}), group: isRecord(group) ? group : {} };
      return [{ id: `${fingerprint}/${startsAt}/${status}`, type: `alertmanager.${status}`, subject: labels['alertname']?.slice(0, 500), partitionkey: fingerprint, data }];
    });
    return { events, reason: over === 0 ? null : `${String(over)} alerts were resolved before their firing arrived` };
  }

  async #receipt(webhook: OpenWebhook, incoming: Incoming, facts: Pick<NewReceipt, 'receivedAt' | 'status' | 'reason' | 'deliveryId' | 'signalKeys'>): Promise<NewReceipt> {
    const id = randomUUID();
    const { orgId } = webhook;
    const base = { orgId, id, webhookId: webhook.id, bodyBytes: incoming.body.length, headers: tellableHeaders(incoming.headers), ...facts };
    if (facts.status === 'refused' && incoming.body.length > REFUSED_BYTES) return { ...base, sealed: null, blobRef: null };
    const bytes = JSON.stringify({ headers: incoming.headers, body: incoming.body.toString('base64') });
    if (incoming.body.length > INLINE_BYTES) return { ...base, sealed: null, blobRef: await this.#parts.blobs.put(orgId, Buffer.from(bytes)) };
    return { ...base, sealed: this.#parts.keys.seal(orgId, RECEIPT_PURPOSE, bytes, id), blobRef: null };
  }

  async #incoming({ orgId, id, sealed, blobRef }: ReceiptRecord): Promise<Incoming> {
    const bytes = sealed !== null ? openKept(this.#parts.keys, orgId, RECEIPT_PURPOSE, sealed, id) : isBlobRef(blobRef) ? await this.#blob(orgId, blobRef) : undefined;
    if (bytes === undefined) throw new HalError('Conflict', 'the body of this delivery was not kept');
    const { headers, body } = sealedDelivery.parse(JSON.parse(bytes.toString('utf8')));
    return { headers, body: Buffer.from(body, 'base64') };
  }

  /** @returns undefined when the blob is gone. @throws {HalError} `Unopenable`. */
  async #blob(orgId: string, ref: BlobRef): Promise<Buffer | undefined> {
    try {
      return await this.#parts.blobs.get(orgId, ref);
    } catch (error) {
      if (error instanceof HalError && error.type === 'NotFound') return undefined;
      if (error instanceof HalError && error.cause instanceof KeyError) throw unopenable(error.cause);
      throw error;
    }
  }
}

/** One answer for every cause: it must not tell which addresses exist. */
function refused(): HalError {
  return new HalError('WebhookRefused', 'the delivery does not prove that it comes from the sender this address was made for');
}
