import { sql } from 'kysely';
import { recordAct, type Act } from './audit-acts.ts';
import type { Database, Tx } from './database.ts';
import { announceIdentity } from './identity-channel.ts';
import { endSessions } from './sessions.ts';

/** An organisation as the sign-in page needs it. */
export interface SignInOrganisation {
  readonly orgId: string;
  readonly name: string;
  readonly slug: string | null;
  readonly region: string;
  readonly suspended: boolean;
  readonly policy: SignInPolicy;
}

export interface SignInPolicy {
  /** Whether everybody needs a second factor, here or at their provider. */
  readonly requireSecondFactor: boolean;
  /** Whether people may sign in by a password here. */
  readonly passwords: boolean;
  /** Name of the connection of kind smtp that carries mails about forgotten passwords; null: the installation's mail server. */
  readonly mailConnection: string | null;
}

/** A person as signing in needs them. */
export interface SignInUser {
  readonly id: string;
  readonly userName: string;
  readonly email: string | null;
  readonly active: boolean;
  readonly passwordHash: string | null;
  /** Factors that may be asked for. */
  readonly totp: boolean;
  readonly webauthn: boolean;
}

export interface ExternalLink {
  readonly orgId: string;
  readonly providerId: string;
  readonly subject: string;
}

/**
 * `name`: a person that was provisioned for a provider, who has no password and no identity anywhere; anybody else stays who they are, a
 * provider must not take over an account by saying its name. `address`: whoever has it confirmed here, for a provider that owns the
 * addresses of its people; nobody when several have it.
 */
export type Linkable = { readonly name: string } | { readonly address: string };

export interface NewExternalUser extends ExternalLink {
  readonly userId: string;
  readonly userName: string;
  readonly email: string | null;
  readonly emailVerified: boolean;
  readonly displayName: string | null;
}

const DEFAULT_POLICY: SignInPolicy = { requireSecondFactor: false, passwords: true, mailConnection: null };
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** What signing in reads and writes of organisations and people. */
export class SignInStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /** By slug or id. Crosses organisations, because nobody is known yet. */
  async findOrganisationAcrossOrganisations(slugOrId: string): Promise<SignInOrganisation | undefined> {
    const column = UUID.test(slugOrId) ? 'org_id' : 'slug';
    const row = await this.#database.system.selectFrom('organisations').select(['org_id', 'name', 'slug', 'region', 'suspended_at', 'settings']).where(column, '=', slugOrId).executeTakeFirst();
    if (row === undefined) return undefined;
    return { orgId: row.org_id, name: row.name, slug: row.slug, region: row.region, suspended: row.suspended_at !== null, policy: policyOf(row.settings) };
  }

  /** By a confirmed e-mail domain. Crosses organisations, as above. @returns the organisation's slug, or its id when it has none. */
  async findByDomainAcrossOrganisations(domain: string): Promise<string | undefined> {
    const { rows } = await this.#database.systemPool.query<{ where: string }>(
      `select coalesce(o.slug, o.org_id::text) as where from identity_provider_domains d join organisations o on o.org_id = d.org_id
       where d.domain = $1 and d.confirmed_at is not null and o.suspended_at is null`,
      [domain.toLowerCase()],
    );
    return rows[0]?.where;
  }

  async policy(orgId: string): Promise<SignInPolicy> {
    return this.#database.withOrg(orgId, async (tx) => policyOf((await tx.selectFrom('organisations').select('settings').where('org_id', '=', orgId).executeTakeFirst())?.settings));
  }

  async setPolicy(orgId: string, policy: SignInPolicy, act: Act): Promise<void> {
    await this.#database.withOrg(orgId, async (tx) => {
      await tx
        .updateTable('organisations')
        .set({ settings: sql`settings || jsonb_build_object('signIn', ${JSON.stringify(policy)}::jsonb)` })
        .where('org_id', '=', orgId)
        .execute();
      await recordAct(tx, act);
      await announceIdentity(tx, orgId);
    });
  }

  async findByName(orgId: string, userName: string): Promise<SignInUser | undefined> {
    return this.#database.withOrg(orgId, (tx) => user(tx, sql<boolean>`lower(user_name) = lower(${userName})`));
  }

  async find(orgId: string, userId: string): Promise<SignInUser | undefined> {
    return this.#database.withOrg(orgId, (tx) => user(tx, sql<boolean>`id = ${userId}`));
  }

  /** Whom the provider means by its subject. */
  async findLinked({ orgId, providerId, subject }: ExternalLink): Promise<SignInUser | undefined> {
    return this.#database.withOrg(orgId, async (tx) => {
      const link = await tx
        .updateTable('user_identities')
        .set({ last_sign_in_at: sql<Date>`now()` })
        .where('provider_id', '=', providerId)
        .where('subject', '=', subject)
        .returning('user_id')
        .executeTakeFirst();
      return link === undefined ? undefined : user(tx, sql<boolean>`id = ${link.user_id}`);
    });
  }

  /** Who exists and may be linked by a name or an address, before it is judged whether the provider may. */
  async findLinkable(orgId: string, by: Linkable): Promise<string | undefined> {
    return this.#database.withOrg(orgId, (tx) => linkable(tx, by));
  }

  /** Links that person. @returns undefined when it is not them any more. */
  async link(link: ExternalLink, by: Linkable, userId: string, act: Act): Promise<SignInUser | undefined> {
    return this.#database.withOrg(link.orgId, async (tx) => {
      await tx.selectFrom('users').select('id').where('id', '=', userId).forUpdate().execute();
      if ((await linkable(tx, by)) !== userId) return undefined;
      await insertLink(tx, link, userId);
      await recordAct(tx, act);
      return user(tx, sql<boolean>`id = ${userId}`);
    });
  }

  /** Makes somebody the provider sent a user. @returns undefined when the name is taken. */
  async provision(external: NewExternalUser, act: Act): Promise<SignInUser | undefined> {
    return this.#database.withOrg(external.orgId, async (tx) => {
      const made = await tx
        .insertInto('users')
        .values({ org_id: external.orgId, id: external.userId, user_name: external.userName, email: external.email, email_verified: external.emailVerified, display_name: external.displayName })
        .onConflict((conflict) => conflict.doNothing())
        .returning('id')
        .executeTakeFirst();
      if (made === undefined) return undefined;
      await insertLink(tx, external, made.id);
      await recordAct(tx, act);
      await announceIdentity(tx, external.orgId);
      return user(tx, sql<boolean>`id = ${made.id}`);
    });
  }

  /** A new hash in place of `expected` for the same password; sessions go on. */
  async renewHash(orgId: string, userId: string, expected: string, hash: string): Promise<void> {
    await this.#database.withOrg(orgId, (tx) => tx.updateTable('users').set({ password_hash: hash }).where('id', '=', userId).where('password_hash', '=', expected).execute());
  }

  /** Another password: every other session of the person ends. @returns false when there is no such active person. */
  async setPassword(orgId: string, userId: string, hash: string, keepSession: string | undefined, act: Act): Promise<boolean> {
    return this.#database.withOrg(orgId, async (tx) => {
      const row = await tx
        .updateTable('users')
        .set({ password_hash: hash, updated_at: sql<Date>`now()` })
        .where('id', '=', userId)
        .where('active', '=', true)
        .returning('id')
        .executeTakeFirst();
      if (row === undefined) return false;
      await endSessions(tx, orgId, { userId, except: keepSession }, 'password-changed');
      // A link that somebody else may have asked for does not undo it.
      await recordAct(tx, act);
      await announceIdentity(tx, orgId);
      return true;
    });
  }

  /** An act that has no other row to be written with: a refused sign-in. */
  async recordRefusal(act: Act): Promise<void> {
    await this.#database.withOrg(act.orgId, (tx) => recordAct(tx, act));
  }
}

