import { sql, type Generated } from 'kysely';
import type { Database } from './database.ts';

export interface OpenRunPlaceTables {
  open_run_places: { org_id: string; run_id: string; taken_at: Generated<Date> };
}

/** Places of open runs where the plan limits them. Those of one organisation are given one after the other. */
export class OpenRunPlaceStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /**
   * Takes a place for a run that is about to start. What was started a moment ago and is not in the read model yet counts, and so does, for a
   * minute, a start that nobody knows the outcome of. A run that is open already needs none; cascades take none.
   * @param most open runs at once.
   * @returns whether there was one.
   */
  async take(orgId: string, runId: string, most: number): Promise<boolean> {
    return this.#database.withOrg(orgId, async (tx) => {
      await sql`select pg_advisory_xact_lock(hashtextextended(${`hal9 open runs ${orgId}`}, 0))`.execute(tx);
      await sql`delete from open_run_places where org_id = ${orgId} and taken_at < clock_timestamp() - interval '1 minute'`.execute(tx);
      const { rows } = await sql<{ open: number; mine: boolean }>`
        select
          (select count(*) from runs where org_id = ${orgId} and status = 'running' and origin <> 'dispatcher')
          + (select count(*) from open_run_places p where p.org_id = ${orgId} and p.run_id <> ${runId}
              and not exists (select from runs r where r.org_id = p.org_id and r.run_id = p.run_id and (r.status = 'running' or r.started_at > p.taken_at - interval '1 second'))) as open,
          exists (select from runs where org_id = ${orgId} and run_id = ${runId} and status = 'running') as mine`.execute(tx);
      const { open = 0, mine = false } = rows[0] ?? {};
      if (mine) return true;
      if (open >= most) return false;
      await tx.insertInto('open_run_places').values({ org_id: orgId, run_id: runId }).onConflict((conflict) => conflict.columns(['org_id', 'run_id']).doUpdateSet({ taken_at: sql<Date>`clock_timestamp()` })).execute();
      return true;
    });
  }

  /** Gives back the place of a start that came to nothing. */
  async release(orgId: string, runId: string): Promise<void> {
    await this.#database.withOrg(orgId, (tx) => tx.deleteFrom('open_run_places').where('org_id', '=', orgId).where('run_id', '=', runId).execute());
  }
}
