import { sql, type Selectable } from 'kysely';
import { recordAct, type Act } from './audit-acts.ts';
import type { Database, Tx } from './database.ts';
import { announceIdentity } from './identity-channel.ts';
import type { IdentityTables } from './identity-tables.ts';

/** A person of an organisation. Names and addresses are personal data. */
export interface UserRecord {
  id: string;
  /** What they type to sign in; compared without case. */
  userName: string;
  email: string | null;
  emailVerified: boolean;
  displayName: string | null;
  /** The provisioning client's own id. */
  externalId: string | null;
  active: boolean;
  /** Whether they have a password here. */
  hasPassword: boolean;
  createdAt: Date;
  updatedAt: Date;
  lastSignInAt: Date | null;
}

export type NewUser = Pick<UserRecord, 'id' | 'userName' | 'email' | 'emailVerified' | 'displayName' | 'externalId' | 'active'>;
export type UserChange = Partial<Omit<NewUser, 'id'>>;

export interface UserFilter {
  active?: boolean | undefined;
  /** Beginning of the user name, the address or the display name, without case. */
  search?: string | undefined;
  /** Equal without case. */
  userName?: string | undefined;
  /** Members of this team itself, not of those below it. */
  teamId?: string | undefined;
}

/** People of one organisation. */
export class UserStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /** Oldest first. `after` is the (created, id) of the last row of the page before. */
  async list(orgId: string, filter: UserFilter, limit: number, after?: { createdAt: Date; id: string }): Promise<UserRecord[]> {
    return this.#database.withOrg(orgId, async (tx) => {
      let query = tx.selectFrom('users').selectAll().orderBy(sql`date_trunc('milliseconds', created_at)`).orderBy('id').limit(limit);
      if (filter.active !== undefined) query = query.where('active', '=', filter.active);
      if (filter.userName !== undefined) query = query.where(sql<boolean>`lower(user_name) = lower(${filter.userName})`);
      if (filter.search !== undefined) {
        const pattern = `${filter.search.replaceAll(/[\\%_]/g, String.raw`\$&`)}%`;
        query = query.where((where) => where.or([where('user_name', 'ilike', pattern), where('email', 'ilike', pattern), where('display_name', 'ilike', pattern)]));
      }
      if (filter.teamId !== undefined) query = query.where('id', 'in', tx.selectFrom('team_members').select('user_id').where('team_id', '=', filter.teamId));
      if (after !== undefined) query = query.where(sql<boolean>`(date_trunc('milliseconds', created_at), id) > (${after.createdAt}, ${after.id}::uuid)`);
      return (await query.execute()).map(record);
    });
  }

  async find(orgId: string, id: string): Promise<UserRecord | undefined> {
    return this.#database.withOrg(orgId, async (tx) => {
      const row = await tx.selectFrom('users').selectAll().where('id', '=', id).executeTakeFirst();
      return row === undefined ? undefined : record(row);
    });
  }

  async insert(orgId: string, user: NewUser, act: Act): Promise<UserRecord> {
    return this.#database.withOrg(orgId, async (tx) => {
      const inserted = await insertUser(tx, orgId, user);
      await recordAct(tx, act);
      await announceIdentity(tx, orgId);
      return inserted;
    });
  }

  /**
   * Changes a user. Deactivation takes their keys and the invitations they sent with it, for good: whoever comes back starts anew.
   * @returns undefined when there is none.
   */
  async change(orgId: string, id: string, change: UserChange, act: Act): Promise<UserRecord | undefined> {
    return this.#database.withOrg(orgId, async (tx) => {
      const row = await tx
        .updateTable('users')
        .set({
          ...(change.userName === undefined ? {} : { user_name: change.userName }),
          ...(change.email === undefined ? {} : { email: change.email }),
          ...(change.emailVerified === undefined ? {} : { email_verified: change.emailVerified }),
          ...(change.displayName === undefined ? {} : { display_name: change.displayName }),
          ...(change.externalId === undefined ? {} : { external_id: change.externalId }),
          ...(change.active === undefined ? {} : { active: change.active }),
          updated_at: sql<Date>`now()`,
        })
        .where('id', '=', id)
        .returningAll()
        .executeTakeFirst();
      if (row === undefined) return undefined;
      if (change.active === false) await endHandedOn(tx, orgId, id);
      await recordAct(tx, act);
      await announceIdentity(tx, orgId);
      return record(row);
    });
  }

  /** Deletes a user with their memberships, bindings, identities, sessions and keys. */
  async remove(orgId: string, id: string, act: Act): Promise<boolean> {
    return this.#database.withOrg(orgId, async (tx) => {
      await endHandedOn(tx, orgId, id);
      const removed = await tx.deleteFrom('users').where('id', '=', id).returning('id').executeTakeFirst();
      if (removed === undefined) return false;
      await recordAct(tx, act);
      await announceIdentity(tx, orgId);
      return true;
    });
  }
}

/** Adds a user inside a transaction that does more; the caller records the act and announces. */
export async function insertUser(tx: Tx, orgId: string, user: NewUser & { passwordHash?: string | undefined }): Promise<UserRecord> {
  const row = await tx
    .insertInto('users')
    .values({
      org_id: orgId,
      id: user.id,
      user_name: user.userName,
      email: user.email,
      email_verified: user.emailVerified,
      display_name: user.displayName,
      external_id: user.externalId,
      active: user.active,
      password_hash: user.passwordHash ?? null,
    })
    .returningAll()
    .executeTakeFirstOrThrow();
  return record(row);
}

/**
 * Revokes what the person left with others: keys of this organisation (those they made in organisations below stop because their
 * maker is inactive) and invitations that wait.
 */
export async function endHandedOn(tx: Tx, orgId: string, userId: string): Promise<void> {
  await tx.updateTable('api_keys').set({ revoked_at: sql<Date>`coalesce(revoked_at, now())` }).where('created_by_org', '=', orgId).where('created_by_user', '=', userId).execute();
  await tx.updateTable('invitations').set({ revoked_at: sql<Date>`now()` }).where('invited_by', '=', userId).where('accepted_at', 'is', null).where('revoked_at', 'is', null).execute();
}

function record(row: Selectable<IdentityTables['users']>): UserRecord {
  return {
    id: row.id,
    userName: row.user_name,
    email: row.email,
    emailVerified: row.email_verified,
    displayName: row.display_name,
    externalId: row.external_id,
    active: row.active,
    hasPassword: row.password_hash !== null,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
    lastSignInAt: row.last_sign_in_at,
  };
}
