import { sql, type RawBuilder } from 'kysely';
import type { Database, Tx } from './database.ts';
import type { ShorterRetention } from './retention.ts';

/** Any constant: one dispatcher at a time removes. */
const LOCK = 4_240_000_133;
/** Sessions of one transaction: each may have hundreds of pictures. */
const SESSIONS = 10;
/** Whoever ends a session does so within this time after the end of the run; minutes. */
const GRACE_MINUTES = 10;

/** A blob that no step shows any more: a picture, a page in words, what was compared. */
export interface BrowserBlob {
  readonly orgId: string;
  readonly reference: string;
}

/** Removes browser sessions that have had their time, across all organisations, as hal9_system. */
export class BrowserRetentionStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /**
   * Removes sessions that ended more than `days` days ago, with their steps; a bounded part of them.
   * @param shorter organisations whose plan keeps less.
   * @param removeBlobs removes what only these sessions show; runs before the rows are gone for good, so that a crash in between
   *   leaves a row that is removed again and never a blob that nobody knows.
   * @returns sessions removed; 0 when none is left, or another process is at it.
   */
  async removeAcrossOrganisations(days: number, shorter: readonly ShorterRetention[], removeBlobs: (blobs: readonly BrowserBlob[]) => Promise<void>): Promise<number> {
    let removed = await this.#remove(days, sql`true`, removeBlobs);
    for (const { orgIds, days: most } of shorter) {
      if (most < days) removed += await this.#remove(most, sql`old.org_id = any(${[...orgIds]}::uuid[])`, removeBlobs);
    }
    return removed;
  }

  /** Sessions that nobody ended though their run has ended: it was terminated, or ran out of time. */
  async abandonedAcrossOrganisations(): Promise<{ readonly orgId: string; readonly id: string }[]> {
    const { rows } = await sql<{ orgId: string; id: string }>`
      select s.org_id as "orgId", s.id from browser_sessions s join runs r on r.org_id = s.org_id and r.run_id = s.run_id
      where s.state = 'open' and r.closed_at < now() - make_interval(mins => ${GRACE_MINUTES})
      order by s.created_at limit ${SESSIONS}`.execute(this.#database.system);
    return rows;
  }

  /** Sessions that ended, and of whose checkpoint, answers or proposals something is left: whoever ended them was cut off. */
  async leftBehindAcrossOrganisations(): Promise<{ readonly orgId: string; readonly id: string }[]> {
    const { rows } = await sql<{ orgId: string; id: string }>`
      select s.org_id as "orgId", s.id from (
        select org_id, id from browser_sessions where state <> 'open' and checkpoint is not null
        union select org_id, session_id from browser_answers
        union select org_id, session_id from browser_proposals
      ) as holding join browser_sessions s on s.org_id = holding.org_id and s.id = holding.id
      where s.state <> 'open' and s.closed_at < now() - make_interval(mins => ${GRACE_MINUTES})
      limit ${SESSIONS}`.execute(this.#database.system);
    return rows;
  }

  async #remove(days: number, whose: RawBuilder<unknown>, removeBlobs: (blobs: readonly BrowserBlob[]) => Promise<void>): Promise<number> {
    return this.#database.system.transaction().execute(async (tx) => {
      const { rows: lock } = await sql<{ mine: boolean }>`select pg_try_advisory_xact_lock(${LOCK}) as mine`.execute(tx);
      if (lock[0]?.mine !== true) return 0;
      const { rows: past } = await sql<{ org_id: string; id: string }>`
        select old.org_id, old.id from browser_sessions as old
        where old.closed_at < now() - make_interval(days => ${days}) and ${whose}
        order by old.closed_at limit ${SESSIONS}`.execute(tx);
      if (past.length === 0) return 0;
      const sessions = sql`unnest(${past.map(({ org_id }) => org_id)}::uuid[], ${past.map(({ id }) => id)}::uuid[]) as past (org_id, id)`;
      await removeBlobs(await blobsOf(tx, sessions));
      await sql`delete from browser_sessions as old using ${sessions} where old.org_id = past.org_id and old.id = past.id`.execute(tx);
      return past.length;
    });
  }
}

/** A picture may be that of several steps; a page in words, what was compared and files that were handed to pages are of their session alone. */
async function blobsOf(tx: Tx, sessions: RawBuilder<unknown>): Promise<BrowserBlob[]> {
  const { rows } = await sql<BrowserBlob>`
    select distinct step.org_id as "orgId", step.picture as reference from browser_steps step join ${sessions} on step.org_id = past.org_id and step.session_id = past.id
    where step.picture is not null and not exists (
      select from browser_steps other
      where other.org_id = step.org_id and other.picture = step.picture and (other.org_id, other.session_id) not in (select past.org_id, past.id from ${sessions})
    )
    union select step.org_id, own from browser_steps step join ${sessions} on step.org_id = past.org_id and step.session_id = past.id
      cross join unnest(array[step.snapshot, step.actual, step.baseline, step.difference]) as own where own is not null
    union select step.org_id, handed ->> 'blob' from browser_steps step join ${sessions} on step.org_id = past.org_id and step.session_id = past.id
      cross join jsonb_array_elements(step.files) as handed where handed ->> 'direction' = 'up' and handed ->> 'blob' is not null`.execute(tx);
  return rows;
}
