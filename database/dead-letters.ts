import { sql } from 'kysely';
import { recordAct, type Act } from './audit-acts.ts';
import type { Database } from './database.ts';
import type { SignalRow } from './signals.ts';

/** What no neuron could work off, with the cause. */
export interface DeadLetter {
  readonly id: string;
  readonly batchId: string;
  readonly layer: string;
  /** The signal's id, or that of an emission. */
  readonly ref: string;
  readonly neuronId: string | null;
  readonly neuronVersion: number | null;
  readonly failure: string;
  readonly cause: string;
  readonly createdAt: Date;
  readonly replayedAt: Date | null;
}

/** A place in the list, newest first. */
export interface DeadLetterPosition {
  readonly createdAt: string;
  readonly id: string;
}


export class DeadLetterStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /** Newest first. @param replayed only those that were (true) or were not (false) sent again. */
  async list(orgId: string, options: { limit: number; replayed?: boolean; after?: DeadLetterPosition }): Promise<{ letters: DeadLetter[]; next: DeadLetterPosition | undefined }> {
    const { limit, replayed, after } = options;
    const rows = await this.#database.withOrg(orgId, (tx) => {
      let query = tx
        .selectFrom('dead_letters')
        .select(['id', 'batch_id as batchId', 'layer', 'ref', 'neuron_id as neuronId', 'neuron_version as neuronVersion', 'failure', 'cause', 'created_at as createdAt', 'replayed_at as replayedAt'])
        // Microseconds, which a Date would lose.
        .select(sql<string>`created_at::text`.as('position'))
        .where('org_id', '=', orgId);
      if (replayed !== undefined) query = query.where('replayed_at', replayed ? 'is not' : 'is', null);
      if (after !== undefined) query = query.where(sql<boolean>`(created_at, id) < (${after.createdAt}::timestamptz, ${after.id}::uuid)`);
      return query.orderBy('created_at', 'desc').orderBy('id', 'desc').limit(limit).execute();
    });
    const last = rows.at(-1);
    const next = last !== undefined && rows.length === limit ? { createdAt: last.position, id: last.id } : undefined;
    return { letters: rows, next };
  }

  async find(orgId: string, id: string): Promise<DeadLetter | undefined> {
    return this.#database.withOrg(orgId, (tx) =>
      tx
        .selectFrom('dead_letters')
        .select(['id', 'batch_id as batchId', 'layer', 'ref', 'neuron_id as neuronId', 'neuron_version as neuronVersion', 'failure', 'cause', 'created_at as createdAt', 'replayed_at as replayedAt'])
        .where('org_id', '=', orgId)
        .where('id', '=', id)
        .executeTakeFirst(),
    );
  }

  /**
   * Marks a letter as replayed. Only one of several callers gets true.
   * @returns false when it was replayed before.
   */
  async claimReplay(orgId: string, id: string, act: Act): Promise<boolean> {
    return this.#database.withOrg(orgId, async (tx) => {
      const result = await tx.updateTable('dead_letters').set({ replayed_at: new Date() }).where('org_id', '=', orgId).where('id', '=', id).where('replayed_at', 'is', null).executeTakeFirst();
      if (result.numUpdatedRows === 0n) return false;
      await recordAct(tx, act);
      return true;
    });
  }

  /** Takes the mark back, when the signal could not go in after all. */
  async releaseReplay(orgId: string, id: string, act: Act): Promise<void> {
    await this.#database.withOrg(orgId, async (tx) => {
      await tx.updateTable('dead_letters').set({ replayed_at: null }).where('org_id', '=', orgId).where('id', '=', id).execute();
      await recordAct(tx, act);
    });
  }

  /** The signals a letter rests on: its own, or for an emission the causes of it. Empty when they are gone. */
  async signalsOf(orgId: string, letter: DeadLetter): Promise<SignalRow[]> {
    return this.#database.withOrg(orgId, async (tx) => {
      const { rows } = await sql<SignalRow>`
        with recursive roots (ref) as (
          select ${letter.ref}::uuid
          union
          select unnest(e.causes) from emissions e join roots on e.id = roots.ref where e.org_id = ${orgId}
        )
        select replace(s.key::text, '-', '') as key, c.lane, s.source, s.type, s.envelope,
          to_char(s.time at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as time
        from roots join signal_keys k on k.org_id = ${orgId} and k.key = roots.ref
          join signals s on s.org_id = k.org_id and s.received_on = k.received_on and s.chunk_id = k.chunk_id and s.ordinal = k.ordinal
          join chunks c on c.org_id = k.org_id and c.id = k.chunk_id
        order by s.received_on, s.chunk_id, s.ordinal`.execute(tx);
      return rows;
    });
  }
}
