import { sql, type ColumnType } from 'kysely';
import { settleBudget, type Amount } from './budgets.ts';
import type { Database } from './database.ts';
import type { Neuron } from '../schemas/neurons/definition.ts';
import type { Timestamp } from './organisations.ts';

export interface NeuronCallTables {
  neuron_calls: {
    org_id: string;
    batch_id: string;
    neuron_id: string;
    neuron_version: number;
    input_hash: Buffer;
    context: string;
    cost_usd: ColumnType<string, string, string>;
    input_tokens: number;
    output_tokens: number;
    duration_ms: number;
    created_at: Timestamp;
  };
}

/** What makes two calls the same call. */
export interface CallKey {
  batchId: string;
  neuronId: string;
  neuronVersion: number;
  /** SHA-256 over what is sent. */
  inputHash: Buffer;
}

export interface CallRecord {
  /** Reference of the blob that holds {input, answer}. */
  context: string;
  /** Decimal text. */
  costUsd: string;
  inputTokens: number;
  outputTokens: number;
  durationMs: number;
}

/** Answers that were paid for: a retry of a batch reads them. */
export class NeuronCallStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /** The neuron as it was at one version. */
  async neuronAt(orgId: string, neuronId: string, version: number): Promise<Neuron | undefined> {
    return this.#database.withOrg(orgId, async (tx) => {
      const row = await tx.selectFrom('neuron_versions').select('draft').where('neuron_id', '=', neuronId).where('version', '=', version).executeTakeFirst();
      return row === undefined ? undefined : { ...row.draft, id: neuronId, version };
    });
  }

  async find(orgId: string, key: CallKey): Promise<CallRecord | undefined> {
    return this.#database.withOrg(orgId, async (tx) => {
      const row = await tx
        .selectFrom('neuron_calls')
        .selectAll()
        .where('batch_id', '=', key.batchId)
        .where('neuron_id', '=', key.neuronId)
        .where('neuron_version', '=', key.neuronVersion)
        .where('input_hash', '=', key.inputHash)
        .executeTakeFirst();
      return row === undefined
        ? undefined
        : { context: row.context, costUsd: row.cost_usd, inputTokens: row.input_tokens, outputTokens: row.output_tokens, durationMs: row.duration_ms };
    });
  }

  /** Remembers an answer and settles its reservation in one transaction; of two attempts at the same call the first is kept, both are paid. */
  async remember(orgId: string, key: CallKey, call: CallRecord, settlement?: { reservation: string; actual: Amount }): Promise<void> {
    await this.#database.withOrg(orgId, async (tx) => {
      if (settlement !== undefined) await settleBudget(tx, orgId, settlement.reservation, settlement.actual);
      await tx
        .insertInto('neuron_calls')
        .values({
          org_id: orgId,
          batch_id: key.batchId,
          neuron_id: key.neuronId,
          neuron_version: key.neuronVersion,
          input_hash: key.inputHash,
          context: call.context,
          cost_usd: call.costUsd,
          input_tokens: call.inputTokens,
          output_tokens: call.outputTokens,
          duration_ms: call.durationMs,
          created_at: sql<Date>`now()`,
        })
        .onConflict((conflict) => conflict.doNothing())
        .execute();
    });
  }
}
