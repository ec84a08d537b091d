import { sql, type RawBuilder } from 'kysely';
import { ScimFailure, URN, type ScimExtras } from '../schemas/rest/scim.ts';
import { recordAct, type Act } from './audit-acts.ts';
import type { Database, Tx } from './database.ts';
import { announceIdentity } from './identity-channel.ts';
import { condition, orderBy, type Column, type Columns, type ScimSearch } from './scim-search.ts';
import { lockedTree } from './teams.ts';
import { endHandedOn } from './users.ts';

export interface ScimTables {
  scim_users: { org_id: string; user_id: string; attributes: unknown };
}

export interface ScimUserRecord {
  readonly id: string;
  readonly userName: string;
  readonly externalId: string | null;
  readonly displayName: string | null;
  readonly email: string | null;
  readonly active: boolean;
  /** What `scim_users` keeps; shape `scimExtras`. */
  readonly attributes: unknown;
  readonly teams: readonly { readonly id: string; readonly name: string }[];
  readonly createdAt: Date;
  readonly updatedAt: Date;
}

export interface ScimUserValues {
  readonly userName: string;
  readonly externalId: string | null;
  readonly displayName: string | null;
  readonly email: string | null;
  readonly active: boolean;
  readonly attributes: ScimExtras;
}

export interface ScimGroupRecord {
  readonly id: string;
  readonly name: string;
  readonly externalId: string | null;
  readonly members: readonly { readonly id: string; readonly userName: string }[];
  readonly createdAt: Date;
  readonly updatedAt: Date;
}

export interface ScimGroupValues {
  readonly name: string;
  readonly externalId: string | null;
  /** Ids of users. */
  readonly members: readonly string[];
}

export interface ScimFound<T> {
  readonly total: number;
  readonly items: readonly T[];
}

/** What a change does, decided with the row locked. */
export interface Decided<T> {
  readonly values: T;
  readonly act: Act;
}

/** Whose hands a provisioning client may not lay on: owners, and teams that make owners. */
export interface OwnerRules {
  /** HAL9_MAPPED_OWNERS: an identity provider's groups may make owners, so may a client. */
  readonly ownersAllowed: boolean;
}

const OWNED = 'people who own the organisation are changed by people only; HAL9_MAPPED_OWNERS would allow it';

/** Users and teams as SCIM 2.0 sees them. Each change is one transaction: the row, what goes with it, and the act. */
export class ScimStore {
  readonly #database: Database;
  readonly #rules: OwnerRules;

  constructor(database: Database, rules: OwnerRules) {
    this.#database = database;
    this.#rules = rules;
  }

