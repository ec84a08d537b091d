import { sql, type Selectable } from 'kysely';
import { recordAct, type Act } from './audit-acts.ts';
import type { Database, Tx } from './database.ts';
import { announceIdentity } from './identity-channel.ts';
import type { IdentityTables } from './identity-tables.ts';

export interface RoleRecord {
  name: string;
  description: string;
  inherits: readonly string[];
  scopes: readonly string[];
  reachesDescendants: boolean;
  createdAt: Date;
  updatedAt: Date;
}

export type NewRole = Pick<RoleRecord, 'name' | 'description' | 'inherits' | 'scopes' | 'reachesDescendants'>;
/** An organisation's own roles by name. */
export type OwnRoles = ReadonlyMap<string, RoleRecord>;

/** Roles of one organisation. */
export class RoleStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  async list(orgId: string): Promise<RoleRecord[]> {
    return this.#database.withOrg(orgId, async (tx) => (await tx.selectFrom('roles').selectAll().orderBy('name').execute()).map(record));
  }

  /**
   * Makes or replaces a role.
   * @param check throws when it may not be so; sees all own roles as nobody else can change them.
   */
  async save(orgId: string, role: NewRole, act: Act, check: (own: OwnRoles) => void): Promise<RoleRecord> {
    return this.#database.withOrg(orgId, async (tx) => {
      check(await lockedRoles(tx, orgId));
      const values = { description: role.description, inherits: [...role.inherits], scopes: [...role.scopes], reaches_descendants: role.reachesDescendants };
      const row = await tx
        .insertInto('roles')
        .values({ org_id: orgId, name: role.name, ...values })
        .onConflict((conflict) => conflict.columns(['org_id', 'name']).doUpdateSet({ ...values, updated_at: sql<Date>`now()` }))
        .returningAll()
        .executeTakeFirstOrThrow();
      await recordAct(tx, act);
      await announceIdentity(tx, orgId);
      return record(row);
    });
  }

  /** @param check as in `save`; `bound` says how many bindings name the role. */
  async remove(orgId: string, name: string, act: Act, check: (own: OwnRoles, bound: number) => void): Promise<boolean> {
    return this.#database.withOrg(orgId, async (tx) => {
      const own = await lockedRoles(tx, orgId);
      const { bound } = await tx.selectFrom('role_bindings').select(({ fn }) => fn.countAll<number>().as('bound')).where('role', '=', name).executeTakeFirstOrThrow();
      check(own, bound);
      const removed = await tx.deleteFrom('roles').where('name', '=', name).returning('name').executeTakeFirst();
      if (removed === undefined) return false;
      await recordAct(tx, act);
      await announceIdentity(tx, orgId);
      return true;
    });
  }
}

/** One change of an organisation's roles at a time, so that two cannot inherit each other. */
async function lockedRoles(tx: Tx, orgId: string): Promise<OwnRoles> {
  await sql`select pg_advisory_xact_lock(hashtextextended('roles ' || ${orgId}, 0))`.execute(tx);
  const rows = await tx.selectFrom('roles').selectAll().execute();
  return new Map(rows.map((row) => [row.name, record(row)]));
}

function record(row: Selectable<IdentityTables['roles']>): RoleRecord {
  return { name: row.name, description: row.description, inherits: row.inherits, scopes: row.scopes, reachesDescendants: row.reaches_descendants, createdAt: row.created_at, updatedAt: row.updated_at };
}
