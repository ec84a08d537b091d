import type pg from 'pg';
import { type ColumnType, type RawBuilder, type Selectable, sql } from 'kysely';
import type { AutomationDefinition, AutomationDraft } from '../schemas/automations/definition.ts';
import { type Act, recordAct } from './audit-acts.ts';
import { type FiringState, settleFiring } from './automation-firings.ts';
import type { Database, Tx } from './database.ts';
import type { Timestamp } from './organisations.ts';

type Json<T> = ColumnType<T, string, string>;
type MaybeTime = ColumnType<Date | null, Date | null | undefined, Date | null>;

export interface AutomationTables {
  automations: {
    org_id: string;
    id: string;
    name: string;
    enabled: boolean;
    version: number;
    draft: Json<AutomationDraft>;
    owner_kind: string;
    owner_id: string;
    owner_scopes: string[];
    paused_at: MaybeTime;
    paused_reason: string | null;
    created_at: Timestamp;
    updated_at: Timestamp;
  };
  automation_versions: { org_id: string; automation_id: string; version: number; draft: Json<AutomationDraft>; created_at: Timestamp; created_by: string };
}

/** Who saved it and what they were allowed then. */
export interface AutomationOwner {
  readonly kind: string;
  readonly id: string;
  readonly scopes: readonly string[];
}

export interface StoredAutomation {
  readonly id: string;
  readonly version: number;
  readonly draft: AutomationDraft;
  readonly owner: AutomationOwner;
  readonly pausedAt: Date | null;
  readonly pausedReason: string | null;
  readonly createdAt: Date;
  readonly updatedAt: Date;
}

export interface AutomationVersion {
  readonly version: number;
  readonly draft: AutomationDraft;
  readonly createdAt: Date;
  readonly createdBy: string;
}

/** A signal as a dry run reads it. */
export interface RecentSignal {
  readonly key: string;
  readonly envelope: string;
}

/** What a trigger looks at by type and source: exact texts, or prefixes ending in `*`; missing sources are all. */
export interface SignalSelection {
  readonly types: readonly string[];
  readonly sources: readonly string[] | undefined;
}

/** Signals a dry run looks back over, at most: what bounds its time where hardly any signal matches. */
const DRY_RUN_REACH = 100_000;

export type AutomationChange =
  | { readonly kind: 'changed'; readonly automation: StoredAutomation }
  | { readonly kind: 'missing' }
  | { readonly kind: 'stale'; readonly version: number }
  | { readonly kind: 'name-taken' };

