import { sql } from 'kysely';
import { recordAct, type Act } from './audit-acts.ts';
import type { Database } from './database.ts';
import { invitationRow, type NewInvitation } from './invitations.ts';

export interface ApiKeyRecord {
  orgId: string;
  id: string;
  name: string;
  prefix: string;
  /** SHA-256 of the secret. */
  secretHash: Buffer;
  scopes: readonly string[];
  createdAt: Date;
  expiresAt: Date | null;
  revokedAt: Date | null;
  lastUsedAt: Date | null;
  /** The person who made it for themselves or others: it stops with them. */
  createdBy: { readonly orgId: string; readonly userId: string } | null;
}

/** A key with what decides besides whether it works. */
export interface ApiKeyInPlace extends ApiKeyRecord {
  /** Its organisation, those above, and its maker's: a change of one of them can stop it. */
  line: readonly string[];
  /** Whether its maker, if it has one, is active and of the line, and no organisation of the line is suspended. */
  stands: boolean;
}

export type NewApiKey = Pick<ApiKeyRecord, 'orgId' | 'id' | 'name' | 'prefix' | 'secretHash' | 'scopes' | 'expiresAt'> & Partial<Pick<ApiKeyRecord, 'createdBy'>>;

/** PostgreSQL channel on which a changed key's prefix is announced. */
export const KEY_CHANNEL = 'hal9_keys';
/** Any constant: one process at a time creates the first organisation. */
const BOOTSTRAP_LOCK = 4_240_000_010;

/** API keys. Lookups by prefix cross organisations, because the key is what says which organisation is asking. */
export class ApiKeyStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /** By the public part of a key, in whichever organisation. */
  async findByPrefixAcrossOrganisations(prefix: string): Promise<ApiKeyInPlace | undefined> {
    const { rows } = await this.#database.systemPool.query<KeyRow & { line: string[]; stands: boolean }>({ name: 'api-key-by-prefix', text: BY_PREFIX, values: [prefix] });
    const [row] = rows;
    return row === undefined ? undefined : { ...record(row), line: row.line, stands: row.stands };
  }

  /** @param act left out for keys that HAL9 makes for its own processes. */
  async insert(key: NewApiKey, act?: Act): Promise<ApiKeyRecord> {
    return this.#database.withOrg(key.orgId, async (tx) => {
      const row = await tx.insertInto('api_keys').values(values(key)).returningAll().executeTakeFirstOrThrow();
      if (act !== undefined) await recordAct(tx, act);
      return record(row);
    });
  }

  /** Newest first. `before` is the (created, id) of the last key of the page before. */
  async list(orgId: string, limit: number, before?: { createdAt: Date; id: string }): Promise<ApiKeyRecord[]> {
    return this.#database.withOrg(orgId, async (tx) => {
      let query = tx.selectFrom('api_keys').selectAll().orderBy('created_at', 'desc').orderBy('id', 'desc').limit(limit);
      if (before !== undefined) {
        query = query.where(sql<boolean>`(date_trunc('milliseconds', created_at), id) < (${before.createdAt}, ${before.id}::uuid)`);
      }
      return (await query.execute()).map(record);
    });
  }

  async find(orgId: string, id: string): Promise<ApiKeyRecord | undefined> {
    return this.#database.withOrg(orgId, async (tx) => {
      const row = await tx.selectFrom('api_keys').selectAll().where('id', '=', id).executeTakeFirst();
      return row === undefined ? undefined : record(row);
    });
  }

  /** Marks the key revoked (once; a second call keeps the first time) and tells every process on commit. */
  async revoke(orgId: string, id: string, act: Act): Promise<ApiKeyRecord | undefined> {
    return this.#database.withOrg(orgId, async (tx) => {
      const row = await tx.updateTable('api_keys').set({ revoked_at: sql<Date>`coalesce(revoked_at, now())` }).where('id', '=', id).returningAll().executeTakeFirst();
      if (row === undefined) return undefined;
      await recordAct(tx, act);
      await sql`select pg_notify(${KEY_CHANNEL}, ${row.prefix})`.execute(tx);
      return record(row);
    });
  }

  /**
   * Adds `successor` and lets the key end at `endsAt` (or at its own expiry when that is sooner), in one transaction.
   * @returns undefined when the key does not exist or no longer works.
   */
  async rotate(orgId: string, id: string, successor: NewApiKey, endsAt: Date, act: Act): Promise<ApiKeyRecord | undefined> {
    return this.#database.withOrg(orgId, async (tx) => {
      const old = await tx
        .updateTable('api_keys')
        .set({ expires_at: sql<Date>`least(coalesce(expires_at, 'infinity'), ${endsAt})` })
        .where('id', '=', id)
        .where('revoked_at', 'is', null)
        .where((where) => where.or([where('expires_at', 'is', null), where('expires_at', '>', sql<Date>`now()`)]))
        .returning(['prefix'])
        .executeTakeFirst();
      if (old === undefined) return undefined;
      const row = await tx.insertInto('api_keys').values(values(successor)).returningAll().executeTakeFirstOrThrow();
      await recordAct(tx, act);
      await sql`select pg_notify(${KEY_CHANNEL}, ${old.prefix})`.execute(tx);
      return record(row);
    });
  }

  /** Writes when keys were last used; one statement for the keys of all organisations. */
  async touchAcrossOrganisations(uses: readonly { orgId: string; id: string; at: Date }[]): Promise<void> {
    if (uses.length === 0) return;
    await this.#database.systemPool.query(
      `update api_keys k set last_used_at = greatest(k.last_used_at, u.at)
       from unnest($1::uuid[], $2::uuid[], $3::timestamptz[]) as u (org_id, id, at)
       where k.org_id = u.org_id and k.id = u.id`,
      [uses.map((use) => use.orgId), uses.map((use) => use.id), uses.map((use) => use.at)],
    );
  }

  /**
   * Creates the first organisation with its key and the invitation of its owner, unless there is an organisation already.
   * @returns whether this call created it; of several processes at once, one does.
   */
  async createFirstOrganisation(name: string, key: NewApiKey, owner: NewInvitation, act: Act): Promise<boolean> {
    return this.#database.system.transaction().execute(async (tx) => {
      await sql`select pg_advisory_xact_lock(${BOOTSTRAP_LOCK})`.execute(tx);
      const existing = await tx.selectFrom('organisations').select('org_id').limit(1).executeTakeFirst();
      if (existing !== undefined) return false;
      await tx.insertInto('organisations').values({ org_id: key.orgId, name, slug: name }).execute();
      await tx.insertInto('api_keys').values(values(key)).execute();
      await tx.insertInto('invitations').values(invitationRow(owner)).execute();
      await recordAct(tx, act);
      return true;
    });
  }
}

