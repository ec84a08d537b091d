import { sql } from 'kysely';
import { recordAct, type Act } from './audit-acts.ts';
import type { Database } from './database.ts';

/** A run that waits for its beginning. */
export interface DelayedStart {
  readonly orgId: string;
  readonly runId: string;
  /** Temporal's id of the execution. */
  readonly execution: string;
  readonly actorKind: 'api-key' | 'service' | 'user';
  /** The key, also behind a service token, or the person. */
  readonly actorId: string;
  /** Organisation of the person; that of the run for keys. */
  readonly actorOrgId: string;
  readonly beginsAt: Date;
}

export interface DelayedStartTables {
  delayed_starts: { org_id: string; run_id: string; execution: string; actor_kind: DelayedStart['actorKind']; actor_id: string; actor_org: string; begins_at: Date };
}

/** Deeper lines of organisations are never made; reading stops there whatever the rows say. */
const DEEPEST = 32;

/**
 * A key that has expired or was replaced is not among what has ended: it was good when it asked, and nobody took it back. A rotation
 * would otherwise stop what a service had planned.
 */
const ENDED = `
select d.org_id, d.run_id, d.execution from delayed_starts d, lateral (
  with recursive line as (
    select o.org_id, o.parent_id, o.suspended_at, 0 as depth from organisations o where o.org_id = d.org_id
    union all
    select o.org_id, o.parent_id, o.suspended_at, line.depth + 1 from line join organisations o on o.org_id = line.parent_id where line.depth < ${DEEPEST}
  )
  select array_agg(org_id) as ids, bool_or(suspended_at is not null) as suspended from line
) above
where d.begins_at > now() and (
  above.suspended
  or (d.actor_kind = 'user' and not (d.actor_org = any (above.ids) and exists (select from users u where u.org_id = d.actor_org and u.id = d.actor_id and u.active)))
  or (d.actor_kind <> 'user' and not exists (
    select from api_keys k where k.org_id = d.actor_org and k.id = d.actor_id and k.revoked_at is null
      and (k.created_by_user is null or (k.created_by_org = any (above.ids) and exists (select from users u where u.org_id = k.created_by_org and u.id = k.created_by_user and u.active)))
  ))
) order by d.begins_at limit $1`;

/** Runs that wait for their beginning. What has ended is looked for in all organisations at once. */
export class DelayedStartStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /** Notes a start; a later one under the same run id takes its place. */
  async add(start: DelayedStart): Promise<void> {
    const { orgId, runId, execution, actorKind, actorId, actorOrgId, beginsAt } = start;
    const row = { execution, actor_kind: actorKind, actor_id: actorId, actor_org: actorOrgId, begins_at: beginsAt };
    await this.#database.withOrg(orgId, (tx) =>
      tx
        .insertInto('delayed_starts')
        .values({ org_id: orgId, run_id: runId, ...row })
        .onConflict((conflict) => conflict.columns(['org_id', 'run_id']).doUpdateSet(row))
        .execute(),
    );
  }

  /** Starts whose key was revoked, whose person is gone or inactive, or whose organisation is suspended. Soonest first. */
  async endedAcrossOrganisations(limit: number): Promise<Pick<DelayedStart, 'orgId' | 'runId' | 'execution'>[]> {
    const { rows } = await this.#database.systemPool.query<{ org_id: string; run_id: string; execution: string }>({ name: 'delayed-starts-ended', text: ENDED, values: [limit] });
    return rows.map((row) => ({ orgId: row.org_id, runId: row.run_id, execution: row.execution }));
  }

  /** Forgets a start that was stopped. @returns false when another process did. */
  async removeAcrossOrganisations({ orgId, runId, execution }: Pick<DelayedStart, 'orgId' | 'runId' | 'execution'>, act: Act): Promise<boolean> {
    return this.#database.system.transaction().execute(async (tx) => {
      const { numDeletedRows } = await tx.deleteFrom('delayed_starts').where('org_id', '=', orgId).where('run_id', '=', runId).where('execution', '=', execution).executeTakeFirstOrThrow();
      if (numDeletedRows === 0n) return false;
      await recordAct(tx, act);
      return true;
    });
  }

  /** Forgets starts that have begun. @returns how many. */
  async removeBegunAcrossOrganisations(): Promise<number> {
    const { numDeletedRows } = await this.#database.system.deleteFrom('delayed_starts').where('begins_at', '<=', sql<Date>`now()`).executeTakeFirstOrThrow();
    return Number(numDeletedRows);
  }
}
