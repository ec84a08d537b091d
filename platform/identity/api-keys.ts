import { randomUUID, timingSafeEqual } from 'node:crypto';
import { ApiKeyStore, type ApiKeyInPlace, type ApiKeyRecord } from '../../database/api-keys.ts';
import type { Database } from '../../database/database.ts';
import { HalError } from '../../schemas/errors.ts';
import { actOf } from '../audit/act.ts';
import { Authority } from './authority.ts';
import type { Caller } from './caller.ts';
import { CredentialCache, type CachedKind } from './credential-cache.ts';
import { Grants } from './grants.ts';
import { formatKey, generateKey, hashSecret, parseKey } from './key-format.ts';
import { SCOPE_PATTERN } from './permissions.ts';

/** What may be told about a key: everything but its secret. */
export type ApiKey = Omit<ApiKeyRecord, 'secretHash'>;

export interface CreatedApiKey {
  key: ApiKey;
  /** `hal9_<prefix>_<secret>`; known at this moment only. */
  secret: string;
}

export interface ApiKeyDraft {
  name: string;
  scopes: readonly string[];
  expiresAt?: Date | null | undefined;
}

export type Credential = Pick<ApiKeyRecord, 'orgId' | 'id' | 'prefix' | 'scopes'>;

/** How often the times of last use are written, milliseconds. */
const TOUCH_INTERVAL_MS = 10_000;

/**
 * API keys of one process: checks them from a cache that is at most a second old and hears of revocations at once, and
 * manages them. `start` before use; `stop` writes what is still unwritten.
 */
export class ApiKeys {
  readonly #store: ApiKeyStore;
  readonly #authority: Authority;
  readonly #shared: CredentialCache;
  readonly #cache: CachedKind<ApiKeyInPlace>;
  readonly #uses = new Map<string, { orgId: string; id: string; at: Date }>();
  #timer: NodeJS.Timeout | undefined;