/** Automations of an organisation. Each change is a new generation of its neurons, by which workers know to compile again. */
export class AutomationStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /** By name. `after` is the name of the last one of the page before. */
  async list(orgId: string, limit: number, after?: string): Promise<StoredAutomation[]> {
    return this.#database.withOrg(orgId, async (tx) => {
      let query = tx.selectFrom('automations').selectAll().orderBy('name').limit(limit);
      if (after !== undefined) query = query.where('name', '>', after);
      return (await query.execute()).map(stored);
    });
  }

  async find(orgId: string, id: string): Promise<StoredAutomation | undefined> {
    return this.#database.withOrg(orgId, async (tx) => {
      const row = await tx.selectFrom('automations').selectAll().where('id', '=', id).executeTakeFirst();
      return row === undefined ? undefined : stored(row);
    });
  }

  /** Newest first. */
  async versions(orgId: string, id: string, limit: number): Promise<AutomationVersion[]> {
    return this.#database.withOrg(orgId, async (tx) => {
      const rows = await tx.selectFrom('automation_versions').selectAll().where('automation_id', '=', id).orderBy('version', 'desc').limit(limit).execute();
      return rows.map((row) => ({ version: row.version, draft: row.draft, createdAt: row.created_at, createdBy: row.created_by }));
    });
  }

  /** @returns undefined when the name is taken. */
  async create(orgId: string, id: string, draft: AutomationDraft, owner: AutomationOwner, act: Act): Promise<StoredAutomation | undefined> {
    return this.#database.withOrg(orgId, async (tx) => {
      const row = await tx
        .insertInto('automations')
        .values({ org_id: orgId, id, name: draft.name, enabled: draft.enabled, version: 1, draft: JSON.stringify(draft), owner_kind: owner.kind, owner_id: owner.id, owner_scopes: [...owner.scopes] })
        .onConflict((conflict) => conflict.columns(['org_id', 'name']).doNothing())
        .returningAll()
        .executeTakeFirst();
      if (row === undefined) return undefined;
      await noteChange(tx, orgId, stored(row), act);
      return stored(row);
    });
  }

  /**
   * Stores a new version, owned by whoever saves it; a pause ends with it.
   * @param expected the version the change was made from; undefined changes whatever is there.
   */
  async change(orgId: string, id: string, expected: number | undefined, draft: AutomationDraft, owner: AutomationOwner, act: Act): Promise<AutomationChange> {
    return this.#database.withOrg(orgId, async (tx) => {
      const current = await tx.selectFrom('automations').selectAll().where('id', '=', id).forUpdate().executeTakeFirst();
      if (current === undefined) return { kind: 'missing' };
      if (expected !== undefined && current.version !== expected) return { kind: 'stale', version: current.version };
      const taken = draft.name === current.name ? undefined : await tx.selectFrom('automations').select('id').where('name', '=', draft.name).executeTakeFirst();
      if (taken !== undefined) return { kind: 'name-taken' };
      const row = await tx
        .updateTable('automations')
        .set({
          name: draft.name, enabled: draft.enabled, version: current.version + 1, draft: JSON.stringify(draft),
          owner_kind: owner.kind, owner_id: owner.id, owner_scopes: [...owner.scopes], paused_at: null, paused_reason: null, updated_at: sql<Date>`now()`,
        })
        .where('id', '=', id)
        .returningAll()
        .executeTakeFirstOrThrow();
      await noteChange(tx, orgId, stored(row), act);
      return { kind: 'changed', automation: stored(row) };
    });
  }

  /** Its firings stay until their time is over. @returns whether it was there. */
  async remove(orgId: string, id: string, act: Act): Promise<boolean> {
    return this.#database.withOrg(orgId, async (tx) => {
      const { numDeletedRows } = await tx.deleteFrom('automations').where('id', '=', id).executeTakeFirst();
      if (numDeletedRows === 0n) return false;
      await nextGeneration(tx, orgId);
      await recordAct(tx, act);
      return true;
    });
  }

  /** Stops an automation that may not go on, and ends the firing that showed it. A pause that is there stays as it is. */
  async pause(orgId: string, id: string, reason: string, firing: { readonly id: string; readonly state: Exclude<FiringState, 'pending' | 'fired'> }, act: Act): Promise<void> {
    await this.#database.withOrg(orgId, async (tx) => {
      await settleFiring(tx, orgId, firing.id, { state: firing.state, reason });
      const { numUpdatedRows } = await tx.updateTable('automations').set({ paused_at: sql<Date>`now()`, paused_reason: reason }).where('id', '=', id).where('paused_at', 'is', null).executeTakeFirst();
      if (numUpdatedRows === 0n) return;
      await nextGeneration(tx, orgId);
      await recordAct(tx, act);
    });
  }

  /** Names of automations, for words about a chain. */
  async names(orgId: string, ids: readonly string[]): Promise<Map<string, string>> {
    if (ids.length === 0) return new Map();
    return this.#database.withOrg(orgId, async (tx) => {
      const rows = await tx.selectFrom('automations').select(['id', 'name']).where('id', 'in', [...new Set(ids)]).execute();
      return new Map(rows.map((row) => [row.id, row.name]));
    });
  }

  /** Definitions of all automations that are on. */
  async active(orgId: string): Promise<AutomationDefinition[]> {
    return this.#database.withOrgClient(orgId, (client) => readActiveAutomations(client));
  }

  /**
   * The latest signals that a trigger's types and sources match, newest first, among the latest {@link DRY_RUN_REACH}. They are read backwards
   * along the primary key until there are enough: an index by type would cost every ingested signal, for dry runs alone.
   */
  async recentSignals(orgId: string, { types, sources }: SignalSelection, limit: number): Promise<RecentSignal[]> {
    return this.#database.withOrg(orgId, async (tx) => {
      const { rows } = await sql<RecentSignal>`
        select key, envelope from (
          select received_on, chunk_id, ordinal, key, type, source, envelope from signals where org_id = ${orgId}
          order by received_on desc, chunk_id desc, ordinal desc limit ${DRY_RUN_REACH}
        ) latest
        where ${anyOf('type', types)} and ${sources === undefined ? sql`true` : anyOf('source', sources)}
        order by received_on desc, chunk_id desc, ordinal desc limit ${limit}`.execute(tx);
      return rows;
    });
  }
}

/** Whether the column is one of the texts, or begins as one that ends in `*` does; exactly as the routing index of the neurons reads them. */
function anyOf(column: 'type' | 'source', patterns: readonly string[]): RawBuilder<boolean> {
  const prefixes = patterns.filter((pattern) => pattern.endsWith('*')).map((pattern) => pattern.slice(0, -1));
  const exact = patterns.filter((pattern) => !pattern.endsWith('*'));
  return sql<boolean>`(${sql.ref(column)} = any(${exact}::text[]) or exists (select from unnest(${prefixes}::text[]) prefix where starts_with(${sql.ref(column)}, prefix)))`;
}

/** The automations that look at signals, for compilation, sorted by id. */
export async function readActiveAutomations(client: pg.ClientBase): Promise<AutomationDefinition[]> {
  const { rows } = await client.query<{ id: string; version: number; draft: AutomationDraft }>('select id, version, draft from automations where enabled and paused_at is null order by id');
  return rows.map(({ id, version, draft }) => ({ id, version, name: draft.name, trigger: draft.trigger, effect: draft.effect, ...(draft.condition === undefined ? {} : { condition: draft.condition }) }));
}

async function noteChange(tx: Tx, orgId: string, automation: StoredAutomation, act: Act): Promise<void> {
  await tx
    .insertInto('automation_versions')
    .values({ org_id: orgId, automation_id: automation.id, version: automation.version, draft: JSON.stringify(automation.draft), created_by: `${automation.owner.kind}:${automation.owner.id}` })
    .execute();
  await nextGeneration(tx, orgId);
  await recordAct(tx, act);
}

async function nextGeneration(tx: Tx, orgId: string): Promise<void> {
  await tx
    .insertInto('neuron_generations')
    .values({ org_id: orgId, generation: 1 })
    .onConflict((conflict) => conflict.column('org_id').doUpdateSet({ generation: sql<number>`neuron_generations.generation + 1` }))
    .execute();
}

function stored(row: Selectable<AutomationTables['automations']>): StoredAutomation {
  return {
    id: row.id,
    version: row.version,
    draft: row.draft,
    owner: { kind: row.owner_kind, id: row.owner_id, scopes: row.owner_scopes },
    pausedAt: row.paused_at,
    pausedReason: row.paused_reason,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
  };
}
