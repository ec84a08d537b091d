import { type ColumnType, type Generated, type Selectable, sql } from 'kysely';
import { type Act, recordAct } from './audit-acts.ts';
import type { Database } from './database.ts';
import { NamedRows } from './named-rows.ts';
import type { Timestamp } from './organisations.ts';

type MaybeTime = ColumnType<Date | null, Date | null | undefined, Date | null>;

export interface WebhookEndpointTables {
  webhook_endpoints: {
    org_id: string;
    id: string;
    name: string;
    url: string;
    events: string[];
    secrets: Buffer;
    enabled: Generated<boolean>;
    disabled_reason: string | null;
    version: Generated<number>;
    failures: Generated<number>;
    open_until: MaybeTime;
    created_at: Timestamp;
    updated_at: Timestamp;
  };
}

export interface EndpointRecord {
  readonly orgId: string;
  readonly id: string;
  readonly name: string;
  readonly url: string;
  readonly events: readonly string[];
  /** Live secrets, sealed. */
  readonly secrets: Buffer;
  readonly enabled: boolean;
  readonly disabledReason: string | null;
  readonly version: number;
  readonly failures: number;
  readonly openUntil: Date | null;
  readonly createdAt: Date;
  readonly updatedAt: Date;
}

export type NewEndpoint = Pick<EndpointRecord, 'orgId' | 'id' | 'name' | 'url' | 'events' | 'secrets' | 'enabled'>;

/** Endpoints that an organisation's events are sent to. */
export class EndpointStore {
  readonly #database: Database;
  readonly #rows: NamedRows<Selectable<WebhookEndpointTables['webhook_endpoints']>, EndpointRecord>;

  constructor(database: Database) {
    this.#database = database;
    this.#rows = new NamedRows(database, 'webhook_endpoints', record);
  }

  /** By name. `after` is the name of the last one of the page before. */
  async list(orgId: string, limit: number, after?: string): Promise<EndpointRecord[]> {
    return this.#rows.list(orgId, limit, after);
  }

  async find(orgId: string, id: string): Promise<EndpointRecord | undefined> {
    return this.#rows.find(orgId, 'id', id);
  }

  /** @returns undefined when the name is taken. */
  async insert({ orgId, id, name, url, events, secrets, enabled }: NewEndpoint, act: Act): Promise<EndpointRecord | undefined> {
    return this.#database.withOrg(orgId, async (tx) => {
      const row = await tx
        .insertInto('webhook_endpoints')
        .values({ org_id: orgId, id, name, url, events: [...events], secrets, enabled })
        .onConflict((conflict) => conflict.columns(['org_id', 'name']).doNothing())
        .returningAll()
        .executeTakeFirst();
      if (row === undefined) return undefined;
      await recordAct(tx, act);
      return record(row);
    });
  }

  /** Any change by people closes the circuit. @returns undefined when another version is there by now, or nothing. */
  async change(orgId: string, id: string, version: number, change: Partial<Pick<EndpointRecord, 'name' | 'url' | 'events' | 'secrets' | 'enabled'>>, act: Act): Promise<EndpointRecord | undefined> {
    return this.#database.withOrg(orgId, async (tx) => {
      const { events, ...rest } = change;
      const row = await tx
        .updateTable('webhook_endpoints')
        .set({ ...rest, ...(events === undefined ? {} : { events: [...events] }), ...(change.enabled === true ? { disabled_reason: null } : {}), failures: 0, open_until: null, version: version + 1, updated_at: sql<Date>`now()` })
        .where('id', '=', id)
        .where('version', '=', version)
        .returningAll()
        .executeTakeFirst();
      if (row === undefined) return undefined;
      await recordAct(tx, act);
      return record(row);
    });
  }

  /** Its messages go with it. @returns whether it was there. */
  async remove(orgId: string, id: string, act: Act): Promise<boolean> {
    return this.#rows.remove(orgId, id, act);
  }

  /** Switches it off for a reason of HAL9's own, and gives up what waits. */
  async disable(orgId: string, id: string, reason: string, act: Act): Promise<void> {
    await this.#database.withOrg(orgId, async (tx) => {
      const { numUpdatedRows } = await tx.updateTable('webhook_endpoints').set({ enabled: false, disabled_reason: reason, version: sql<number>`version + 1`, updated_at: sql<Date>`now()` }).where('id', '=', id).where('enabled', '=', true).executeTakeFirst();
      if (numUpdatedRows === 0n) return;
      await sql`update webhook_messages set state = 'abandoned', done_at = now(), last_failure = ${reason} where org_id = ${orgId} and endpoint_id = ${id} and state = 'pending'`.execute(tx);
      await recordAct(tx, act);
    });
  }

  /** Notes how the endpoint fares. @returns failures in a row. */
  async noteHealth(orgId: string, id: string, worked: boolean): Promise<number> {
    return this.#database.withOrg(orgId, async (tx) => {
      const { rows } = await sql<{ failures: number }>`
        update webhook_endpoints set failures = case when ${worked}::boolean then 0 else failures + 1 end, open_until = case when ${worked}::boolean then null else open_until end
        where org_id = ${orgId} and id = ${id} returning failures`.execute(tx);
      return rows[0]?.failures ?? 0;
    });
  }

  async openCircuit(orgId: string, id: string, seconds: number): Promise<void> {
    await this.#database.withOrg(orgId, (tx) => sql`update webhook_endpoints set open_until = now() + make_interval(secs => ${seconds}) where org_id = ${orgId} and id = ${id}`.execute(tx));
  }
}

function record(row: Selectable<WebhookEndpointTables['webhook_endpoints']>): EndpointRecord {
  return {
    orgId: row.org_id,
    id: row.id,
    name: row.name,
    url: row.url,
    events: row.events,
    secrets: row.secrets,
    enabled: row.enabled,
    disabledReason: row.disabled_reason,
    version: row.version,
    failures: row.failures,
    openUntil: row.open_until,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
  };
}