  /** @throws {ScimFailure} `invalidFilter` for an attribute that cannot be searched, `invalidPath` for one that cannot be sorted by. */
  async searchUsers(orgId: string, search: ScimSearch): Promise<ScimFound<ScimUserRecord>> {
    const where = search.filter === undefined ? sql`true` : condition(search.filter, USER_COLUMNS);
    const order = orderBy(search, USER_COLUMNS, sql`u.created_at, u.id`);
    return this.#database.withOrg(orgId, async (tx) => {
      const total = await counted(tx, sql`select count(*) as total from ${USERS} where ${where}`);
      const { rows } = await sql<UserRow>`select ${USER_FIELDS} from ${USERS} where ${where} order by ${order} limit ${search.count} offset ${search.startIndex - 1}`.execute(tx);
      return { total, items: rows.map(userRecord) };
    });
  }

  async findUser(orgId: string, id: string): Promise<ScimUserRecord | undefined> {
    return this.#database.withOrg(orgId, (tx) => readUser(tx, id));
  }

  /** @throws a unique violation when the name is taken. */
  async createUser(orgId: string, id: string, values: ScimUserValues, act: Act): Promise<ScimUserRecord> {
    return this.#database.withOrg(orgId, async (tx) => {
      await tx
        .insertInto('users')
        .values({
          org_id: orgId,
          id,
          user_name: values.userName,
          email: values.email,
          // Who provisions an organisation's people owns their addresses.
          email_verified: values.email !== null,
          display_name: values.displayName,
          external_id: values.externalId,
          active: values.active,
        })
        .execute();
      await keepAttributes(tx, orgId, id, values.attributes);
      await recordAct(tx, act);
      await announceIdentity(tx, orgId);
      return found(await readUser(tx, id));
    });
  }

  /**
   * Changes a user. Deactivation takes their keys and the invitations they sent with it.
   * @param decide sees the user as nobody else can change it meanwhile; may throw to leave it.
   * @returns undefined when there is none.
   * @throws {HalError} `Forbidden` for the name or address of an owner.
   */
  async changeUser(orgId: string, id: string, decide: (current: ScimUserRecord) => Decided<ScimUserValues>): Promise<ScimUserRecord | undefined> {
    return this.#database.withOrg(orgId, async (tx) => {
      await tx.selectFrom('users').select('id').where('id', '=', id).forUpdate().execute();
      const current = await readUser(tx, id);
      if (current === undefined) return undefined;
      const { values, act } = decide(current);
      const moved = values.email !== current.email;
      // Whoever may write an owner's address could read the mail by which a password is set anew.
      if ((moved || values.userName !== current.userName) && !this.#rules.ownersAllowed && (await isTrue(tx, sql`select hal9_is_owner(${orgId}, ${id}) as yes`))) throw new ScimFailure('Forbidden', 'mutability', OWNED);
      await tx
        .updateTable('users')
        .set({
          user_name: values.userName,
          email: values.email,
          ...(moved ? { email_verified: values.email !== null } : {}),
          display_name: values.displayName,
          external_id: values.externalId,
          active: values.active,
          updated_at: sql<Date>`now()`,
        })
        .where('id', '=', id)
        .execute();
      await keepAttributes(tx, orgId, id, values.attributes);
      if (current.active && !values.active) await endHandedOn(tx, orgId, id);
      await recordAct(tx, act);
      await announceIdentity(tx, orgId);
      return readUser(tx, id);
    });
  }

  /** Deletes a user with memberships, bindings, identities, sessions and keys. @param check may throw to leave it. */
  async deleteUser(orgId: string, id: string, act: Act, check: (current: ScimUserRecord) => void): Promise<boolean> {
    return this.#database.withOrg(orgId, async (tx) => {
      await tx.selectFrom('users').select('id').where('id', '=', id).forUpdate().execute();
      const current = await readUser(tx, id);
      if (current === undefined) return false;
      check(current);
      await endHandedOn(tx, orgId, id);
      await tx.deleteFrom('users').where('id', '=', id).execute();
      await recordAct(tx, act);
      await announceIdentity(tx, orgId);
      return true;
    });
  }

  /** @param withMembers false leaves `members` empty. */
  async searchGroups(orgId: string, search: ScimSearch, withMembers: boolean): Promise<ScimFound<ScimGroupRecord>> {
    const where = search.filter === undefined ? sql`true` : condition(search.filter, GROUP_COLUMNS);
    const order = orderBy(search, GROUP_COLUMNS, sql`t.created_at, t.id`);
    return this.#database.withOrg(orgId, async (tx) => {
      const total = await counted(tx, sql`select count(*) as total from teams t where ${where}`);
      const { rows } = await sql<GroupRow>`select ${groupFields(withMembers)} from teams t where ${where} order by ${order} limit ${search.count} offset ${search.startIndex - 1}`.execute(tx);
      return { total, items: rows.map(groupRecord) };
    });
  }

  async findGroup(orgId: string, id: string): Promise<ScimGroupRecord | undefined> {
    return this.#database.withOrg(orgId, (tx) => readGroup(tx, id));
  }

  /** @throws a unique violation when the name is taken; {ScimFailure} `invalidValue` for a member that is not there. */
  async createGroup(orgId: string, id: string, values: ScimGroupValues, act: Act): Promise<ScimGroupRecord> {
    return this.#database.withOrg(orgId, async (tx) => {
      await tx.insertInto('teams').values({ org_id: orgId, id, name: values.name, external_id: values.externalId }).execute();
      await changeMembers(tx, orgId, id, [], values.members);
      await recordAct(tx, act);
      await announceIdentity(tx, orgId);
      return found(await readGroup(tx, id));
    });
  }

  /** As `changeUser`. @throws {HalError} `Forbidden` when the members of the team are owners. */
  async changeGroup(orgId: string, id: string, decide: (current: ScimGroupRecord) => Decided<ScimGroupValues>): Promise<ScimGroupRecord | undefined> {
    return this.#database.withOrg(orgId, async (tx) => {
      await tx.selectFrom('teams').select('id').where('id', '=', id).forUpdate().execute();
      const current = await readGroup(tx, id);
      if (current === undefined) return undefined;
      const { values, act } = decide(current);
      const before = current.members.map((member) => member.id);
      if (!sameSet(before, values.members)) await this.#assertNotOwning(tx, orgId, id);
      await tx.updateTable('teams').set({ name: values.name, external_id: values.externalId, updated_at: sql<Date>`now()` }).where('id', '=', id).execute();
      await changeMembers(tx, orgId, id, before, values.members);
      await recordAct(tx, act);
      await announceIdentity(tx, orgId);
      return readGroup(tx, id);
    });
  }

  /** @throws {HalError} `Conflict` while there are teams below it; `Forbidden` when its members are owners. */
  async deleteGroup(orgId: string, id: string, act: Act, check: (current: ScimGroupRecord) => void): Promise<boolean> {
    return this.#database.withOrg(orgId, async (tx) => {
      const tree = await lockedTree(tx, orgId);
      const current = await readGroup(tx, id);
      if (current === undefined) return false;
      check(current);
      await this.#assertNotOwning(tx, orgId, id);
      if ([...tree.values()].includes(id)) throw new ScimFailure('Conflict', 'mutability', 'there are teams below this one');
      await tx.deleteFrom('teams').where('id', '=', id).execute();
      await recordAct(tx, act);
      await announceIdentity(tx, orgId);
      return true;
    });
  }

  async #assertNotOwning(tx: Tx, orgId: string, teamId: string): Promise<void> {
    if (!this.#rules.ownersAllowed && (await isTrue(tx, sql`select hal9_team_owns(${orgId}, ${teamId}) as yes`))) throw new ScimFailure('Forbidden', 'mutability', OWNED);
  }
}

