import { type ColumnType, type Generated, type Selectable, sql } from 'kysely';
import type { SourceDraft } from '../schemas/brokers/definition.ts';
import { type Act, recordAct } from './audit-acts.ts';
import type { Database } from './database.ts';
import type { Timestamp } from './organisations.ts';

type MaybeTime = ColumnType<Date | null, Date | null | undefined, Date | null>;

export type SourceState = 'waiting' | 'connected' | 'failed';

export interface BrokerTables {
  broker_sources: {
    org_id: string;
    id: string;
    name: string;
    enabled: boolean;
    version: Generated<number>;
    draft: ColumnType<SourceDraft, string, string>;
    holder: string | null;
    lease_until: MaybeTime;
    state: Generated<SourceState>;
    last_failure: string | null;
    last_message_at: MaybeTime;
    received: Generated<number>;
    created_at: Timestamp;
    updated_at: Timestamp;
  };
  broker_dead_letters: {
    org_id: string;
    id: string;
    source_id: string;
    cause: string;
    sealed: Buffer;
    bytes: number;
    created_at: Timestamp;
    replayed_at: MaybeTime;
  };
}

export interface StoredSource<Draft extends SourceDraft = SourceDraft> {
  readonly orgId: string;
  readonly id: string;
  readonly version: number;
  readonly draft: Draft;
  readonly state: SourceState;
  readonly lastFailure: string | null;
  readonly lastMessageAt: Date | null;
  /** Messages taken in, redelivered ones included. */
  readonly received: number;
  readonly createdAt: Date;
  readonly updatedAt: Date;
}

export interface BrokerDeadLetter {
  readonly id: string;
  readonly sourceId: string;
  readonly cause: string;
  readonly sealed: Buffer;
  readonly bytes: number;
  readonly createdAt: Date;
  readonly replayedAt: Date | null;
}

export type NewBrokerDeadLetter = Pick<BrokerDeadLetter, 'id' | 'cause' | 'sealed' | 'bytes'>;

export type SourceChange = { readonly kind: 'changed'; readonly source: StoredSource } | { readonly kind: 'missing' } | { readonly kind: 'stale'; readonly version: number } | { readonly kind: 'name-taken' };

/** Seconds a consumer holds a source without renewing. */
export const LEASE_SECONDS = 10;

