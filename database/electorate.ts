import { sql } from 'kysely';
import type { Database } from './database.ts';

/** Deeper teams are never made; reading stops there whatever the rows say. */
const DEEPEST = 32;

/** What decides who may answer an approval. */
export class ElectorateStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /** The person's teams and the teams above those. */
  async teamsOf(orgId: string, userId: string): Promise<string[]> {
    const { rows } = await this.#database.withOrg(orgId, (tx) =>
      sql<{ id: string }>`
        with recursive own as (
          select t.id, t.parent_id, 0 as depth from team_members m join teams t on t.org_id = m.org_id and t.id = m.team_id where m.org_id = ${orgId} and m.user_id = ${userId}
          union
          select t.id, t.parent_id, o.depth + 1 from own o join teams t on t.org_id = ${orgId} and t.id = o.parent_id where o.depth < ${DEEPEST}
        ) select distinct id from own`.execute(tx),
    );
    return rows.map(({ id }) => id);
  }

  /** The person for whom a key was made; undefined for one that stands for itself. */
  async makerOfKey(orgId: string, keyId: string): Promise<string | undefined> {
    const row = await this.#database.withOrg(orgId, (tx) => tx.selectFrom('api_keys').select('created_by_user').where('org_id', '=', orgId).where('id', '=', keyId).executeTakeFirst());
    return row?.created_by_user ?? undefined;
  }

  /** How people call these teams and users. */
  async names(orgId: string, teams: readonly string[], users: readonly string[]): Promise<ReadonlyMap<string, string>> {
    const { rows } = await this.#database.withOrg(orgId, (tx) =>
      sql<{ id: string; name: string }>`
        select id, name from teams where org_id = ${orgId} and id = any (${[...teams]}::uuid[])
        union all select id, coalesce(display_name, user_name) from users where org_id = ${orgId} and id = any (${[...users]}::uuid[])`.execute(tx),
    );
    return new Map(rows.map(({ id, name }) => [id, name]));
  }
}