interface UserRow {
  id: string;
  user_name: string;
  external_id: string | null;
  display_name: string | null;
  email: string | null;
  active: boolean;
  attributes: unknown;
  teams: { id: string; name: string }[];
  created_at: Date;
  updated_at: Date;
}

interface GroupRow {
  id: string;
  name: string;
  external_id: string | null;
  members: { id: string; userName: string }[];
  created_at: Date;
  updated_at: Date;
}

const USERS = sql`users u left join scim_users a on a.org_id = u.org_id and a.user_id = u.id`;
const USER_FIELDS = sql`u.id, u.user_name, u.external_id, u.display_name, u.email, u.active, a.attributes, u.created_at, u.updated_at,
  coalesce((select jsonb_agg(jsonb_build_object('id', t.id, 'name', t.name) order by t.name, t.id) from team_members m join teams t on t.org_id = m.org_id and t.id = m.team_id
    where m.org_id = u.org_id and m.user_id = u.id), '[]') as teams`;
/** Every address of a person; those of people that no client made have one at most. */
const EMAILS = sql`coalesce(a.attributes -> 'emails', case when u.email is null then '[]' else jsonb_build_array(jsonb_build_object('value', u.email, 'type', 'work', 'primary', true)) end)`;

function groupFields(withMembers: boolean): RawBuilder<unknown> {
  const members = withMembers
    ? sql`coalesce((select jsonb_agg(jsonb_build_object('id', u.id, 'userName', u.user_name) order by u.id) from team_members m join users u on u.org_id = m.org_id and u.id = m.user_id
        where m.org_id = t.org_id and m.team_id = t.id), '[]')`
    : sql`'[]'::jsonb`;
  return sql`t.id, t.name, t.external_id, t.created_at, t.updated_at, ${members} as members`;
}

const extra = (...path: string[]): Column => ({ type: 'text', value: sql`a.attributes #>> ${path}::text[]` });
const meta = (alias: 'u' | 't'): Columns => ({
  'meta.created': { type: 'date', value: sql.ref(`${alias}.created_at`) },
  'meta.lastmodified': { type: 'date', value: sql.ref(`${alias}.updated_at`) },
});

const EMAIL_ELEMENT: Columns = {
  value: { type: 'text', value: sql`e ->> 'value'` },
  type: { type: 'text', value: sql`e ->> 'type'` },
  primary: { type: 'boolean', value: sql`coalesce((e ->> 'primary')::boolean, false)` },
};

const USER_COLUMNS: Columns = {
  id: { type: 'exact', value: sql`u.id::text` },
  externalid: { type: 'exact', value: sql`u.external_id` },
  username: { type: 'text', value: sql`u.user_name` },
  displayname: { type: 'text', value: sql`u.display_name` },
  active: { type: 'boolean', value: sql`u.active` },
  ...Object.fromEntries(['formatted', 'familyName', 'givenName', 'middleName'].map((name) => [`name.${name.toLowerCase()}`, extra('name', name)])),
  ...Object.fromEntries(['nickName', 'title', 'userType', 'preferredLanguage', 'locale', 'timezone'].map((name) => [name.toLowerCase(), extra(name)])),
  ...Object.fromEntries(['employeeNumber', 'costCenter', 'organization', 'division', 'department'].map((name) => [`${URN.enterprise}:${name}`.toLowerCase(), extra(URN.enterprise, name)])),
  [`${URN.enterprise}:manager.value`.toLowerCase()]: extra(URN.enterprise, 'manager', 'value'),
  emails: { type: 'list', value: EMAILS, element: EMAIL_ELEMENT },
  groups: {
    type: 'list',
    value: sql`coalesce((select jsonb_agg(jsonb_build_object('value', m.team_id)) from team_members m where m.org_id = u.org_id and m.user_id = u.id), '[]')`,
    element: { value: { type: 'exact', value: sql`e ->> 'value'` } },
  },
  ...meta('u'),
};

