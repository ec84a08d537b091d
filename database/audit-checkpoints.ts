import { sql } from 'kysely';
import type { LeafRange } from '../schemas/audit/tree.ts';
import { rootsOf, type TreeHead } from './audit-log.ts';
import { treeOf } from './audit-sequencer.ts';
import type { Database } from './database.ts';

export interface NewCheckpoint {
  readonly size: bigint;
  /** Signed and cosigned. */
  readonly note: string;
  readonly signer: string;
  readonly witness: string;
}

/** An organisation's log, locked for one checkpoint at a time. */
export interface CheckpointWork {
  readonly head: TreeHead;
  readonly roots: (ranges: readonly LeafRange[]) => Promise<Uint8Array[]>;
}

/** Copies of checkpoints, of all organisations. */
export class AuditCheckpointStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /** Organisations whose log grew, or shrank, since its last checkpoint. */
  async dueOfAllOrganisations(limit: number): Promise<string[]> {
    const { rows } = await sql<{ org_id: string }>`
      select t.org_id from audit_trees t
      left join lateral (select size from audit_checkpoints c where c.org_id = t.org_id order by size desc limit 1) c on true
      where t.size <> coalesce(c.size, 0) limit ${limit}`.execute(this.#database.system);
    return rows.map((row) => row.org_id);
  }

  /** Logs that have entries. */
  async logsOfAllOrganisations(): Promise<string[]> {
    const rows = await this.#database.system.selectFrom('audit_trees').select('org_id').where('size', '>', 0).orderBy('org_id').execute();
    return rows.map((row) => row.org_id);
  }

  /**
   * Lets one process at a time make a checkpoint of a log, and keeps what it made.
   * @returns false when another process is at it.
   */
  async checkpointAcrossOrganisations(orgId: string, work: (log: CheckpointWork) => Promise<NewCheckpoint | undefined>): Promise<boolean> {
    return this.#database.system.transaction().execute(async (tx) => {
      const lock = await sql<{ taken: boolean }>`select pg_try_advisory_xact_lock(hashtextextended(${`hal9 audit checkpoint ${orgId}`}, 0)) as taken`.execute(tx);
      if (lock.rows[0]?.taken !== true) return false;
      const row = await tx.selectFrom('audit_trees').select(['size', 'roots']).where('org_id', '=', orgId).executeTakeFirst();
      const tree = treeOf(row ?? { size: 0, roots: Buffer.alloc(0) });
      const made = await work({ head: { size: tree.size, root: tree.root }, roots: (ranges) => rootsOf(tx, orgId, ranges) });
      if (made === undefined) return true;
      await tx
        .insertInto('audit_checkpoints')
        .values({ org_id: orgId, size: Number(made.size), note: made.note, signer: made.signer, witness: made.witness })
        .onConflict((conflict) => conflict.doNothing())
        .execute();
      return true;
    });
  }
}
