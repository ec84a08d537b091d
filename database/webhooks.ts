import { type ColumnType, type Generated, type Selectable, sql } from 'kysely';
import type { PresetName, WebhookSettings } from '../schemas/rest/webhooks.ts';
import { type Act, recordAct } from './audit-acts.ts';
import type { Database } from './database.ts';
import { NamedRows } from './named-rows.ts';
import type { Timestamp } from './organisations.ts';

type Json<T> = ColumnType<T, string, string>;

export interface WebhookTables {
  webhooks: {
    org_id: string;
    id: string;
    name: string;
    preset: PresetName;
    settings: Json<WebhookSettings>;
    secrets: Buffer;
    enabled: Generated<boolean>;
    version: Generated<number>;
    created_at: Timestamp;
    updated_at: Timestamp;
  };
}

export interface WebhookRecord {
  readonly orgId: string;
  readonly id: string;
  readonly name: string;
  readonly settings: WebhookSettings;
  /** Live secrets, sealed. */
  readonly secrets: Buffer;
  readonly enabled: boolean;
  readonly version: number;
  readonly createdAt: Date;
  readonly updatedAt: Date;
}

export type NewWebhook = Pick<WebhookRecord, 'orgId' | 'id' | 'name' | 'settings' | 'secrets' | 'enabled'>;

/** Inbound webhooks. The look-up by id crosses organisations, because the address is what says which one is meant. */
export class WebhookStore {
  readonly #database: Database;
  readonly #rows: NamedRows<Selectable<WebhookTables['webhooks']>, WebhookRecord>;

  constructor(database: Database) {
    this.#database = database;
    this.#rows = new NamedRows(database, 'webhooks', record);
  }

  async findAcrossOrganisations(id: string): Promise<WebhookRecord | undefined> {
    const row = await this.#database.system.selectFrom('webhooks').selectAll().where('id', '=', id).executeTakeFirst();
    return row === undefined ? undefined : record(row);
  }

  /** By name. `after` is the name of the last one of the page before. */
  async list(orgId: string, limit: number, after?: string): Promise<WebhookRecord[]> {
    return this.#rows.list(orgId, limit, after);
  }

  async find(orgId: string, id: string): Promise<WebhookRecord | undefined> {
    return this.#rows.find(orgId, 'id', id);
  }

  /** @returns undefined when the name is taken. */
  async insert(webhook: NewWebhook, act: Act): Promise<WebhookRecord | undefined> {
    return this.#database.withOrg(webhook.orgId, async (tx) => {
      const row = await tx
        .insertInto('webhooks')
        .values({ org_id: webhook.orgId, id: webhook.id, name: webhook.name, preset: webhook.settings.preset, settings: JSON.stringify(webhook.settings), secrets: webhook.secrets, enabled: webhook.enabled })
        .onConflict((conflict) => conflict.columns(['org_id', 'name']).doNothing())
        .returningAll()
        .executeTakeFirst();
      if (row === undefined) return undefined;
      await recordAct(tx, act);
      return record(row);
    });
  }

  /** @returns undefined when another version is there by now, or nothing. */
  async change(orgId: string, id: string, version: number, change: Partial<Pick<WebhookRecord, 'name' | 'settings' | 'secrets' | 'enabled'>>, act: Act): Promise<WebhookRecord | undefined> {
    return this.#database.withOrg(orgId, async (tx) => {
      const row = await tx
        .updateTable('webhooks')
        .set({
          ...(change.name === undefined ? {} : { name: change.name }),
          ...(change.settings === undefined ? {} : { settings: JSON.stringify(change.settings), preset: change.settings.preset }),
          ...(change.secrets === undefined ? {} : { secrets: change.secrets }),
          ...(change.enabled === undefined ? {} : { enabled: change.enabled }),
          version: version + 1,
          updated_at: sql<Date>`now()`,
        })
        .where('id', '=', id)
        .where('version', '=', version)
        .returningAll()
        .executeTakeFirst();
      if (row === undefined) return undefined;
      await recordAct(tx, act);
      return record(row);
    });
  }

  /** @returns whether it was there. */
  async remove(orgId: string, id: string, act: Act): Promise<boolean> {
    return this.#rows.remove(orgId, id, act);
  }

  /**
   * Notes alerts of Alertmanager and tells which of them are over: a firing whose end was seen before.
   * @returns a verdict for each, in their order. `firingSeen`: whether the beginning of a resolved one came before.
   */
  async noteAlerts(orgId: string, webhookId: string, alerts: readonly { readonly fingerprint: string; readonly startsAt: string; readonly resolved: boolean }[]): Promise<{ readonly over: boolean; readonly firingSeen: boolean }[]> {
    return this.#database.withOrg(orgId, async (tx) => {
      const { rows: verdicts } = await sql<{ over: boolean; firingSeen: boolean }>`
        with given as (
          select * from json_to_recordset(${JSON.stringify(alerts.map((alert, position) => ({ ...alert, position })))}::json) as g(position int, fingerprint text, "startsAt" timestamptz, resolved boolean)
        ), written as (
          insert into webhook_alerts as a (org_id, webhook_id, fingerprint, starts_at, firing_seen_at, resolved_at)
          select ${orgId}::uuid, ${webhookId}::uuid, fingerprint, "startsAt", max(now()) filter (where not resolved), max(now()) filter (where resolved) from given group by fingerprint, "startsAt" order by fingerprint, "startsAt"
          on conflict (org_id, webhook_id, fingerprint, starts_at) do update
            set firing_seen_at = coalesce(a.firing_seen_at, excluded.firing_seen_at), resolved_at = coalesce(a.resolved_at, excluded.resolved_at), seen_at = now()
          returning fingerprint, starts_at, firing_seen_at, resolved_at
        ) select not g.resolved and w.resolved_at is not null as over, w.firing_seen_at is not null as "firingSeen"
          from given g join written w on w.fingerprint = g.fingerprint and w.starts_at = g."startsAt" order by g.position`.execute(tx);
      return verdicts;
    });
  }
}

function record(row: Selectable<WebhookTables['webhooks']>): WebhookRecord {
  return { orgId: row.org_id, id: row.id, name: row.name, settings: row.settings, secrets: row.secrets, enabled: row.enabled, version: row.version, createdAt: row.created_at, updatedAt: row.updated_at };
}
