import { sql, type Selectable } from 'kysely';
import { recordAct, type Act } from './audit-acts.ts';
import type { Database, Tx } from './database.ts';
import { announceIdentity } from './identity-channel.ts';
import type { IdentityTables } from './identity-tables.ts';
import { endSessions } from './sessions.ts';

type Row = IdentityTables['identity_providers'];

export interface IdentityProviderRecord {
  readonly orgId: string;
  readonly id: string;
  readonly kind: Row['kind'];
  readonly name: string;
  readonly preset: string | null;
  /** What is no secret; shape by kind. */
  readonly settings: unknown;
  /** Opens under (organisation, id) only; null when the kind has none. */
  readonly secrets: Buffer | null;
  readonly enabled: boolean;
  readonly roleMapping: unknown;
  readonly provisions: boolean;
  /** Scopes of whoever wrote the settings: it links nobody who may do more. */
  readonly vouches: readonly string[];
  /** Raised by every change. */
  readonly version: number;
  readonly state: 'untested' | 'ok' | 'failed';
  readonly lastTestedAt: Date | null;
  /** Plain words, without secrets. */
  readonly lastFailure: string | null;
  readonly createdAt: Date;
  readonly updatedAt: Date;
  /** `<kind>:<id>` of who changed it last. */
  readonly updatedBy: string;
}

export type NewIdentityProvider = Omit<IdentityProviderRecord, 'version' | 'createdAt' | 'updatedAt'>;
export type IdentityProviderChange = Omit<NewIdentityProvider, 'orgId' | 'id' | 'kind'>;
export type ProviderTest = Pick<IdentityProviderRecord, 'state' | 'lastTestedAt' | 'lastFailure'>;

export type Removal = 'done' | 'missing' | 'last-way-in';

/** Where the people of an organisation prove who they are. Secrets stay sealed here. */
export class IdentityProviderStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /** @returns undefined when the name is taken. */
  async insert(provider: NewIdentityProvider, act: Act): Promise<IdentityProviderRecord | undefined> {
    return this.#database.withOrg(provider.orgId, async (tx) => {
      const row = await tx
        .insertInto('identity_providers')
        .values({ org_id: provider.orgId, id: provider.id, kind: provider.kind, ...columns(provider) })
        .onConflict((conflict) => conflict.doNothing())
        .returningAll()
        .executeTakeFirst();
      if (row === undefined) return undefined;
      await recordAct(tx, act);
      return record(row);
    });
  }

  /** By name, in alphabetical order; `after` continues a page. */
  async list(orgId: string, limit: number, after?: string): Promise<IdentityProviderRecord[]> {
    return this.#database.withOrg(orgId, async (tx) => {
      let query = tx.selectFrom('identity_providers').selectAll().orderBy(sql`lower(name)`).limit(limit);
      if (after !== undefined) query = query.where(sql<boolean>`lower(name) > lower(${after})`);
      return (await query.execute()).map(record);
    });
  }

  /** Short name of the organisation in sign-in addresses. */
  async slugOf(orgId: string): Promise<string | undefined> {
    return this.#database.withOrg(orgId, async (tx) => (await tx.selectFrom('organisations').select('slug').where('org_id', '=', orgId).executeTakeFirst())?.slug ?? undefined);
  }

  /** The providers people may use now, by name. */
  async listEnabled(orgId: string): Promise<IdentityProviderRecord[]> {
    return this.#database.withOrg(orgId, async (tx) => (await tx.selectFrom('identity_providers').selectAll().where('enabled', '=', true).orderBy(sql`lower(name)`).execute()).map(record));
  }

  async find(orgId: string, id: string): Promise<IdentityProviderRecord | undefined> {
    return this.#database.withOrg(orgId, async (tx) => {
      const row = await tx.selectFrom('identity_providers').selectAll().where('id', '=', id).executeTakeFirst();
      return row === undefined ? undefined : record(row);
    });
  }

  /**
   * Replaces what `version` says. One that is disabled now ends the sessions that came from it.
   * @returns why not: `missing` when somebody else changed or removed it meanwhile, `name-taken`, `last-way-in` when no owner could
   *   sign in any more.
   */
  async update(orgId: string, id: string, version: number, change: IdentityProviderChange, act: Act): Promise<IdentityProviderRecord | 'missing' | 'name-taken' | 'last-way-in'> {
    return this.#database.withOrg(orgId, async (tx) => {
      const taken = await tx.selectFrom('identity_providers').select('id').where(sql<boolean>`lower(name) = lower(${change.name})`).where('id', '<>', id).executeTakeFirst();
      if (taken !== undefined) return 'name-taken';
      const before = await ownersWithWayIn(tx, orgId);
      const row = await tx
        .updateTable('identity_providers')
        .set({ ...columns(change), version: version + 1, updated_at: sql<Date>`now()` })
        .where('id', '=', id)
        .where('version', '=', version)
        .returningAll()
        .executeTakeFirst();
      if (row === undefined) return 'missing';
      if (before > 0 && (await ownersWithWayIn(tx, orgId)) === 0) throw new Undone('last-way-in');
      if (!row.enabled) await endSessions(tx, orgId, { providerId: id }, 'provider-disabled');
      await recordAct(tx, act);
      return record(row);
    }).catch(undone);
  }

  /** Whom the provider means by its subject. */
  async userOf(orgId: string, providerId: string, subject: string): Promise<string | undefined> {
    return this.#database.withOrg(
      orgId,
      async (tx) => (await tx.selectFrom('user_identities').select('user_id').where('provider_id', '=', providerId).where('subject', '=', subject).executeTakeFirst())?.user_id,
    );
  }

  /** Names of the roles that people have who sign in by it, by themselves or through teams, under whatever condition. */
  async rolesOfItsPeople(orgId: string, id: string): Promise<string[]> {
    return this.#database.withOrg(orgId, async (tx) => {
      const { rows } = await sql<{ role: string }>`
        with recursive people as (select distinct user_id from user_identities where org_id = ${orgId} and provider_id = ${id}),
        line as (
          select t.id, t.parent_id from people p join team_members m on m.org_id = ${orgId} and m.user_id = p.user_id join teams t on t.org_id = m.org_id and t.id = m.team_id
          union
          select t.id, t.parent_id from line l join teams t on t.org_id = ${orgId} and t.id = l.parent_id
        )
        select distinct role from role_bindings where org_id = ${orgId} and (user_id in (select user_id from people) or team_id in (select id from line))`.execute(tx);
      return rows.map((row) => row.role);
    });
  }

  /** Notes the outcome of a test of `version`; a newer version keeps its own. */
  async noteTest(orgId: string, id: string, version: number, test: ProviderTest): Promise<void> {
    await this.#database.withOrg(orgId, (tx) =>
      tx
        .updateTable('identity_providers')
        .set({ state: test.state, last_tested_at: test.lastTestedAt, last_failure: test.lastFailure })
        .where('id', '=', id)
        .where('version', '=', version)
        .execute(),
    );
  }

  /** Removes it with the names it knows people by, the roles its groups gave and the sessions that came from it; refused when no owner could sign in any more. */
  async remove(orgId: string, id: string, act: Act): Promise<Removal> {
    return this.#database
      .withOrg<Removal>(orgId, async (tx) => {
        const before = await ownersWithWayIn(tx, orgId);
        const { numDeletedRows } = await tx.deleteFrom('identity_providers').where('id', '=', id).executeTakeFirst();
        if (numDeletedRows === 0n) return 'missing';
        if (before > 0 && (await ownersWithWayIn(tx, orgId)) === 0) throw new Undone('last-way-in');
        await tx.deleteFrom('role_bindings').where('provider_id', '=', id).execute();
        await endSessions(tx, orgId, { providerId: id }, 'provider-disabled');
        await announceIdentity(tx, orgId);
        await recordAct(tx, act);
        return 'done';
      })
      .catch(undone);
  }
}