/** Deeper lines of organisations are never made; reading stops there whatever the rows say. */
const DEEPEST = 32;

const BY_PREFIX = `
select k.org_id, k.id, k.name, k.prefix, k.secret_hash, k.scopes, k.created_at, k.expires_at, k.revoked_at, k.last_used_at, k.created_by_org, k.created_by_user, above.ids || coalesce(k.created_by_org, k.org_id) as line,
  not above.suspended and (k.created_by_user is null or (k.created_by_org = any (above.ids) and exists (select from users u where u.org_id = k.created_by_org and u.id = k.created_by_user and u.active))) as stands
from api_keys k, lateral (
  with recursive line as (
    select o.org_id, o.parent_id, o.suspended_at, 0 as depth from organisations o where o.org_id = k.org_id
    union all
    select o.org_id, o.parent_id, o.suspended_at, line.depth + 1 from line join organisations o on o.org_id = line.parent_id where line.depth < ${DEEPEST}
  )
  select array_agg(org_id) as ids, bool_or(suspended_at is not null) as suspended from line
) above
where k.prefix = $1`;

interface KeyRow {
  org_id: string;
  id: string;
  name: string;
  prefix: string;
  secret_hash: Buffer;
  scopes: string[];
  created_at: Date;
  expires_at: Date | null;
  revoked_at: Date | null;
  last_used_at: Date | null;
  created_by_org: string | null;
  created_by_user: string | null;
}

function record(row: KeyRow): ApiKeyRecord {
  return {
    orgId: row.org_id,
    id: row.id,
    name: row.name,
    prefix: row.prefix,
    secretHash: row.secret_hash,
    scopes: row.scopes,
    createdAt: row.created_at,
    expiresAt: row.expires_at,
    revokedAt: row.revoked_at,
    lastUsedAt: row.last_used_at,
    createdBy: row.created_by_org === null || row.created_by_user === null ? null : { orgId: row.created_by_org, userId: row.created_by_user },
  };
}

function values(key: NewApiKey) {
  return { org_id: key.orgId, id: key.id, name: key.name, prefix: key.prefix, secret_hash: key.secretHash, scopes: [...key.scopes], expires_at: key.expiresAt, created_by_org: key.createdBy?.orgId ?? null, created_by_user: key.createdBy?.userId ?? null };
}
