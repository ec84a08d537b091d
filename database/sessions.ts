import { sql, type ColumnType, type Generated } from 'kysely';
import { HalError } from '../schemas/errors.ts';
import { recordAct, type Act } from './audit-acts.ts';
import type { Database, Tx } from './database.ts';
import { announceIdentity } from './identity-channel.ts';
import type { Timestamp } from './organisations.ts';

type MaybeTime = ColumnType<Date | null, Date | null | undefined, Date | null>;

export type SessionMethod = 'password' | 'passkey' | 'oidc' | 'saml' | 'ldap' | 'api-key' | 'impersonation';
export type SessionEnd = 'sign-out' | 'revoked' | 'token-reuse' | 'password-changed' | 'provider-logout' | 'provider-disabled';

export interface SessionTables {
  sessions: {
    org_id: string;
    id: string;
    user_id: string | null;
    api_key_id: string | null;
    method: SessionMethod;
    provider_id: string | null;
    impersonator_org_id: string | null;
    impersonator_id: string | null;
    region: string;
    created_at: Timestamp;
    expires_at: Date;
    last_seen_at: Timestamp;
    verified_at: Timestamp;
    second_factor: Generated<boolean>;
    ended_at: MaybeTime;
    end_reason: SessionEnd | null;
    risk: number;
    sealed: Buffer;
    provider_session: Buffer | null;
  };
  session_tokens: {
    org_id: string;
    token_hash: Buffer;
    session_id: string;
    issued_at: Timestamp;
    used_at: MaybeTime;
    replaced_at: MaybeTime;
  };
  sign_in_traits: {
    org_id: string;
    user_id: string;
    kind: TraitKind;
    trait: Buffer;
    seen: Generated<number>;
    first_seen_at: Timestamp;
    last_seen_at: Timestamp;
  };
}

export type TraitKind = 'address' | 'agent' | 'hour';

/** HMAC of something about a sign-in that was like earlier ones or not. */
export interface Trait {
  readonly kind: TraitKind;
  readonly hash: Buffer;
}

export interface SessionRecord {
  readonly orgId: string;
  readonly id: string;
  readonly userId: string | null;
  readonly apiKeyId: string | null;
  readonly method: SessionMethod;
  readonly providerId: string | null;
  /** Who acts as the user, and the organisation they are of. */
  readonly impersonator: { readonly orgId: string; readonly userId: string } | null;
  readonly region: string;
  readonly createdAt: Date;
  readonly expiresAt: Date;
  readonly lastSeenAt: Date;
  readonly verifiedAt: Date;
  readonly secondFactor: boolean;
  readonly endedAt: Date | null;
  readonly risk: number;
  readonly sealed: Buffer;
}

/** A session as found by one of its tokens. */
export interface SessionByToken extends SessionRecord {
  /** Public part of the key that the session is of. */
  readonly apiKeyPrefix: string | null;
  readonly token: { readonly issuedAt: Date; readonly usedAt: Date | null; readonly replacedAt: Date | null };
}

export interface NewSession {
  readonly orgId: string;
  readonly id: string;
  readonly userId?: string | undefined;
  readonly apiKeyId?: string | undefined;
  readonly method: SessionMethod;
  readonly providerId?: string | undefined;
  readonly impersonator?: { readonly orgId: string; readonly userId: string } | undefined;
  readonly region: string;
  readonly expiresAt: Date;
  readonly secondFactor: boolean;
  readonly risk: number;
  readonly sealed: Buffer;
  readonly providerSession?: Buffer | undefined;
  readonly tokenHash: Buffer;
  /** Remembered with the sign-in, so that the next like it is usual. */
  readonly traits: readonly Trait[];
}

const BY_TOKEN = `
select s.org_id, s.id, s.user_id, s.api_key_id, s.method, s.provider_id, s.impersonator_org_id, s.impersonator_id, s.region, s.created_at, s.expires_at, s.last_seen_at,
  s.verified_at, s.second_factor, s.ended_at, s.end_reason, s.risk, s.sealed, s.provider_session, k.prefix as api_key_prefix, t.issued_at, t.used_at, t.replaced_at
from session_tokens t
join sessions s on s.org_id = t.org_id and s.id = t.session_id
left join api_keys k on k.org_id = s.org_id and k.id = s.api_key_id
where t.token_hash = $1`;

type SessionRow = { [Column in keyof SessionTables['sessions']]: SessionTables['sessions'][Column] extends ColumnType<infer Read, infer _Write, infer _Update> ? Read : SessionTables['sessions'][Column] };