/** Rolls the transaction back and says why. */
class Undone extends Error {
  override readonly name = 'Undone';
  readonly why: 'last-way-in';

  constructor(why: 'last-way-in') {
    super(why);
    this.why = why;
  }
}

function undone(error: unknown): 'last-way-in' {
  if (error instanceof Undone) return error.why;
  throw error;
}

/** The organisation's row is the lock: of two who take the last two ways at once the second sees what the first did. */
async function ownersWithWayIn(tx: Tx, orgId: string): Promise<number> {
  await tx.selectFrom('organisations').select('org_id').where('org_id', '=', orgId).forUpdate().execute();
  const { rows } = await sql<{ count: number }>`select hal9_owners_with_way_in(${orgId}) as count`.execute(tx);
  return rows[0]?.count ?? 0;
}

function columns(provider: IdentityProviderChange) {
  return {
    name: provider.name,
    preset: provider.preset,
    settings: JSON.stringify(provider.settings),
    secrets: provider.secrets,
    enabled: provider.enabled,
    role_mapping: JSON.stringify(provider.roleMapping),
    provisions: provider.provisions,
    vouches: [...provider.vouches],
    state: provider.state,
    last_tested_at: provider.lastTestedAt,
    last_failure: provider.lastFailure,
    updated_by: provider.updatedBy,
  };
}

function record(row: Selectable<Row>): IdentityProviderRecord {
  return {
    orgId: row.org_id,
    id: row.id,
    kind: row.kind,
    name: row.name,
    preset: row.preset,
    settings: row.settings,
    secrets: row.secrets,
    enabled: row.enabled,
    roleMapping: row.role_mapping,
    provisions: row.provisions,
    vouches: row.vouches,
    version: row.version,
    state: row.state,
    lastTestedAt: row.last_tested_at,
    lastFailure: row.last_failure,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
    updatedBy: row.updated_by,
  };
}
