import { sql } from 'kysely';
import type { Database, Tx } from './database.ts';
import type { EffectOfDecision } from './cascade-commit.ts';

export type DecisionState = 'none' | 'pending' | 'awaiting-approval' | 'done' | 'refused' | 'failed';

/** A decision with what it rests on and what follows from it. */
export interface StoredDecision {
  readonly id: string;
  readonly batchId: string;
  readonly layer: string;
  readonly neuronId: string;
  readonly neuronVersion: number;
  readonly neuronName: string;
  readonly summary: string;
  readonly reason: string;
  readonly severity: string;
  readonly key: string | null;
  readonly eventTime: Date;
  readonly evidence: unknown;
  /** Ids of signals and emissions. */
  readonly causes: readonly string[];
  /** US dollars, decimal text. */
  readonly costUsd: string;
  /** From the opening of its batch to its commit, microseconds. */
  readonly durationUs: number;
  readonly effect: EffectOfDecision | null;
  readonly state: DecisionState;
  readonly runId: string | null;
  /** Why its effect failed or was refused. */
  readonly effectFailure: string | null;
  readonly createdAt: Date;
}

export interface DecisionFilter {
  readonly neuronId?: string;
  readonly layer?: string;
  readonly severity?: string;
  readonly state?: DecisionState;
  /** Decided at or after. */
  readonly from?: Date;
  /** Decided before. */
  readonly to?: Date;
}

export class DecisionStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /** Newest first. `after` is the last decision of the page before. */
  async list(orgId: string, filter: DecisionFilter, limit: number, after?: { createdAt: Date; id: string }): Promise<StoredDecision[]> {
    return this.#database.withOrg(orgId, async (tx) => {
      let query = selectDecisions(tx).orderBy('created_at', 'desc').orderBy('id', 'desc').limit(limit);
      if (filter.neuronId !== undefined) query = query.where('neuron_id', '=', filter.neuronId);
      if (filter.layer !== undefined) query = query.where('layer', '=', filter.layer);
      if (filter.severity !== undefined) query = query.where('severity', '=', filter.severity);
      if (filter.state !== undefined) query = query.where('state', '=', filter.state);
      if (filter.from !== undefined) query = query.where('created_at', '>=', filter.from);
      if (filter.to !== undefined) query = query.where('created_at', '<', filter.to);
      if (after !== undefined) query = query.where(sql<boolean>`(created_at, id) < (${after.createdAt}, ${after.id}::uuid)`);
      return (await query.execute()).map(stored);
    });
  }

  async find(orgId: string, id: string): Promise<StoredDecision | undefined> {
    return this.#database.withOrg(orgId, async (tx) => {
      const row = await selectDecisions(tx).where('id', '=', id).executeTakeFirst();
      return row === undefined ? undefined : stored(row);
    });
  }

  /** Decisions that rest on any of these signals and emissions, oldest first. */
  async restingOn(orgId: string, causes: readonly string[], limit: number): Promise<StoredDecision[]> {
    return this.#database.withOrg(orgId, async (tx) => {
      const rows = await selectDecisions(tx).where(sql<boolean>`causes && ${[...causes]}::uuid[]`).orderBy('created_at').orderBy('id').limit(limit).execute();
      return rows.map(stored);
    });
  }

  /**
   * What became of the one signal of an interactive batch: its batch's state, and all decisions that rest on the signal or on what
   * was emitted for it, those of an earlier batch included that a cooldown made the same.
   */
  async ofBatch(orgId: string, batchId: string, signalId: string): Promise<{ state: 'open' | 'decided' | 'failed'; failure: string | null; decisions: StoredDecision[] } | undefined> {
    // Somebody waits for this answer.
    const rows = await this.#database.oneFlight<BatchAnswerRow>(orgId, {
      name: 'decisions-of-batch',
      text: `select b.state as batch_state, b.failure as batch_failure, d.*
             from batches b left join lateral (
               select * from decisions where causes && (array[$2::uuid] || array(select id from emissions where batch_id = b.id))
             ) d on true
             where b.id = $1 order by d.created_at, d.id`,
      values: [batchId, signalId],
    });
    const [batch] = rows;
    if (batch === undefined) return undefined;
    return { state: batch.batch_state, failure: batch.batch_failure, decisions: rows.flatMap((row) => (row.id === null ? [] : [stored(row)])) };
  }
}

function selectDecisions(tx: Tx) {
  return tx.selectFrom('decisions').selectAll();
}

type BatchAnswerRow = { batch_state: 'open' | 'decided' | 'failed'; batch_failure: string | null } & (DecisionRow | { id: null });

type DecisionRow = Awaited<ReturnType<ReturnType<typeof selectDecisions>['execute']>>[number];

function stored(row: DecisionRow): StoredDecision {
  return {
    id: row.id,
    batchId: row.batch_id,
    layer: row.layer,
    neuronId: row.neuron_id,
    neuronVersion: row.neuron_version,
    neuronName: row.neuron_name,
    summary: row.summary,
    reason: row.reason,
    severity: row.severity,
    key: row.dedup_key,
    eventTime: row.event_time,
    evidence: row.evidence,
    causes: row.causes,
    costUsd: row.cost_usd,
    durationUs: row.duration_us,
    effect: row.effect,
    state: row.state,
    runId: row.run_id,
    effectFailure: row.effect_failure,
    createdAt: row.created_at,
  };
}