/** Sessions of browsers. The lookup by token crosses organisations: the token is what says which one is asking. */
export class SessionStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /**
   * Opens a session with its first token, which counts as used: it leaves in the answer that the person waits for.
   * @throws {HalError} `Unauthenticated` when the provider it comes from has been disabled or deleted meanwhile.
   */
  async open(session: NewSession, act: Act): Promise<void> {
    await this.#database.withOrg(session.orgId, async (tx) => {
      if (session.providerId !== undefined) await assertProvider(tx, session.providerId);
      await tx
        .insertInto('sessions')
        .values({
          org_id: session.orgId,
          id: session.id,
          user_id: session.userId ?? null,
          api_key_id: session.apiKeyId ?? null,
          method: session.method,
          provider_id: session.providerId ?? null,
          impersonator_org_id: session.impersonator?.orgId ?? null,
          impersonator_id: session.impersonator?.userId ?? null,
          region: session.region,
          expires_at: session.expiresAt,
          second_factor: session.secondFactor,
          risk: session.risk,
          sealed: session.sealed,
          provider_session: session.providerSession ?? null,
        })
        .execute();
      await tx.insertInto('session_tokens').values({ org_id: session.orgId, token_hash: session.tokenHash, session_id: session.id, used_at: sql<Date>`now()` }).execute();
      if (session.userId !== undefined && session.impersonator === undefined) {
        await tx.updateTable('users').set({ last_sign_in_at: sql<Date>`now()` }).where('id', '=', session.userId).execute();
        await remember(tx, session.orgId, session.userId, session.traits);
      }
      await recordAct(tx, act);
    });
  }

  async findByTokenAcrossOrganisations(tokenHash: Buffer): Promise<SessionByToken | undefined> {
    const { rows } = await this.#database.systemPool.query<SessionRow & { api_key_prefix: string | null; issued_at: Date; used_at: Date | null; replaced_at: Date | null }>({ name: 'session-by-token', text: BY_TOKEN, values: [tokenHash] });
    const [row] = rows;
    if (row === undefined) return undefined;
    return { ...record(row), apiKeyPrefix: row.api_key_prefix, token: { issuedAt: row.issued_at, usedAt: row.used_at, replacedAt: row.replaced_at } };
  }

  async find(orgId: string, id: string): Promise<SessionRecord | undefined> {
    return this.#database.withOrg(orgId, async (tx) => {
      const row = await tx.selectFrom('sessions').selectAll().where('id', '=', id).executeTakeFirst();
      return row === undefined ? undefined : record(row);
    });
  }

  /** Adds a token to the family. Its predecessors stay good until it is first used. */
  async issueToken(orgId: string, sessionId: string, tokenHash: Buffer): Promise<void> {
    await this.#database.withOrg(orgId, (tx) => tx.insertInto('session_tokens').values({ org_id: orgId, token_hash: tokenHash, session_id: sessionId }).execute());
  }

  /** The first use of a token: from now on those before it are being replaced. */
  async useToken(orgId: string, sessionId: string, tokenHash: Buffer): Promise<void> {
    await this.#database.withOrg(orgId, async (tx) => {
      const first = await tx.updateTable('session_tokens').set({ used_at: sql<Date>`now()` }).where('token_hash', '=', tokenHash).where('used_at', 'is', null).where('replaced_at', 'is', null).returning('session_id').executeTakeFirst();
      if (first === undefined) return;
      await tx.updateTable('session_tokens').set({ replaced_at: sql<Date>`now()` }).where('session_id', '=', sessionId).where('token_hash', '<>', tokenHash).where('replaced_at', 'is', null).execute();
    });
  }

  async touch(orgId: string, sessionId: string): Promise<void> {
    await this.#database.withOrg(orgId, (tx) => tx.updateTable('sessions').set({ last_seen_at: sql<Date>`now()` }).where('id', '=', sessionId).execute());
  }

  /** A factor, or the password, was shown again; every token but `tokenHash` is replaced at once, because the session may do more now. */
  async verify(orgId: string, sessionId: string, secondFactor: boolean, tokenHash: Buffer, act: Act): Promise<void> {
    await this.#database.withOrg(orgId, async (tx) => {
      await tx
        .updateTable('sessions')
        .set({ verified_at: sql<Date>`now()`, ...(secondFactor ? { second_factor: true } : {}) })
        .where('id', '=', sessionId)
        .execute();
      await tx.updateTable('session_tokens').set({ replaced_at: sql<Date>`now()` }).where('session_id', '=', sessionId).where('replaced_at', 'is', null).execute();
      await tx.insertInto('session_tokens').values({ org_id: orgId, token_hash: tokenHash, session_id: sessionId, used_at: sql<Date>`now()` }).execute();
      await recordAct(tx, act);
      await announceIdentity(tx, orgId);
    });
  }

  /** Of a user, newest first; those that have ended or expired are left out. */
  async listOpen(orgId: string, userId: string, limit: number): Promise<SessionRecord[]> {
    return this.#database.withOrg(orgId, async (tx) => {
      const rows = await tx
        .selectFrom('sessions')
        .selectAll()
        .where('user_id', '=', userId)
        .where('ended_at', 'is', null)
        .where('expires_at', '>', sql<Date>`now()`)
        .orderBy('created_at', 'desc')
        .orderBy('id')
        .limit(limit)
        .execute();
      return rows.map(record);
    });
  }

  /**
   * Ends open sessions and tells every process on commit.
   * @param which of one id, of a user (all but `except`), or of the provider's own session.
   * @returns ids of those that were open. The act is written when there were any.
   */
  async end(orgId: string, which: EndedSessions, reason: SessionEnd, act: Act): Promise<string[]> {
    return this.#database.withOrg(orgId, async (tx) => {
      const ended = await endSessions(tx, orgId, which, reason);
      if (ended.length > 0) await recordAct(tx, act);
      return ended;
    });
  }

  /** @returns for each trait how often the user signed in with it, 0 for never; and how often they signed in at all. */
  async seenBefore(orgId: string, userId: string, traits: readonly Trait[]): Promise<{ sessions: number; seen: readonly number[] }> {
    return this.#database.withOrg(orgId, async (tx) => {
      const rows = await tx.selectFrom('sign_in_traits').select(['kind', 'trait', 'seen']).where('user_id', '=', userId).execute();
      const seen = traits.map(({ kind, hash }) => rows.find((row) => row.kind === kind && row.trait.equals(hash))?.seen ?? 0);
      return { sessions: rows.filter((row) => row.kind === 'agent').reduce((sum, row) => sum + row.seen, 0), seen };
    });
  }

  /** Forgets sessions that ended or expired more than `days` ago, consumed challenges and stale throttles. @returns sessions deleted. */
  async pruneAcrossOrganisations(days: number): Promise<number> {
    const old = sql<Date>`now() - make_interval(days => ${days})`;
    const { numDeletedRows } = await this.#database.system
      .deleteFrom('sessions')
      .where((where) => where.or([where('expires_at', '<', old), where('ended_at', '<', old)]))
      .executeTakeFirst();
    await this.#database.system.deleteFrom('sign_in_challenges').where('expires_at', '<', sql<Date>`now() - interval '1 day'`).execute();
    await this.#database.systemPool.query('delete from sign_in_throttle where expire < $1', [Date.now()]);
    return Number(numDeletedRows);
  }
}

