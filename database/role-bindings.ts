import { sql, type Selectable } from 'kysely';
import { recordAct, type Act } from './audit-acts.ts';
import type { Database } from './database.ts';
import { announceIdentity } from './identity-channel.ts';
import type { IdentityTables } from './identity-tables.ts';

export interface RoleBindingRecord {
  id: string;
  /** Exactly one of user and team is there. */
  userId: string | null;
  teamId: string | null;
  role: string;
  /** See `schemas/rest/roles.ts`. */
  conditions: unknown;
  /** The identity provider whose group mapping made it. */
  providerId: string | null;
  createdAt: Date;
}

export type NewRoleBinding = Pick<RoleBindingRecord, 'id' | 'userId' | 'teamId' | 'role' | 'conditions'>;

export interface RoleBindingFilter {
  userId?: string | undefined;
  teamId?: string | undefined;
  role?: string | undefined;
}

/** Who has which role. */
export class RoleBindingStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /** Newest first. `before` is the (created, id) of the last row of the page before. */
  async list(orgId: string, filter: RoleBindingFilter, limit: number, before?: { createdAt: Date; id: string }): Promise<RoleBindingRecord[]> {
    return this.#database.withOrg(orgId, async (tx) => {
      let query = tx.selectFrom('role_bindings').selectAll().orderBy(sql`date_trunc('milliseconds', created_at)`, 'desc').orderBy('id', 'desc').limit(limit);
      if (filter.userId !== undefined) query = query.where('user_id', '=', filter.userId);
      if (filter.teamId !== undefined) query = query.where('team_id', '=', filter.teamId);
      if (filter.role !== undefined) query = query.where('role', '=', filter.role);
      if (before !== undefined) query = query.where(sql<boolean>`(date_trunc('milliseconds', created_at), id) < (${before.createdAt}, ${before.id}::uuid)`);
      return (await query.execute()).map(record);
    });
  }

  async find(orgId: string, id: string): Promise<RoleBindingRecord | undefined> {
    return this.#database.withOrg(orgId, async (tx) => {
      const row = await tx.selectFrom('role_bindings').selectAll().where('id', '=', id).executeTakeFirst();
      return row === undefined ? undefined : record(row);
    });
  }

  /** @throws a foreign-key violation when the user or team is not there. */
  async insert(orgId: string, binding: NewRoleBinding, act: Act): Promise<RoleBindingRecord> {
    return this.#database.withOrg(orgId, async (tx) => {
      const row = await tx
        .insertInto('role_bindings')
        .values({ org_id: orgId, id: binding.id, user_id: binding.userId, team_id: binding.teamId, role: binding.role, conditions: JSON.stringify(binding.conditions) })
        .returningAll()
        .executeTakeFirstOrThrow();
      await recordAct(tx, act);
      await announceIdentity(tx, orgId);
      return record(row);
    });
  }

  /** @returns undefined when there is none. */
  async setConditions(orgId: string, id: string, conditions: unknown, act: Act): Promise<RoleBindingRecord | undefined> {
    return this.#database.withOrg(orgId, async (tx) => {
      const row = await tx.updateTable('role_bindings').set({ conditions: JSON.stringify(conditions) }).where('id', '=', id).returningAll().executeTakeFirst();
      if (row === undefined) return undefined;
      await recordAct(tx, act);
      await announceIdentity(tx, orgId);
      return record(row);
    });
  }

  async remove(orgId: string, id: string, act: Act): Promise<boolean> {
    return this.#database.withOrg(orgId, async (tx) => {
      const removed = await tx.deleteFrom('role_bindings').where('id', '=', id).returning('id').executeTakeFirst();
      if (removed === undefined) return false;
      await recordAct(tx, act);
      await announceIdentity(tx, orgId);
      return true;
    });
  }
}

function record(row: Selectable<IdentityTables['role_bindings']>): RoleBindingRecord {
  return { id: row.id, userId: row.user_id, teamId: row.team_id, role: row.role, conditions: row.conditions, providerId: row.provider_id, createdAt: row.created_at };
}