/** Sources of an organisation; leases are taken across organisations, by whichever consumer comes first. */
export class SourceStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /** By name. `after` is the name of the last one of the page before. */
  async list(orgId: string, limit: number, after?: string): Promise<StoredSource[]> {
    return this.#database.withOrg(orgId, async (tx) => {
      let query = tx.selectFrom('broker_sources').selectAll().orderBy('name').limit(limit);
      if (after !== undefined) query = query.where('name', '>', after);
      return (await query.execute()).map(stored);
    });
  }

  async find(orgId: string, id: string): Promise<StoredSource | undefined> {
    return this.#database.withOrg(orgId, async (tx) => {
      const row = await tx.selectFrom('broker_sources').selectAll().where('id', '=', id).executeTakeFirst();
      return row === undefined ? undefined : stored(row);
    });
  }

  /** @returns undefined when the name is taken. */
  async create(orgId: string, id: string, draft: SourceDraft, act: Act): Promise<StoredSource | undefined> {
    return this.#database.withOrg(orgId, async (tx) => {
      const row = await tx
        .insertInto('broker_sources')
        .values({ org_id: orgId, id, name: draft.name, enabled: draft.enabled, draft: JSON.stringify(draft) })
        .onConflict((conflict) => conflict.columns(['org_id', 'name']).doNothing())
        .returningAll()
        .executeTakeFirst();
      if (row === undefined) return undefined;
      await recordAct(tx, act);
      return stored(row);
    });
  }

  /** @param expected the version the change was made from; undefined changes whatever is there. */
  async change(orgId: string, id: string, expected: number | undefined, draft: SourceDraft, act: Act): Promise<SourceChange> {
    return this.#database.withOrg(orgId, async (tx) => {
      const current = await tx.selectFrom('broker_sources').selectAll().where('id', '=', id).forUpdate().executeTakeFirst();
      if (current === undefined) return { kind: 'missing' };
      if (expected !== undefined && current.version !== expected) return { kind: 'stale', version: current.version };
      const taken = draft.name === current.name ? undefined : await tx.selectFrom('broker_sources').select('id').where('name', '=', draft.name).executeTakeFirst();
      if (taken !== undefined) return { kind: 'name-taken' };
      const row = await tx
        .updateTable('broker_sources')
        .set({ name: draft.name, enabled: draft.enabled, draft: JSON.stringify(draft), version: current.version + 1, state: 'waiting', last_failure: null, updated_at: sql<Date>`now()` })
        .where('id', '=', id)
        .returningAll()
        .executeTakeFirstOrThrow();
      await recordAct(tx, act);
      return { kind: 'changed', source: stored(row) };
    });
  }

  /** With its dead letters. @returns whether it was there. */
  async remove(orgId: string, id: string, act: Act): Promise<boolean> {
    return this.#database.withOrg(orgId, async (tx) => {
      const { numDeletedRows } = await tx.deleteFrom('broker_sources').where('id', '=', id).executeTakeFirst();
      if (numDeletedRows === 0n) return false;
      await recordAct(tx, act);
      return true;
    });
  }

  /** Renews what the holder has and takes at most one more, so that several share. @returns all it holds now. */
  async leaseAcrossOrganisations(holder: string): Promise<StoredSource[]> {
    const { rows } = await sql<{ org_id: string; id: string }>`
      with free as (
        select org_id, id from broker_sources where enabled and (holder is null or lease_until < now()) and holder is distinct from ${holder}::uuid
        order by lease_until nulls first limit 1 for update skip locked
      )
      update broker_sources s set holder = ${holder}::uuid, lease_until = now() + make_interval(secs => ${LEASE_SECONDS})
      where s.enabled and ((s.holder = ${holder}::uuid) or (s.org_id, s.id) in (select org_id, id from free))
      returning s.org_id, s.id`.execute(this.#database.system);
    const held = await this.#database.system.selectFrom('broker_sources').selectAll().where('holder', '=', holder).where('enabled', '=', true).execute();
    return held.filter((row) => rows.some(({ org_id, id }) => org_id === row.org_id && id === row.id)).map(stored);
  }

  /** Lets others have it at once. */
  async release(orgId: string, id: string, holder: string): Promise<void> {
    await this.#database.withOrg(orgId, (tx) => tx.updateTable('broker_sources').set({ holder: null, lease_until: null, state: 'waiting' }).where('id', '=', id).where('holder', '=', holder).execute());
  }

  async noteState(orgId: string, id: string, state: SourceState, failure: string | null): Promise<void> {
    await this.#database.withOrg(orgId, (tx) => tx.updateTable('broker_sources').set({ state, last_failure: failure }).where('id', '=', id).execute());
  }

  async noteReceived(orgId: string, id: string, messages: number): Promise<void> {
    await this.#database.withOrg(orgId, (tx) => tx.updateTable('broker_sources').set({ received: sql<number>`received + ${messages}`, last_message_at: sql<Date>`now()` }).where('id', '=', id).execute());
  }

  /** Stores letters; those that are there already stay as they are. */
  async bury(orgId: string, sourceId: string, letters: readonly NewBrokerDeadLetter[]): Promise<void> {
    if (letters.length === 0) return;
    await this.#database.withOrg(orgId, (tx) =>
      tx
        .insertInto('broker_dead_letters')
        .values(letters.map((letter) => ({ org_id: orgId, source_id: sourceId, ...letter })))
        .onConflict((conflict) => conflict.columns(['org_id', 'id']).doNothing())
        .execute(),
    );
  }

  /** Newest first. `before` is the (created, id) of the last one of the page before. */
  async deadLetters(orgId: string, sourceId: string, limit: number, before?: { createdAt: Date; id: string }): Promise<BrokerDeadLetter[]> {
    return this.#database.withOrg(orgId, async (tx) => {
      let query = tx.selectFrom('broker_dead_letters').selectAll().where('source_id', '=', sourceId).orderBy('created_at', 'desc').orderBy('id', 'desc').limit(limit);
      if (before !== undefined) query = query.where(sql<boolean>`(created_at, id) < (${before.createdAt}, ${before.id}::uuid)`);
      return (await query.execute()).map(letterOf);
    });
  }

  async deadLetter(orgId: string, sourceId: string, id: string): Promise<BrokerDeadLetter | undefined> {
    return this.#database.withOrg(orgId, async (tx) => {
      const row = await tx.selectFrom('broker_dead_letters').selectAll().where('source_id', '=', sourceId).where('id', '=', id).executeTakeFirst();
      return row === undefined ? undefined : letterOf(row);
    });
  }

  /** It was taken in after all. */
  async markReplayed(orgId: string, id: string, act: Act): Promise<void> {
    await this.#database.withOrg(orgId, async (tx) => {
      await tx.updateTable('broker_dead_letters').set({ replayed_at: sql<Date>`now()` }).where('id', '=', id).execute();
      await recordAct(tx, act);
    });
  }
}

function stored(row: Selectable<BrokerTables['broker_sources']>): StoredSource {
  return {
    orgId: row.org_id,
    id: row.id,
    version: row.version,
    draft: row.draft,
    state: row.state,
    lastFailure: row.last_failure,
    lastMessageAt: row.last_message_at,
    received: row.received,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
  };
}

function letterOf(row: Selectable<BrokerTables['broker_dead_letters']>): BrokerDeadLetter {
  return { id: row.id, sourceId: row.source_id, cause: row.cause, sealed: row.sealed, bytes: row.bytes, createdAt: row.created_at, replayedAt: row.replayed_at };
}