export type EndedSessions =
  | { readonly id: string }
  | { readonly userId: string; readonly except?: string | undefined }
  /** All that came from a provider, or its one session. */
  | { readonly providerId: string; readonly providerSession?: Buffer };

/** Ends sessions in a transaction that has its own reason to, e.g. a changed password. */
export async function endSessions(tx: Tx, orgId: string, which: EndedSessions, reason: SessionEnd): Promise<string[]> {
  let update = tx.updateTable('sessions').set({ ended_at: sql<Date>`now()`, end_reason: reason }).where('ended_at', 'is', null);
  if ('id' in which) update = update.where('id', '=', which.id);
  else if ('userId' in which) update = which.except === undefined ? update.where('user_id', '=', which.userId) : update.where('user_id', '=', which.userId).where('id', '<>', which.except);
  else {
    update = update.where('provider_id', '=', which.providerId);
    if (which.providerSession !== undefined) update = update.where('provider_session', '=', which.providerSession);
  }
  const rows = await update.returning('id').execute();
  if (rows.length > 0) await announceIdentity(tx, orgId);
  return rows.map((row) => row.id);
}

/** Locks the provider, so that whoever disables it at this moment ends this session too. */
async function assertProvider(tx: Tx, providerId: string): Promise<void> {
  const found = await tx.selectFrom('identity_providers').select('id').where('id', '=', providerId).where('enabled', '=', true).forShare().executeTakeFirst();
  if (found === undefined) throw new HalError('Unauthenticated', 'the identity provider is not used any more');
}

async function remember(tx: Tx, orgId: string, userId: string, traits: readonly Trait[]): Promise<void> {
  if (traits.length === 0) return;
  await tx
    .insertInto('sign_in_traits')
    .values(traits.map(({ kind, hash }) => ({ org_id: orgId, user_id: userId, kind, trait: hash })))
    .onConflict((conflict) => conflict.columns(['org_id', 'user_id', 'kind', 'trait']).doUpdateSet({ seen: sql<number>`sign_in_traits.seen + 1`, last_seen_at: sql<Date>`now()` }))
    .execute();
}

function record(row: SessionRow): SessionRecord {
  return {
    orgId: row.org_id,
    id: row.id,
    userId: row.user_id,
    apiKeyId: row.api_key_id,
    method: row.method,
    providerId: row.provider_id,
    impersonator: row.impersonator_id === null || row.impersonator_org_id === null ? null : { orgId: row.impersonator_org_id, userId: row.impersonator_id },
    region: row.region,
    createdAt: row.created_at,
    expiresAt: row.expires_at,
    lastSeenAt: row.last_seen_at,
    verifiedAt: row.verified_at,
    secondFactor: row.second_factor,
    endedAt: row.ended_at,
    risk: row.risk,
    sealed: row.sealed,
  };
}
