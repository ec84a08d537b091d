import { createHash, randomUUID } from 'node:crypto';
import { sql, type ColumnType, type Generated, type Selectable } from 'kysely';
import { recordAct, type Act } from './audit-acts.ts';
import type { Database, Tx } from './database.ts';
import { announceIdentity } from './identity-channel.ts';
import type { Timestamp } from './organisations.ts';
import { insertUser } from './users.ts';

type MaybeTime = ColumnType<Date | null, Date | null | undefined, Date | null>;

export interface InvitationTables {
  invitations: {
    org_id: string;
    id: string;
    token_hash: Buffer;
    email: string | null;
    user_id: string | null;
    roles: Generated<string[]>;
    team_ids: Generated<string[]>;
    invited_by: string | null;
    mailed: Generated<boolean>;
    created_at: Timestamp;
    expires_at: Date;
    accepted_at: MaybeTime;
    accepted_by: string | null;
    revoked_at: MaybeTime;
  };
}

export interface InvitationRecord {
  orgId: string;
  id: string;
  email: string | null;
  userId: string | null;
  roles: readonly string[];
  teamIds: readonly string[];
  invitedBy: string | null;
  mailed: boolean;
  createdAt: Date;
  expiresAt: Date;
  acceptedAt: Date | null;
  acceptedBy: string | null;
  revokedAt: Date | null;
}

export type NewInvitation = Pick<InvitationRecord, 'orgId' | 'id' | 'email' | 'userId' | 'roles' | 'teamIds' | 'invitedBy' | 'expiresAt'> & { token: string };

/** What the person brings who accepts. */
export interface Acceptance {
  userName: string;
  displayName: string | null;
  /** PHC string of Argon2id. */
  passwordHash: string;
}

/** Invitations. A token is found in whichever organisation, because it is all that its holder has. */
export class InvitationStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  async insert(invitation: NewInvitation, act: Act): Promise<InvitationRecord> {
    return this.#database.withOrg(invitation.orgId, async (tx) => {
      const row = await tx.insertInto('invitations').values(invitationRow(invitation)).returningAll().executeTakeFirstOrThrow();
      await recordAct(tx, act);
      return record(row);
    });
  }

  /** Newest first. `before` is the (created, id) of the last row of the page before. */
  async list(orgId: string, filter: { open?: boolean | undefined }, limit: number, before?: { createdAt: Date; id: string }): Promise<InvitationRecord[]> {
    return this.#database.withOrg(orgId, async (tx) => {
      let query = tx.selectFrom('invitations').selectAll().orderBy(sql`date_trunc('milliseconds', created_at)`, 'desc').orderBy('id', 'desc').limit(limit);
      if (filter.open === true) query = query.where('accepted_at', 'is', null).where('revoked_at', 'is', null).where('expires_at', '>', sql<Date>`now()`);
      if (before !== undefined) query = query.where(sql<boolean>`(date_trunc('milliseconds', created_at), id) < (${before.createdAt}, ${before.id}::uuid)`);
      return (await query.execute()).map(record);
    });
  }

  async find(orgId: string, id: string): Promise<InvitationRecord | undefined> {
    return this.#database.withOrg(orgId, async (tx) => {
      const row = await tx.selectFrom('invitations').selectAll().where('id', '=', id).executeTakeFirst();
      return row === undefined ? undefined : record(row);
    });
  }

  /** Notes that a mail server took the mail. */
  async noteMailed(orgId: string, id: string): Promise<void> {
    await this.#database.withOrg(orgId, (tx) => tx.updateTable('invitations').set({ mailed: true }).where('id', '=', id).execute());
  }

  /** Idempotent; @returns undefined when there is none. */
  async revoke(orgId: string, id: string, act: Act): Promise<InvitationRecord | undefined> {
    return this.#database.withOrg(orgId, async (tx) => {
      const row = await tx.updateTable('invitations').set({ revoked_at: sql<Date>`coalesce(revoked_at, now())` }).where('id', '=', id).where('accepted_at', 'is', null).returningAll().executeTakeFirst();
      if (row !== undefined) await recordAct(tx, act);
      return row === undefined ? undefined : record(row);
    });
  }

  /** The open invitation behind a token, with its organisation; undefined when it was used, revoked, has expired or the organisation is suspended. */
  async findOpenAcrossOrganisations(token: string): Promise<(InvitationRecord & { organisation: string; slug: string | null; userName: string | null }) | undefined> {
    const { rows } = await sql<Selectable<InvitationTables['invitations']> & { organisation: string; slug: string | null; user_name: string | null }>`
      with recursive found as (select * from invitations where token_hash = ${hashInvitationToken(token)} and accepted_at is null and revoked_at is null and expires_at > now()),
      line as (
        select o.org_id, o.parent_id, o.suspended_at from organisations o join found on found.org_id = o.org_id
        union
        select o.org_id, o.parent_id, o.suspended_at from line l join organisations o on o.org_id = l.parent_id
      )
      select found.*, o.name as organisation, o.slug, u.user_name
      from found join organisations o on o.org_id = found.org_id left join users u on u.org_id = found.org_id and u.id = found.user_id
      where not exists (select from line where suspended_at is not null)`.execute(this.#database.system);
    const [row] = rows;
    return row === undefined ? undefined : { ...record(row), organisation: row.organisation, slug: row.slug, userName: row.user_name };
  }

  /**
   * Accepts an invitation, once: makes the user with its roles and teams, or gives the user it names a password.
   * @param actFor makes the act of the user who comes out of it.
   * @returns undefined when the invitation is not open any more.
   */
  async accept(orgId: string, id: string, acceptance: Acceptance, actFor: (userId: string) => Act): Promise<{ userId: string } | undefined> {
    return this.#database.withOrg(orgId, async (tx) => {
      const row = await tx
        .updateTable('invitations')
        .set({ accepted_at: sql<Date>`now()` })
        .where('id', '=', id)
        .where('accepted_at', 'is', null)
        .where('revoked_at', 'is', null)
        .where('expires_at', '>', sql<Date>`now()`)
        .returningAll()
        .executeTakeFirst();
      if (row === undefined) return undefined;
      const userId = row.user_id === null ? await newUser(tx, record(row), acceptance) : await givePassword(tx, row.user_id, acceptance);
      // The user it named is inactive or has a password by now: the invitation is used up all the same.
      if (userId === undefined) return undefined;
      await tx.updateTable('invitations').set({ accepted_by: userId }).where('id', '=', id).execute();
      await recordAct(tx, actFor(userId));
      await announceIdentity(tx, orgId);
      return { userId };
    });
  }
}

