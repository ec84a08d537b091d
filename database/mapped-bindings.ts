import { randomUUID } from 'node:crypto';
import { sql } from 'kysely';
import { recordAct, type Act } from './audit-acts.ts';
import type { Database, Tx } from './database.ts';
import { announceIdentity } from './identity-channel.ts';

export interface MappedRoles {
  readonly orgId: string;
  readonly userId: string;
  readonly providerId: string;
  /** The roles that the provider's groups give now. */
  readonly roles: readonly string[];
}

export interface MappedChange {
  readonly added: readonly string[];
  readonly removed: readonly string[];
}

/** Roles that a person has because of groups at an identity provider: the bindings that carry the provider's id. */
export class MappedBindingStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /**
   * Makes the provider's bindings of the person what `roles` says; bindings that people made are left alone. The organisation's last
   * owner stays owner.
   * @param actOf writes down what changed; not asked when nothing did.
   */
  async reconcile({ orgId, userId, providerId, roles }: MappedRoles, actOf: (change: MappedChange) => Act): Promise<MappedChange> {
    return this.#database.withOrg(orgId, async (tx) => {
      // Two sign-ins of one person at once would both add what is missing.
      await tx.selectFrom('users').select('id').where('id', '=', userId).forUpdate().execute();
      const bound = await tx.selectFrom('role_bindings').select(['id', 'role', 'user_id', 'provider_id']).where('user_id', '=', userId).where('provider_id', '=', providerId).execute();
      const added = [...new Set(roles)].filter((role) => !bound.some((binding) => binding.role === role));
      const surplus = bound.filter(({ role }) => !roles.includes(role));
      if (added.length > 0) {
        await tx.insertInto('role_bindings').values(added.map((role) => ({ org_id: orgId, id: randomUUID(), user_id: userId, team_id: null, role, provider_id: providerId }))).execute();
      }
      const removed: string[] = [];
      for (const binding of surplus) if (await unbind(tx, orgId, binding)) removed.push(binding.role);
      const change = { added, removed };
      if (added.length + removed.length > 0) {
        await announceIdentity(tx, orgId);
        await recordAct(tx, actOf(change));
      }
      return change;
    });
  }

  /** The organisation's own roles. */
  async ownRoles(orgId: string): Promise<{ name: string; description: string; inherits: string[]; scopes: string[]; reachesDescendants: boolean }[]> {
    return this.#database.withOrg(orgId, async (tx) => {
      const rows = await tx.selectFrom('roles').select(['name', 'description', 'inherits', 'scopes', 'reaches_descendants']).execute();
      return rows.map(({ reaches_descendants, ...role }) => ({ ...role, reachesDescendants: reaches_descendants }));
    });
  }
}

/** @returns whether it could go: not when it makes the last owner. */
async function unbind(tx: Tx, orgId: string, binding: { id: string; role: string; user_id: string | null; provider_id: string | null }): Promise<boolean> {
  await tx.deleteFrom('role_bindings').where('id', '=', binding.id).execute();
  if (binding.role !== 'owner') return true;
  const { rows } = await sql<{ owners: number }>`select hal9_owners(${orgId}) as owners`.execute(tx);
  if (rows[0]?.owners !== 0) return true;
  await tx.insertInto('role_bindings').values({ ...binding, org_id: orgId }).execute();
  return false;
}
