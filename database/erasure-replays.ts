import type { ErasureStatement } from '../schemas/privacy/receipt.ts';
import { recordAct, type Act } from './audit-acts.ts';
import type { Database } from './database.ts';

/** An erasure that was complete: the source must not know these people. */
export interface CompletedErasure {
  readonly orgId: string;
  readonly erasureId: string;
  /** Keyed hashes of the identities. */
  readonly subjects: readonly Buffer[];
}

const PAGE = 1_000;

/** The ledger of erasures, read to do them again after a backup was restored. */
export class ErasureReplayStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /** All that were complete, oldest first. */
  async complete(orgId: string): Promise<CompletedErasure[]> {
    const found: CompletedErasure[] = [];
    for (let after: string | undefined; ; ) {
      const rows = await this.#database.withOrg(orgId, async (tx) => {
        const query = tx.selectFrom('erasures').select(['id', 'subjects']).where('state', '=', 'complete').orderBy('id').limit(PAGE);
        return (after === undefined ? query : query.where('id', '>', after)).execute();
      });
      found.push(...rows.map(({ id, subjects }) => ({ orgId, erasureId: id, subjects })));
      after = rows.at(-1)?.id;
      if (rows.length < PAGE) return found;
    }
  }

  /** Writes down what a receipt proves and a restored ledger does not know. @returns whether it was unknown. */
  async restore({ orgId, erasureId, subjects, requestedAt, finishedAt, kept, tables }: ErasureStatement, receipt: string, act: Act): Promise<boolean> {
    return this.#database.withOrg(orgId, async (tx) => {
      const values = { state: 'complete' as const, finished_at: new Date(finishedAt), kept: JSON.stringify(kept), receipt };
      const made = await tx
        .insertInto('erasures')
        .values({ org_id: orgId, id: erasureId, subjects: subjects.map((hash) => Buffer.from(hash, 'hex')), verification: 'proven by its receipt', requested_at: new Date(requestedAt), requested_by: 'system:privacy', due_at: new Date(finishedAt), ...values })
        // One that the backup knows as open was completed since.
        .onConflict((conflict) => conflict.columns(['org_id', 'id']).doUpdateSet({ ...values, reasons: [] }).where('erasures.finished_at', 'is', null))
        .returning('id')
        .executeTakeFirst();
      if (made === undefined) return false;
      await tx.deleteFrom('erasure_subjects').where('erasure_id', '=', erasureId).execute();
      await tx.deleteFrom('erasure_tables').where('erasure_id', '=', erasureId).execute();
      if (tables.length > 0) {
        await tx
          .insertInto('erasure_tables')
          .values(tables.map(({ source, table, method, why, rows, shared }) => ({ org_id: orgId, erasure_id: erasureId, source, table_name: table, method, why, planned: rows, changed: rows, shared })))
          .execute();
      }
      await recordAct(tx, act);
      return true;
    });
  }

  async record(act: Act): Promise<void> {
    await this.#database.withOrg(act.orgId, (tx) => recordAct(tx, act));
  }
}
