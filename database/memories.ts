import { sql, type ColumnType, type ExpressionBuilder } from 'kysely';
import type { MemoryKind } from '../schemas/memories/definition.ts';
import { recordAct, type Act } from './audit-acts.ts';
import type { Database } from './database.ts';
import type { Tables } from './tables.ts';

export interface MemoryTables {
  memories: {
    org_id: string;
    id: string;
    kind: MemoryKind;
    topic: string;
    subject: Buffer | null;
    subject_key: string | null;
    sealed: Buffer;
    digest: Buffer;
    weight: number | null;
    written_by: string;
    created_at: ColumnType<Date, never, never>;
  };
  memory_words: { org_id: string; token: Buffer; memory_id: string };
}

export interface MemoryRecord {
  readonly id: string;
  readonly kind: MemoryKind;
  readonly topic: string;
  /** Id of the key that seals it; null: the organisation's. */
  readonly subjectKey: string | null;
  readonly sealed: Buffer;
  readonly digest: Buffer;
  readonly weight: number | null;
  readonly writtenBy: string;
  readonly createdAt: Date;
}

export interface NewMemory extends Omit<MemoryRecord, 'createdAt'> {
  /** Keyed hash of whom it is about. */
  readonly subject: Buffer | null;
  /** Keyed hashes of its words. */
  readonly tokens: readonly Buffer[];
}

/** What is asked for; undefined is anything. */
export interface MemoryFilter {
  readonly kind?: MemoryKind | undefined;
  readonly topic?: string | undefined;
  /** Null: about nobody. */
  readonly subject?: Buffer | null | undefined;
  /** All of them occur. */
  readonly tokens?: readonly Buffer[] | undefined;
}

/** What was remembered. Nothing here shows memories whose key was destroyed. */
export class MemoryStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /** Writes it, unless one has its id: then that one is answered. */
  async insert(orgId: string, { id, kind, topic, subject, subjectKey, sealed, digest, weight, writtenBy, tokens }: NewMemory, act: Act): Promise<Pick<MemoryRecord, 'id' | 'digest' | 'createdAt'>> {
    return this.#database.withOrg(orgId, async (tx) => {
      const made = await tx
        .insertInto('memories')
        .values({ org_id: orgId, id, kind, topic, subject, subject_key: subjectKey, sealed, digest, weight, written_by: writtenBy })
        .onConflict((conflict) => conflict.columns(['org_id', 'id']).doNothing())
        .returning(['id', 'digest', 'created_at as createdAt'])
        .executeTakeFirst();
      if (made === undefined) return tx.selectFrom('memories').select(['id', 'digest', 'created_at as createdAt']).where('org_id', '=', orgId).where('id', '=', id).executeTakeFirstOrThrow();
      if (tokens.length > 0) await tx.insertInto('memory_words').values(tokens.map((token) => ({ org_id: orgId, token, memory_id: id }))).execute();
      await recordAct(tx, act);
      return made;
    });
  }

  /** Newest first; `before` continues a page. */
  async find(orgId: string, filter: MemoryFilter, limit: number, before?: { readonly createdAt: Date; readonly id: string }): Promise<MemoryRecord[]> {
    return this.#database.withOrg(orgId, (tx) =>
      tx
        .selectFrom('memories')
        .select(COLUMNS)
        .where((where) => asked(where, orgId, filter))
        .$if(before !== undefined, (query) => query.where(sql<boolean>`(created_at, id) < (${before?.createdAt}, ${before?.id})`))
        .orderBy('created_at', 'desc')
        .orderBy('id', 'desc')
        .limit(limit)
        .execute(),
    );
  }

  /** Sum of the weights of all that is asked for. */
  async weight(orgId: string, filter: MemoryFilter): Promise<number> {
    return this.#database.withOrg(orgId, async (tx) => {
      const { weight } = await tx.selectFrom('memories').select(sql<number>`coalesce(sum(weight), 0)::float8`.as('weight')).where((where) => asked(where, orgId, filter)).executeTakeFirstOrThrow();
      return weight;
    });
  }

  async get(orgId: string, id: string): Promise<MemoryRecord | undefined> {
    return this.#database.withOrg(orgId, (tx) => tx.selectFrom('memories').select(COLUMNS).where((where) => where.and([asked(where, orgId, {}), where('id', '=', id)])).executeTakeFirst());
  }

  /** About these people, oldest first, in pages. @param after id of the last of the page before. */
  async about(orgId: string, subjects: readonly Buffer[], limit: number, after: string): Promise<MemoryRecord[]> {
    if (subjects.length === 0) return [];
    return this.#database.withOrg(orgId, (tx) =>
      tx.selectFrom('memories').select(COLUMNS).where((where) => where.and([asked(where, orgId, {}), where('subject', 'in', [...subjects]), where('id', '>', after)])).orderBy('id').limit(limit).execute(),
    );
  }

  /** Removes it with its words; its digest stays where it was anchored. @returns whether it was there. */
  async remove(orgId: string, id: string, act: Act): Promise<boolean> {
    return this.#database.withOrg(orgId, async (tx) => {
      const { numDeletedRows } = await tx.deleteFrom('memories').where('org_id', '=', orgId).where('id', '=', id).executeTakeFirst();
      if (numDeletedRows === 0n) return false;
      await recordAct(tx, act);
      return true;
    });
  }
}

const COLUMNS = ['id', 'kind', 'topic', 'subject_key as subjectKey', 'sealed', 'digest', 'weight', 'written_by as writtenBy', 'created_at as createdAt'] as const;

function asked(where: ExpressionBuilder<Tables, 'memories'>, orgId: string, { kind, topic, subject, tokens }: MemoryFilter) {
  return where.and([
    where('org_id', '=', orgId),
    // The key may be destroyed by somebody who knows nothing of memories.
    where.or([where('subject_key', 'is', null), where.exists(where.selectFrom('subject_keys as k').select('k.id').whereRef('k.org_id', '=', 'memories.org_id').whereRef('k.id', '=', 'memories.subject_key').where('k.wrapped', 'is not', null))]),
    ...(kind === undefined ? [] : [where('kind', '=', kind)]),
    ...(topic === undefined ? [] : [where('topic', '=', topic)]),
    ...(subject === undefined ? [] : [subject === null ? where('subject', 'is', null) : where('subject', '=', subject)]),
    ...(tokens === undefined ? [] : [where('id', 'in', where.selectFrom('memory_words as w').select('w.memory_id').where('w.org_id', '=', orgId).where('w.token', 'in', [...tokens]).groupBy('w.memory_id').having((count) => count.fn.countAll(), '=', tokens.length))]),
  ]);
}
