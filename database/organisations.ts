import { sql, type ColumnType, type Generated, type Selectable } from 'kysely';
import { recordAct, type Act } from './audit-acts.ts';
import type { Database, Tx } from './database.ts';
import { announceIdentity } from './identity-channel.ts';

/** Timestamps are Dates when read; strings or Dates when written; the database's clock when left out. */
export type Timestamp = ColumnType<Date, Date | string | undefined, Date | string>;

export interface OrganisationTables {
  organisations: {
    org_id: string;
    name: string;
    slug: string | null;
    parent_id: string | null;
    region: Generated<string>;
    suspended_at: ColumnType<Date | null, Date | null | undefined, Date | null>;
    owned: Generated<boolean>;
    settings: Generated<unknown>;
    created_at: Timestamp;
  };
  api_keys: {
    org_id: string;
    id: string;
    name: string;
    prefix: string;
    secret_hash: Buffer;
    scopes: string[];
    created_at: Timestamp;
    expires_at: ColumnType<Date | null, Date | null | undefined, Date | null>;
    revoked_at: ColumnType<Date | null, Date | null | undefined, Date | null>;
    last_used_at: ColumnType<Date | null, Date | null | undefined, Date | null>;
    created_by_org: string | null;
    created_by_user: string | null;
    user_id: string | null;
  };
}

export interface Organisation {
  orgId: string;
  name: string;
}

export interface OrganisationRecord extends Organisation {
  /** Short name in sign-in addresses. */
  slug: string | null;
  parentId: string | null;
  region: string;
  suspendedAt: Date | null;
  createdAt: Date;
}

export type NewOrganisation = Pick<OrganisationRecord, 'orgId' | 'name' | 'slug' | 'parentId' | 'region'>;
export type OrganisationChange = Partial<Pick<OrganisationRecord, 'name' | 'slug' | 'region' | 'parentId' | 'suspendedAt'>>;

/** Who is below whom, by organisation id. */
export type OrganisationTree = ReadonlyMap<string, string | null>;

/** Any constant: the tree changes by one transaction at a time, so that two moves cannot make a ring together. */
const TREE_LOCK = 4_240_000_011;

/** Organisations, across all of them: bootstrap, background work, and an organisation's reach over those below it. */
export class OrganisationStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  async listAll(): Promise<Organisation[]> {
    const rows = await this.#database.system.selectFrom('organisations').select(['org_id', 'name']).orderBy('created_at').execute();
    return rows.map((row) => ({ orgId: row.org_id, name: row.name }));
  }

  async create(organisation: Organisation): Promise<void> {
    await this.#database.system.insertInto('organisations').values({ org_id: organisation.orgId, name: organisation.name }).execute();
  }

  async findAcrossOrganisations(orgId: string): Promise<OrganisationRecord | undefined> {
    const row = await this.#database.system.selectFrom('organisations').selectAll().where('org_id', '=', orgId).executeTakeFirst();
    return row === undefined ? undefined : record(row);
  }

  /** The organisation and those above it, nearest first; empty when there is none. */
  async lineAcrossOrganisations(orgId: string): Promise<string[]> {
    const { rows } = await sql<{ org_id: string }>`
      with recursive line as (
        select org_id, parent_id, 0 as depth from organisations where org_id = ${orgId}
        union all
        select o.org_id, o.parent_id, l.depth + 1 from line l join organisations o on o.org_id = l.parent_id where l.depth < 32
      )
      select org_id from line order by depth`.execute(this.#database.system);
    return rows.map((row) => row.org_id);
  }

  /**
   * The organisation and all below it, oldest first.
   * @param top undefined: all there are.
   * @param after the (created, id) of the last row of the page before.
   */
  async listBelowAcrossOrganisations(top: string | undefined, limit: number, after?: { createdAt: Date; id: string }): Promise<OrganisationRecord[]> {
    let query = this.#database.system.selectFrom('organisations').selectAll().orderBy(sql`date_trunc('milliseconds', created_at)`).orderBy('org_id').limit(limit);
    if (top !== undefined) {
      query = query.where(sql<boolean>`org_id in (
        with recursive below as (
          select org_id from organisations where org_id = ${top}
          union
          select o.org_id from below b join organisations o on o.parent_id = b.org_id
        )
        select org_id from below)`);
    }
    if (after !== undefined) query = query.where(sql<boolean>`(date_trunc('milliseconds', created_at), org_id) > (${after.createdAt}, ${after.id}::uuid)`);
    return (await query.execute()).map(record);
  }

  /**
   * Makes an organisation. The acts are written into the logs of the organisations they name.
   * @param check throws when it may not stand there; sees the tree as nobody else can change it.
   */
  async insertAcrossOrganisations(organisation: NewOrganisation, acts: readonly Act[], check: (tree: OrganisationTree) => void): Promise<OrganisationRecord> {
    return this.#database.system.transaction().execute(async (tx) => {
      check(await lockedTree(tx));
      const row = await tx
        .insertInto('organisations')
        .values({ org_id: organisation.orgId, name: organisation.name, slug: organisation.slug, parent_id: organisation.parentId, region: organisation.region })
        .returningAll()
        .executeTakeFirstOrThrow();
      for (const act of acts) await recordAct(tx, act);
      await announceIdentity(tx, organisation.orgId);
      return record(row);
    });
  }

  /** As `insertAcrossOrganisations`; @returns undefined when there is none. */
  async changeAcrossOrganisations(orgId: string, change: OrganisationChange, acts: readonly Act[], check: (tree: OrganisationTree) => void): Promise<OrganisationRecord | undefined> {
    return this.#database.system.transaction().execute(async (tx) => {
      check(await lockedTree(tx));
      const row = await tx
        .updateTable('organisations')
        .set({
          // A statement must set something, and nothing else may have changed.
          name: sql<string>`name`,
          ...(change.name === undefined ? {} : { name: change.name }),
          ...(change.slug === undefined ? {} : { slug: change.slug }),
          ...(change.region === undefined ? {} : { region: change.region }),
          ...(change.parentId === undefined ? {} : { parent_id: change.parentId }),
          ...(change.suspendedAt === undefined ? {} : { suspended_at: change.suspendedAt }),
        })
        .where('org_id', '=', orgId)
        .returningAll()
        .executeTakeFirst();
      if (row === undefined) return undefined;
      for (const act of acts) await recordAct(tx, act);
      await announceIdentity(tx, orgId);
      return record(row);
    });
  }
}

async function lockedTree(tx: Tx): Promise<OrganisationTree> {
  await sql`select pg_advisory_xact_lock(${TREE_LOCK})`.execute(tx);
  const rows = await tx.selectFrom('organisations').select(['org_id', 'parent_id']).execute();
  return new Map(rows.map((row) => [row.org_id, row.parent_id]));
}

function record(row: Selectable<OrganisationTables['organisations']>): OrganisationRecord {
  return { orgId: row.org_id, name: row.name, slug: row.slug, parentId: row.parent_id, region: row.region, suspendedAt: row.suspended_at, createdAt: row.created_at };
}
