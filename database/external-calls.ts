import type pg from 'pg';
import type { NeuronSignal } from '../neurons/layer.ts';
import type { Layer } from '../schemas/names/layers.ts';
import type { Database } from './database.ts';

/** A call that a neuron of a batch asked for. */
export interface StoredCall {
  readonly id: string;
  readonly batchId: string;
  readonly layer: Layer;
  readonly neuronId: string;
  readonly neuronVersion: number;
  readonly signal: NeuronSignal;
  /** Undefined while there is none. */
  readonly outcome: CallOutcome | undefined;
}

/** What a call came to. `costUsd` is decimal text. */
export type CallOutcome =
  | { readonly fallback: false; readonly answer: unknown; readonly costUsd: string }
  | { readonly fallback: true; readonly reason: string; readonly costUsd: string };

interface CallRow {
  id: string;
  batch_id: string;
  layer: Layer;
  neuron_id: string;
  neuron_version: number;
  signal: NeuronSignal;
  answer: unknown;
  fallback: string | null;
  cost_usd: string;
  answered_at: Date | null;
}

const COLUMNS = 'id, batch_id, layer, neuron_id, neuron_version, signal, answer, fallback, cost_usd, answered_at';

/** All calls a layer of a batch asked for, in order. */
export async function readCalls(client: pg.ClientBase, batchId: string, layer: Layer): Promise<StoredCall[]> {
  const { rows } = await client.query<CallRow>(`select ${COLUMNS} from external_calls where org_id = hal9_org() and batch_id = $1 and layer = $2 order by ordinal`, [batchId, layer]);
  return rows.map(stored);
}

/** Calls of neurons that leave the process. */
export class ExternalCallStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /** Ids of the calls of a layer that have no answer yet, in order. */
  async unanswered(orgId: string, batchId: string, layer: Layer, limit: number): Promise<string[]> {
    return this.#database.withOrgClient(orgId, async (client) => {
      const { rows } = await client.query<{ id: string }>(
        'select id from external_calls where org_id = hal9_org() and batch_id = $1 and layer = $2 and answered_at is null order by ordinal limit $3',
        [batchId, layer, limit],
      );
      return rows.map((row) => row.id);
    });
  }

  async find(orgId: string, id: string): Promise<StoredCall | undefined> {
    return this.#database.withOrgClient(orgId, async (client) => {
      const { rows } = await client.query<CallRow>(`select ${COLUMNS} from external_calls where org_id = hal9_org() and id = $1`, [id]);
      return rows[0] === undefined ? undefined : stored(rows[0]);
    });
  }

  /** Stores what a call came to, once: a later outcome of the same call changes nothing. */
  async settle(orgId: string, id: string, outcome: CallOutcome): Promise<void> {
    await this.#database.withOrgClient(orgId, (client) =>
      client.query(
        'update external_calls set answer = $2, fallback = $3, cost_usd = $4, answered_at = now() where org_id = hal9_org() and id = $1 and answered_at is null',
        [id, outcome.fallback ? null : JSON.stringify(outcome.answer ?? null), outcome.fallback ? outcome.reason : null, outcome.costUsd],
      ),
    );
  }
}

function stored(row: CallRow): StoredCall {
  return { id: row.id, batchId: row.batch_id, layer: row.layer, neuronId: row.neuron_id, neuronVersion: row.neuron_version, signal: row.signal, outcome: outcomeOf(row) };
}

function outcomeOf(row: CallRow): CallOutcome | undefined {
  if (row.answered_at === null) return undefined;
  if (row.fallback !== null) return { fallback: true, reason: row.fallback, costUsd: row.cost_usd };
  return { fallback: false, answer: row.answer, costUsd: row.cost_usd };
}
