import { randomUUID } from 'node:crypto';
import { isIP } from 'node:net';
import type { Database } from '../../database/database.ts';
import { DeliveryStore, type AttemptRecord, type MessageRecord, type MessageState } from '../../database/deliveries.ts';
import { EndpointStore, type EndpointRecord } from '../../database/webhook-endpoints.ts';
import { HalError } from '../../schemas/errors.ts';
import { actOf } from '../audit/act.ts';
import type { Egress } from '../connections/egress.ts';
import type { Caller } from '../identity/caller.ts';
import type { KeyRing } from '../keys/key-ring.ts';
import { newStandardSecret, SecretBox, type WebhookSecret } from './secrets.ts';

/** What may be told about an endpoint. */
export interface Endpoint extends Omit<EndpointRecord, 'secrets'> {
  readonly secrets: readonly Omit<WebhookSecret, 'secret'>[];
}

export interface EndpointWithSecret {
  readonly endpoint: Endpoint;
  /** Known at this moment only. */
  readonly secret: string;
}

export interface EndpointDraft {
  readonly name: string;
  readonly url: string;
  readonly events: readonly string[];
  readonly enabled: boolean;
}

/** Outgoing webhooks: endpoints, and what was sent to them. */
export class Endpoints {
  readonly #store: EndpointStore;
  readonly #deliveries: DeliveryStore;
  readonly #box: SecretBox;
  readonly #egress: Pick<Egress, 'permits'>;

  constructor({ database, keys, egress }: { database: Database; keys: KeyRing; egress: Pick<Egress, 'permits'> }) {
    this.#store = new EndpointStore(database);
    this.#deliveries = new DeliveryStore(database);
    this.#box = new SecretBox(keys, 'webhook-endpoints');
    this.#egress = egress;
  }

  /** @throws {HalError} `Conflict` when the name is taken, `InvalidInput` for an address that may never be reached. */
  async create(caller: Caller, draft: EndpointDraft & { readonly secret?: string | undefined }): Promise<EndpointWithSecret> {
    this.#assertReachable(draft.url);
    const id = randomUUID();
    const secret = draft.secret ?? newStandardSecret();
    const { name, url, events, enabled } = draft;
    const record = await this.#store.insert({ orgId: caller.orgId, id, name, url, events, enabled, secrets: this.#box.first(caller.orgId, id, secret) }, actOf(caller, 'webhook-endpoint.create', { kind: 'webhook-endpoint', id }, { events, enabled }));
    if (record === undefined) throw new HalError('Conflict', 'another endpoint has this name');
    return { endpoint: this.#view(record), secret };
  }

  /** By name; `after` continues a page. */
  async list(caller: Caller, limit: number, after?: string): Promise<Endpoint[]> {
    return (await this.#store.list(caller.orgId, limit, after)).map((record) => this.#view(record));
  }

  /** @throws {HalError} `NotFound`. */
  async get(caller: Caller, id: string): Promise<Endpoint> {
    return this.#view(await this.#record(caller, id));
  }

  /** Switching it on again forgives its failures. @throws {HalError} `NotFound`; `Conflict` when somebody else changed it; `InvalidInput`. */
  async change(caller: Caller, id: string, change: EndpointDraft): Promise<Endpoint> {
    this.#assertReachable(change.url);
    const { version } = await this.#record(caller, id);
    const { name, url, events, enabled } = change;
    return this.#changed(await this.#store.change(caller.orgId, id, version, { name, url, events, enabled }, actOf(caller, 'webhook-endpoint.update', { kind: 'webhook-endpoint', id }, { events, enabled })));
  }

  /** Messages are signed with the new secret and, for `overlapSeconds`, with the old one beside it. @throws {HalError} as {@link change}. */
  async rotate(caller: Caller, id: string, options: { secret?: string | undefined; overlapSeconds: number }): Promise<EndpointWithSecret> {
    const { version, secrets } = await this.#record(caller, id);
    const secret = options.secret ?? newStandardSecret();
    const sealed = this.#box.rotated(caller.orgId, id, secrets, secret, options.overlapSeconds);
    const act = actOf(caller, 'webhook-endpoint.rotate', { kind: 'webhook-endpoint', id }, { overlapSeconds: options.overlapSeconds });
    return { endpoint: this.#changed(await this.#store.change(caller.orgId, id, version, { secrets: sealed }, act)), secret };
  }

  /** @throws {HalError} `NotFound`. */
  async remove(caller: Caller, id: string): Promise<void> {
    if (!(await this.#store.remove(caller.orgId, id, actOf(caller, 'webhook-endpoint.delete', { kind: 'webhook-endpoint', id })))) throw notFound();
  }

  /** Sends a test message by the ordinary way. @returns its id. @throws {HalError} `NotFound`; `Conflict` when the endpoint is off. */
  async ping(caller: Caller, id: string): Promise<string> {
    const { enabled } = await this.#record(caller, id);
    if (!enabled) throw new HalError('Conflict', 'the endpoint is switched off');
    const messageId = randomUUID();
    await this.#deliveries.insert(caller.orgId, messageId, id, 'hal9.ping', { endpointId: id });
    return messageId;
  }

  /** Newest first; `before` is the `seq` of the last of the page before. */
  async messages(caller: Caller, filter: { readonly endpointId?: string; readonly state?: MessageState }, limit: number, before?: number): Promise<MessageRecord[]> {
    return this.#deliveries.list(caller.orgId, filter, limit, before);
  }

  /** @throws {HalError} `NotFound`. */
  async message(caller: Caller, id: string): Promise<{ readonly message: MessageRecord; readonly attempts: readonly AttemptRecord[] }> {
    const found = await this.#deliveries.find(caller.orgId, id);
    if (found === undefined) throw new HalError('NotFound', 'there is no such delivery');
    return found;
  }

  /** Sends a message once more, from the beginning of the schedule and under the same `webhook-id`. @throws {HalError} `NotFound`; `Conflict` when its endpoint is off. */
  async redeliver(caller: Caller, id: string): Promise<MessageRecord> {
    await this.message(caller, id);
    if (!(await this.#deliveries.redeliver(caller.orgId, id, actOf(caller, 'endpoint-delivery.redeliver', { kind: 'endpoint-delivery', id })))) throw new HalError('Conflict', 'the endpoint of this delivery is switched off');
    return (await this.message(caller, id)).message;
  }

  /** A literal address is known now; what a name resolves to is looked at whenever a connection is made. */
  #assertReachable(url: string): void {
    const host = new URL(url).hostname.replace(/^\[|\]$/g, '');
    if (isIP(host) !== 0 && !this.#egress.permits(host)) throw new HalError('InvalidInput', 'the endpoint has a private or reserved address', { errors: [{ path: '/url', message: 'use a public address' }] });
  }

  #changed(record: EndpointRecord | undefined): Endpoint {
    if (record === undefined) throw new HalError('Conflict', 'somebody else changed the endpoint meanwhile');
    return this.#view(record);
  }

  async #record(caller: Caller, id: string): Promise<EndpointRecord> {
    const record = await this.#store.find(caller.orgId, id);
    if (record === undefined) throw notFound();
    return record;
  }

  #view({ secrets, ...record }: EndpointRecord): Endpoint {
    return { ...record, secrets: this.#box.live(record.orgId, record.id, secrets).map(({ secret: _secret, ...told }) => told) };
  }
}

function notFound(): HalError {
  return new HalError('NotFound', 'there is no such endpoint');
}
