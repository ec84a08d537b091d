import { sql, type Selectable } from 'kysely';
import { recordAct, type Act } from './audit-acts.ts';
import type { Database, Tx } from './database.ts';
import { announceIdentity } from './identity-channel.ts';
import type { IdentityTables } from './identity-tables.ts';

export interface TeamRecord {
  id: string;
  name: string;
  parentId: string | null;
  externalId: string | null;
  /** Own toggles only, by feature; what holds comes from the teams above too. */
  features: Readonly<Record<string, boolean>>;
  createdAt: Date;
  updatedAt: Date;
}

export type NewTeam = Pick<TeamRecord, 'id' | 'name' | 'parentId' | 'externalId' | 'features'>;
export type TeamChange = Partial<Omit<NewTeam, 'id'>>;

export interface TeamShare {
  kind: string;
  id: string;
  access: 'read' | 'write';
}

export interface TeamFilter {
  parentId?: string | undefined;
  /** Teams this user is a member of, not those above them. */
  userId?: string | undefined;
}

/** Who is below whom, by team id. */
export type TeamTree = ReadonlyMap<string, string | null>;

/** Teams of one organisation. */
export class TeamStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /** By age. `after` is the (created, id) of the last row of the page before. */
  async list(orgId: string, filter: TeamFilter, limit: number, after?: { createdAt: Date; id: string }): Promise<TeamRecord[]> {
    return this.#database.withOrg(orgId, async (tx) => {
      let query = tx.selectFrom('teams').selectAll().orderBy(sql`date_trunc('milliseconds', created_at)`).orderBy('id').limit(limit);
      if (filter.parentId !== undefined) query = query.where('parent_id', '=', filter.parentId);
      if (filter.userId !== undefined) query = query.where('id', 'in', tx.selectFrom('team_members').select('team_id').where('user_id', '=', filter.userId));
      if (after !== undefined) query = query.where(sql<boolean>`(date_trunc('milliseconds', created_at), id) > (${after.createdAt}, ${after.id}::uuid)`);
      return (await query.execute()).map(record);
    });
  }

  async find(orgId: string, id: string): Promise<TeamRecord | undefined> {
    return this.#database.withOrg(orgId, async (tx) => {
      const row = await tx.selectFrom('teams').selectAll().where('id', '=', id).executeTakeFirst();
      return row === undefined ? undefined : record(row);
    });
  }

  /** @param check throws when the team may not stand where it is put; sees the tree as nobody else can change it. */
  async insert(orgId: string, team: NewTeam, act: Act, check: (tree: TeamTree) => void): Promise<TeamRecord> {
    return this.#database.withOrg(orgId, async (tx) => {
      check(await lockedTree(tx, orgId));
      const row = await tx
        .insertInto('teams')
        .values({ org_id: orgId, id: team.id, name: team.name, parent_id: team.parentId, external_id: team.externalId, features: JSON.stringify(team.features) })
        .returningAll()
        .executeTakeFirstOrThrow();
      await recordAct(tx, act);
      await announceIdentity(tx, orgId);
      return record(row);
    });
  }

  /** As `insert`. @returns undefined when there is none. */
  async change(orgId: string, id: string, change: TeamChange, act: Act, check: (tree: TeamTree) => void): Promise<TeamRecord | undefined> {
    return this.#database.withOrg(orgId, async (tx) => {
      check(await lockedTree(tx, orgId));
      const row = await tx
        .updateTable('teams')
        .set({
          ...(change.name === undefined ? {} : { name: change.name }),
          ...(change.parentId === undefined ? {} : { parent_id: change.parentId }),
          ...(change.externalId === undefined ? {} : { external_id: change.externalId }),
          ...(change.features === undefined ? {} : { features: JSON.stringify(change.features) }),
          updated_at: sql<Date>`now()`,
        })
        .where('id', '=', id)
        .returningAll()
        .executeTakeFirst();
      if (row === undefined) return undefined;
      await recordAct(tx, act);
      await announceIdentity(tx, orgId);
      return record(row);
    });
  }

  /** Deletes a team with its memberships, bindings and shares. @throws a foreign-key violation while teams are below it. */
  async remove(orgId: string, id: string, act: Act): Promise<boolean> {
    return this.#database.withOrg(orgId, async (tx) => {
      await lockedTree(tx, orgId);
      const removed = await tx.deleteFrom('teams').where('id', '=', id).returning('id').executeTakeFirst();
      if (removed === undefined) return false;
      await recordAct(tx, act);
      await announceIdentity(tx, orgId);
      return true;
    });
  }

  async children(orgId: string, id: string): Promise<string[]> {
    return this.#database.withOrg(orgId, async (tx) => (await tx.selectFrom('teams').select('id').where('parent_id', '=', id).execute()).map((row) => row.id));
  }

  /** Ids of the members of the team itself. */
  async members(orgId: string, id: string): Promise<string[]> {
    return this.#database.withOrg(orgId, async (tx) => (await tx.selectFrom('team_members').select('user_id').where('team_id', '=', id).orderBy('user_id').execute()).map((row) => row.user_id));
  }

  /** Adds and removes members in one step. @throws a foreign-key violation for a user or team that is not there. */
  async changeMembers(orgId: string, id: string, change: { add: readonly string[]; remove: readonly string[] }, act: Act): Promise<void> {
    await this.#database.withOrg(orgId, async (tx) => {
      if (change.add.length > 0) {
        await tx
          .insertInto('team_members')
          .values(change.add.map((userId) => ({ org_id: orgId, team_id: id, user_id: userId })))
          .onConflict((conflict) => conflict.doNothing())
          .execute();
      }
      if (change.remove.length > 0) await tx.deleteFrom('team_members').where('team_id', '=', id).where('user_id', 'in', [...change.remove]).execute();
      await recordAct(tx, act);
      await announceIdentity(tx, orgId);
    });
  }

  async shares(orgId: string, id: string): Promise<TeamShare[]> {
    return this.#database.withOrg(orgId, async (tx) => {
      const rows = await tx.selectFrom('team_shares').select(['resource_kind', 'resource_id', 'access']).where('team_id', '=', id).orderBy('resource_kind').orderBy('resource_id').execute();
      return rows.map((row) => ({ kind: row.resource_kind, id: row.resource_id, access: row.access }));
    });
  }

  async share(orgId: string, id: string, share: TeamShare, act: Act): Promise<void> {
    await this.#database.withOrg(orgId, async (tx) => {
      await tx
        .insertInto('team_shares')
        .values({ org_id: orgId, team_id: id, resource_kind: share.kind, resource_id: share.id, access: share.access })
        .onConflict((conflict) => conflict.columns(['org_id', 'team_id', 'resource_kind', 'resource_id']).doUpdateSet({ access: share.access }))
        .execute();
      await recordAct(tx, act);
      await announceIdentity(tx, orgId);
    });
  }

  async unshare(orgId: string, id: string, share: Pick<TeamShare, 'kind' | 'id'>, act: Act): Promise<boolean> {
    return this.#database.withOrg(orgId, async (tx) => {
      const removed = await tx.deleteFrom('team_shares').where('team_id', '=', id).where('resource_kind', '=', share.kind).where('resource_id', '=', share.id).returning('team_id').executeTakeFirst();
      if (removed === undefined) return false;
      await recordAct(tx, act);
      await announceIdentity(tx, orgId);
      return true;
    });
  }

  /** The toggles of a user's teams, each line from the team itself up. */
  async featureLines(orgId: string, userId: string): Promise<Readonly<Record<string, boolean>>[][]> {
    return this.#database.withOrg(orgId, async (tx) => {
      const { rows } = await sql<{ line: Record<string, boolean>[] }>`
        with recursive line as (
          select t.id as team, t.parent_id, t.features, 0 as depth from team_members m join teams t on t.org_id = m.org_id and t.id = m.team_id where m.user_id = ${userId}
          union all
          select l.team, t.parent_id, t.features, l.depth + 1 from line l join teams t on t.id = l.parent_id where l.depth < 32
        )
        select jsonb_agg(features order by depth) as line from line group by team order by team`.execute(tx);
      return rows.map((row) => row.line);
    });
  }
}

/** One change of an organisation's teams at a time, so that two moves cannot make a ring together. */
export async function lockedTree(tx: Tx, orgId: string): Promise<TeamTree> {
  await sql`select pg_advisory_xact_lock(hashtextextended('teams ' || ${orgId}, 0))`.execute(tx);
  const rows = await tx.selectFrom('teams').select(['id', 'parent_id']).execute();
  return new Map(rows.map((row) => [row.id, row.parent_id]));
}

function record(row: Selectable<IdentityTables['teams']>): TeamRecord {
  return { id: row.id, name: row.name, parentId: row.parent_id, externalId: row.external_id, features: toggles(row.features), createdAt: row.created_at, updatedAt: row.updated_at };
}

function toggles(value: unknown): Record<string, boolean> {
  if (typeof value !== 'object' || value === null) return {};
  return Object.fromEntries(Object.entries(value).filter((entry): entry is [string, boolean] => typeof entry[1] === 'boolean'));
}