  /** @param cache shared by everything of this process that decides about credentials; listens while this is started. */
  constructor(database: Database, cache: CredentialCache = new CredentialCache(database)) {
    this.#store = new ApiKeyStore(database);
    this.#authority = new Authority(new Grants(database));
    this.#shared = cache;
    this.#cache = cache.kind(
      (prefix) => this.#store.findByPrefixAcrossOrganisations(prefix),
      (record) => record.line,
    );
  }

  start(): void {
    this.#shared.listen();
    this.#timer = setInterval(() => {
      this.#flush().catch(() => undefined); // times of last use are a convenience: the next flush has newer ones
    }, TOUCH_INTERVAL_MS);
    this.#timer.unref();
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await this.#flush().catch(() => undefined); // as above; the database may be gone already
    await this.#shared.close();
  }

  /**
   * Checks a key as sent.
   * @returns undefined for one that is malformed, unknown, wrong, expired or revoked: callers must not be able to tell which.
   */
  async authenticate(text: string): Promise<Credential | undefined> {
    const parsed = parseKey(text);
    if (parsed === undefined) return undefined;
    const record = await this.#cache.get(parsed.prefix);
    if (record === undefined || !timingSafeEqual(hashSecret(parsed.secret), record.secretHash)) return undefined;
    return this.#use(record);
  }

  /** The credential behind a public prefix that was proved some other way (a signed session); checked for expiry and revocation. */
  async credentialOf(prefix: string): Promise<Credential | undefined> {
    const record = await this.#cache.get(prefix);
    return record === undefined ? undefined : this.#use(record);
  }

  /**
   * @throws {HalError} `Forbidden` when a scope exceeds what the caller has whenever and from wherever, `InvalidInput` when one is malformed
   *   or the expiry has passed.
   */
  async create(caller: Caller, draft: ApiKeyDraft): Promise<CreatedApiKey> {
    assertWellFormed(draft.scopes);
    await this.#authority.assertMayGive(caller, draft.scopes);
    assertFuture(draft.expiresAt);
    const text = generateKey();
    const fresh = { ...newRecord(caller, draft, text), createdBy: await this.#makerOf(caller) };
    const record = await this.#store.insert(fresh, actOf(caller, 'api-key.create', { kind: 'api-key', id: fresh.id }, { scopes: draft.scopes, expiresAt: draft.expiresAt?.toISOString() ?? null }));
    return { key: publicPart(record), secret: formatKey(text) };
  }

  /** Newest first, at most `limit`; `before` continues a page. */
  async list(caller: Caller, limit: number, before?: { createdAt: Date; id: string }): Promise<ApiKey[]> {
    return (await this.#store.list(caller.orgId, limit, before)).map(publicPart);
  }

  /** @throws {HalError} `NotFound`. */
  async get(caller: Caller, id: string): Promise<ApiKey> {
    const record = await this.#store.find(caller.orgId, id);
    if (record === undefined) throw new HalError('NotFound', 'no such API key');
    return publicPart(record);
  }

  /** Ends a key now, in every process within a second. Idempotent. @throws {HalError} `NotFound`. */
  async revoke(caller: Caller, id: string): Promise<ApiKey> {
    const record = await this.#store.revoke(caller.orgId, id, actOf(caller, 'api-key.revoke', { kind: 'api-key', id }));
    if (record === undefined) throw new HalError('NotFound', 'no such API key');
    this.#cache.forget(record.prefix);
    return publicPart(record);
  }

  /**
   * Creates a successor with the same name, scopes and expiry; the old key works for `overlapSeconds` more.
   * @throws {HalError} `NotFound`; `Conflict` when the key has ended; `Forbidden` when it grants more than the caller has.
   */
  async rotate(caller: Caller, id: string, overlapSeconds: number): Promise<CreatedApiKey> {
    const old = await this.get(caller, id);
    await this.#authority.assertMayGive(caller, old.scopes);
    const text = generateKey();
    const endsAt = new Date(Date.now() + overlapSeconds * 1000);
    const fresh = { ...newRecord(caller, old, text), createdBy: old.createdBy };
    const successor = await this.#store.rotate(caller.orgId, id, fresh, endsAt, actOf(caller, 'api-key.rotate', { kind: 'api-key', id }, { successor: fresh.id, overlapSeconds }));
    if (successor === undefined) throw new HalError('Conflict', 'the key has expired or was revoked');
    this.#cache.forget(old.prefix);
    return { key: publicPart(successor), secret: formatKey(text) };
  }

  /** The person behind the caller, also through the key they made or a service token of it: a key's keys stop with the same person. */
  async #makerOf({ orgId, homeOrgId, actor }: Caller): Promise<ApiKeyRecord['createdBy']> {
    if (actor.kind === 'user') return { orgId: homeOrgId ?? orgId, userId: actor.id };
    return actor.kind === 'system' ? null : ((await this.#store.find(orgId, actor.id))?.createdBy ?? null);
  }

  #use(record: ApiKeyInPlace): Credential | undefined {
    const now = Date.now();
    if (!record.stands || record.revokedAt !== null || (record.expiresAt !== null && record.expiresAt.getTime() <= now)) return undefined;
    const use = this.#uses.get(record.id);
    if (use === undefined) this.#uses.set(record.id, { orgId: record.orgId, id: record.id, at: new Date(now) });
    else use.at.setTime(now);
    return record;
  }

  async #flush(): Promise<void> {
    const uses = [...this.#uses.values()];
    this.#uses.clear();
    await this.#store.touchAcrossOrganisations(uses);
  }
}

function newRecord({ orgId }: Caller, draft: ApiKeyDraft, text: { prefix: string; secret: string }) {
  return { orgId, id: randomUUID(), name: draft.name, prefix: text.prefix, secretHash: hashSecret(text.secret), scopes: draft.scopes, expiresAt: draft.expiresAt ?? null };
}

function assertWellFormed(scopes: readonly string[]): void {
  const malformed = scopes.findIndex((scope) => !SCOPE_PATTERN.test(scope));
  if (malformed !== -1) {
    throw new HalError('InvalidInput', 'a scope is malformed', { errors: [{ path: `/scopes/${malformed}`, message: 'expected <resource>:<verb>[:key=value], either part may be *' }] });
  }
}

function assertFuture(expiresAt: Date | null | undefined): void {
  if (expiresAt != null && expiresAt.getTime() <= Date.now()) {
    throw new HalError('InvalidInput', 'the key would be expired from the start', { errors: [{ path: '/expiresAt', message: 'must lie in the future' }] });
  }
}

function publicPart(record: ApiKeyRecord): ApiKey {
  const { orgId, id, name, prefix, scopes, createdAt, expiresAt, revokedAt, lastUsedAt, createdBy } = record;
  return { orgId, id, name, prefix, scopes, createdAt, expiresAt, revokedAt, lastUsedAt, createdBy };
}