export function invitationRow(invitation: NewInvitation) {
  return {
    org_id: invitation.orgId,
    id: invitation.id,
    token_hash: hashInvitationToken(invitation.token),
    email: invitation.email,
    user_id: invitation.userId,
    roles: [...invitation.roles],
    team_ids: [...invitation.teamIds],
    invited_by: invitation.invitedBy,
    expires_at: invitation.expiresAt,
  };
}

/** SHA-256: with 256 bits of entropy in the token, a slow hash would add cost and no safety. */
function hashInvitationToken(token: string): Buffer {
  return createHash('sha256').update(token).digest();
}

async function newUser(tx: Tx, invitation: InvitationRecord, acceptance: Acceptance): Promise<string> {
  const { orgId } = invitation;
  const id = randomUUID();
  await insertUser(tx, orgId, {
    id,
    userName: acceptance.userName,
    email: invitation.email,
    emailVerified: invitation.email !== null && invitation.mailed,
    displayName: acceptance.displayName,
    externalId: null,
    active: true,
    passwordHash: acceptance.passwordHash,
  });
  if (invitation.roles.length > 0) {
    await tx
      .insertInto('role_bindings')
      .values(invitation.roles.map((role) => ({ org_id: orgId, id: randomUUID(), user_id: id, role })))
      .execute();
  }
  // A team that was deleted meanwhile is no reason to keep the person out.
  if (invitation.teamIds.length > 0) {
    await tx
      .insertInto('team_members')
      .columns(['org_id', 'team_id', 'user_id'])
      .expression(tx.selectFrom('teams').select(['org_id', 'id', sql<string>`${id}::uuid`.as('user_id')]).where('id', 'in', [...invitation.teamIds]))
      .execute();
  }
  return id;
}

/** Only a user without a password gets one: an invitation is no way into an account that is in use. */
async function givePassword(tx: Tx, userId: string, acceptance: Acceptance): Promise<string | undefined> {
  const row = await tx
    .updateTable('users')
    .set({ password_hash: acceptance.passwordHash, updated_at: sql<Date>`now()`, ...(acceptance.displayName === null ? {} : { display_name: acceptance.displayName }) })
    .where('id', '=', userId)
    .where('active', '=', true)
    .where('password_hash', 'is', null)
    .returning('id')
    .executeTakeFirst();
  return row?.id;
}

function record(row: Selectable<InvitationTables['invitations']>): InvitationRecord {
  return {
    orgId: row.org_id,
    id: row.id,
    email: row.email,
    userId: row.user_id,
    roles: row.roles,
    teamIds: row.team_ids,
    invitedBy: row.invited_by,
    mailed: row.mailed,
    createdAt: row.created_at,
    expiresAt: row.expires_at,
    acceptedAt: row.accepted_at,
    acceptedBy: row.accepted_by,
    revokedAt: row.revoked_at,
  };
}