const GROUP_COLUMNS: Columns = {
  id: { type: 'exact', value: sql`t.id::text` },
  externalid: { type: 'exact', value: sql`t.external_id` },
  displayname: { type: 'text', value: sql`t.name` },
  members: {
    type: 'list',
    value: sql`coalesce((select jsonb_agg(jsonb_build_object('value', m.user_id)) from team_members m where m.org_id = t.org_id and m.team_id = t.id), '[]')`,
    element: { value: { type: 'exact', value: sql`e ->> 'value'` } },
  },
  ...meta('t'),
};

async function readUser(tx: Tx, id: string): Promise<ScimUserRecord | undefined> {
  const { rows } = await sql<UserRow>`select ${USER_FIELDS} from ${USERS} where u.id = ${id}`.execute(tx);
  return rows[0] === undefined ? undefined : userRecord(rows[0]);
}

async function readGroup(tx: Tx, id: string): Promise<ScimGroupRecord | undefined> {
  const { rows } = await sql<GroupRow>`select ${groupFields(true)} from teams t where t.id = ${id}`.execute(tx);
  return rows[0] === undefined ? undefined : groupRecord(rows[0]);
}

async function keepAttributes(tx: Tx, orgId: string, userId: string, attributes: ScimExtras): Promise<void> {
  const text = JSON.stringify(attributes);
  await tx
    .insertInto('scim_users')
    .values({ org_id: orgId, user_id: userId, attributes: text })
    .onConflict((conflict) => conflict.columns(['org_id', 'user_id']).doUpdateSet({ attributes: text }))
    .execute();
}

/** @throws {ScimFailure} `invalidValue` for somebody who is nobody of this organisation: whether another has them is not told. */
async function changeMembers(tx: Tx, orgId: string, teamId: string, before: readonly string[], after: readonly string[]): Promise<void> {
  const [had, has] = [new Set(before), new Set(after)];
  const added = [...has].filter((id) => !had.has(id));
  const removed = [...had].filter((id) => !has.has(id));
  if (added.length > 0) {
    const known = await tx.selectFrom('users').select('id').where('id', 'in', added).execute();
    if (known.length < added.length) throw new ScimFailure('InvalidInput', 'invalidValue', 'a member is no user of this organisation');
    await tx.insertInto('team_members').values(added.map((userId) => ({ org_id: orgId, team_id: teamId, user_id: userId }))).onConflict((conflict) => conflict.doNothing()).execute();
  }
  if (removed.length > 0) await tx.deleteFrom('team_members').where('team_id', '=', teamId).where('user_id', 'in', removed).execute();
}

function sameSet(before: readonly string[], after: readonly string[]): boolean {
  const [had, has] = [new Set(before), new Set(after)];
  return had.size === has.size && [...had].every((id) => has.has(id));
}

async function counted(tx: Tx, query: RawBuilder<unknown>): Promise<number> {
  const { rows } = await sql<{ total: number }>`${query}`.execute(tx);
  return rows[0]?.total ?? 0;
}

async function isTrue(tx: Tx, query: RawBuilder<unknown>): Promise<boolean> {
  const { rows } = await sql<{ yes: boolean }>`${query}`.execute(tx);
  return rows[0]?.yes === true;
}

function userRecord(row: UserRow): ScimUserRecord {
  return {
    id: row.id,
    userName: row.user_name,
    externalId: row.external_id,
    displayName: row.display_name,
    email: row.email,
    active: row.active,
    attributes: row.attributes,
    teams: row.teams,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
  };
}

function groupRecord(row: GroupRow): ScimGroupRecord {
  return { id: row.id, name: row.name, externalId: row.external_id, members: row.members, createdAt: row.created_at, updatedAt: row.updated_at };
}

function found<T>(value: T | undefined): T {
  if (value === undefined) throw new Error('a row that was just written cannot be read');
  return value;
}