async function linkable(tx: Tx, by: Linkable): Promise<string | undefined> {
  const query = tx.selectFrom('users').select('id').where('active', '=', true).limit(2);
  const found = await ('address' in by
    ? query.where(sql<boolean>`lower(email) = lower(${by.address})`).where('email_verified', '=', true)
    : query
        .where(sql<boolean>`lower(user_name) = lower(${by.name})`)
        .where('password_hash', 'is', null)
        .where(sql<boolean>`not exists (select from user_identities i where i.org_id = users.org_id and i.user_id = users.id)`)
        .where(sql<boolean>`not exists (select from user_factors f where f.org_id = users.org_id and f.user_id = users.id)`)
  ).execute();
  return found.length === 1 ? found[0]?.id : undefined;
}

async function insertLink(tx: Tx, { orgId, providerId, subject }: ExternalLink, userId: string): Promise<void> {
  await tx.insertInto('user_identities').values({ org_id: orgId, provider_id: providerId, subject, user_id: userId, last_sign_in_at: new Date() }).execute();
}

async function user(tx: Tx, which: ReturnType<typeof sql<boolean>>): Promise<SignInUser | undefined> {
  const row = await tx
    .selectFrom('users')
    .select(['id', 'user_name', 'email', 'active', 'password_hash'])
    .select(sql<string[]>`coalesce((select array_agg(distinct f.kind) from user_factors f where f.org_id = users.org_id and f.user_id = users.id), '{}')`.as('kinds'))
    .where(which)
    .executeTakeFirst();
  if (row === undefined) return undefined;
  return { id: row.id, userName: row.user_name, email: row.email, active: row.active, passwordHash: row.password_hash, totp: row.kinds.includes('totp'), webauthn: row.kinds.includes('webauthn') };
}

/** Absent or malformed settings are the default. */
function policyOf(settings: unknown): SignInPolicy {
  const stored: unknown = typeof settings === 'object' && settings !== null && 'signIn' in settings ? settings.signIn : undefined;
  if (typeof stored !== 'object' || stored === null) return DEFAULT_POLICY;
  return {
    requireSecondFactor: 'requireSecondFactor' in stored && stored.requireSecondFactor === true,
    passwords: !('passwords' in stored) || stored.passwords !== false,
    mailConnection: 'mailConnection' in stored && typeof stored.mailConnection === 'string' ? stored.mailConnection : null,
  };
}
