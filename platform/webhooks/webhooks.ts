import { randomBytes, randomUUID, type KeyObject } from 'node:crypto';
import type { Database } from '../../database/database.ts';
import { WebhookStore, type WebhookRecord } from '../../database/webhooks.ts';
import { HalError } from '../../schemas/errors.ts';
import type { PresetName, WebhookSettings } from '../../schemas/rest/webhooks.ts';
import { actOf } from '../audit/act.ts';
import type { Caller } from '../identity/caller.ts';
import type { KeyRing } from '../keys/key-ring.ts';
import { isStandard, provingKey } from './presets.ts';
import { newStandardSecret, SecretBox, type WebhookSecret } from './secrets.ts';

/** What may be told about a webhook. */
export interface Webhook extends Omit<WebhookRecord, 'secrets'> {
  readonly secrets: readonly Omit<WebhookSecret, 'secret'>[];
}

export interface WebhookWithSecret {
  readonly webhook: Webhook;
  /** Known at this moment only. */
  readonly secret: string;
}

/** A webhook ready to check deliveries. */
export interface OpenWebhook {
  readonly orgId: string;
  readonly id: string;
  readonly settings: WebhookSettings;
  readonly enabled: boolean;
  readonly secrets: readonly { readonly key: KeyObject; readonly expiresAt: Date | null }[];
}

/** How long an address is remembered, ms: a change or removal is heard of within it. */
const REMEMBERED_MS = 1_000;
const MOST_REMEMBERED = 10_000;

/** Inbound webhooks: their settings and secrets. */
export class Webhooks {
  readonly #store: WebhookStore;
  readonly #box: SecretBox;
  readonly #open = new Map<string, { readonly at: number; readonly webhook: Promise<OpenWebhook | undefined> }>();

  constructor({ database, keys }: { database: Database; keys: KeyRing }) {
    this.#store = new WebhookStore(database);
    this.#box = new SecretBox(keys, 'webhooks');
  }

  /** @throws {HalError} `Conflict` when the name is taken, `InvalidInput` for a secret that the preset cannot use. */
  async create(caller: Caller, draft: { name: string; settings: WebhookSettings; enabled: boolean; secret?: string | undefined }): Promise<WebhookWithSecret> {
    const id = randomUUID();
    const secret = draft.secret ?? newSecret(draft.settings.preset);
    assertUsable(draft.settings.preset, secret);
    const secrets = this.#box.first(caller.orgId, id, secret);
    const act = actOf(caller, 'webhook.create', { kind: 'webhook', id }, { preset: draft.settings.preset, enabled: draft.enabled });
    const record = await this.#store.insert({ orgId: caller.orgId, id, name: draft.name, settings: draft.settings, secrets, enabled: draft.enabled }, act);
    if (record === undefined) throw nameTaken();
    return { webhook: this.#view(record), secret };
  }

  /** By name; `after` continues a page. */
  async list(caller: Caller, limit: number, after?: string): Promise<Webhook[]> {
    return (await this.#store.list(caller.orgId, limit, after)).map((record) => this.#view(record));
  }

  /** @throws {HalError} `NotFound`. */
  async get(caller: Caller, id: string): Promise<Webhook> {
    return this.#view(await this.#record(caller, id));
  }

  /** @throws {HalError} `NotFound`; `Conflict` when somebody else changed it, or for another preset. */
  async change(caller: Caller, id: string, change: { name: string; settings: WebhookSettings; enabled: boolean }): Promise<Webhook> {
    const record = await this.#record(caller, id);
    if (record.settings.preset !== change.settings.preset) throw new HalError('Conflict', `the webhook is of preset ${record.settings.preset}; make a new one for ${change.settings.preset}`);
    const changed = await this.#store.change(caller.orgId, id, record.version, change, actOf(caller, 'webhook.update', { kind: 'webhook', id }, { enabled: change.enabled }));
    return this.#changed(changed);
  }

  /**
   * Adds a secret. The one before is accepted for `overlapSeconds` more; older ones end now, so two are live at most.
   * @throws {HalError} as {@link change}; `InvalidInput` for a secret that the preset cannot use.
   */
  async rotate(caller: Caller, id: string, options: { secret?: string | undefined; overlapSeconds: number }): Promise<WebhookWithSecret> {
    const record = await this.#record(caller, id);
    const secret = options.secret ?? newSecret(record.settings.preset);
    assertUsable(record.settings.preset, secret);
    const secrets = this.#box.rotated(caller.orgId, id, record.secrets, secret, options.overlapSeconds);
    const changed = await this.#store.change(caller.orgId, id, record.version, { secrets }, actOf(caller, 'webhook.rotate', { kind: 'webhook', id }, { overlapSeconds: options.overlapSeconds }));
    return { webhook: this.#changed(changed), secret };
  }

  /** @throws {HalError} `NotFound`. */
  async remove(caller: Caller, id: string): Promise<void> {
    if (!(await this.#store.remove(caller.orgId, id, actOf(caller, 'webhook.delete', { kind: 'webhook', id })))) throw notFound();
    this.#open.delete(id);
  }

  /** By the id in the address, in whichever organisation; at most a second old. Undefined when there is none. */
  async open(id: string): Promise<OpenWebhook | undefined> {
    const known = this.#open.get(id);
    if (known !== undefined && Date.now() - known.at < REMEMBERED_MS) return known.webhook;
    if (this.#open.size >= MOST_REMEMBERED) this.#open.clear();
    const webhook = this.#read(id);
    this.#open.set(id, { at: Date.now(), webhook });
    try {
      return await webhook;
    } catch (error) {
      this.#open.delete(id);
      throw error;
    }
  }

  async #read(id: string): Promise<OpenWebhook | undefined> {
    const record = await this.#store.findAcrossOrganisations(id);
    if (record === undefined) return undefined;
    const { orgId, settings, enabled } = record;
    return { orgId, id, settings, enabled, secrets: this.#secrets(record).map(({ secret, expiresAt }) => ({ key: provingKey(settings.preset, secret), expiresAt })) };
  }

  #changed(record: WebhookRecord | undefined): Webhook {
    if (record === undefined) throw new HalError('Conflict', 'somebody else changed the webhook meanwhile');
    this.#open.delete(record.id);
    return this.#view(record);
  }

  async #record(caller: Caller, id: string): Promise<WebhookRecord> {
    const record = await this.#store.find(caller.orgId, id);
    if (record === undefined) throw notFound();
    return record;
  }

  #view(record: WebhookRecord): Webhook {
    const { secrets: _secrets, ...rest } = record;
    return { ...rest, secrets: this.#secrets(record).map(({ secret: _secret, ...told }) => told) };
  }

  #secrets({ orgId, id, secrets }: WebhookRecord): WebhookSecret[] {
    return this.#box.live(orgId, id, secrets);
  }
}

/** The secrets that are live at this moment. */
export function liveSecrets({ secrets }: OpenWebhook, nowMs: number): KeyObject[] {
  return secrets.filter(({ expiresAt }) => expiresAt === null || expiresAt.getTime() > nowMs).map(({ key }) => key);
}

function newSecret(preset: PresetName): string {
  return isStandard(preset) ? newStandardSecret() : randomBytes(32).toString('hex');
}

function assertUsable(preset: PresetName, secret: string): void {
  provingKey(preset, secret);
}

function notFound(): HalError {
  return new HalError('NotFound', 'there is no such webhook');
}

function nameTaken(): HalError {
  return new HalError('Conflict', 'another webhook has this name');
}
