import { createHash, randomBytes, randomUUID, timingSafeEqual } from 'node:crypto';
import { z } from 'zod';
import type { Act } from '../../database/audit-acts.ts';
import type { Database } from '../../database/database.ts';
import { SessionStore, type EndedSessions, type SessionByToken, type SessionEnd, type SessionMethod, type SessionRecord, type Trait } from '../../database/sessions.ts';
import { HalError } from '../../schemas/errors.ts';
import { actOf } from '../audit/act.ts';
import type { KeyRing } from '../keys/key-ring.ts';
import type { Caller } from './caller.ts';
import type { CachedKind, CredentialCache } from './credential-cache.ts';
import type { IncomingFacts } from './incoming-facts.ts';
import { REUSED_TOKEN_RISK, riskOfRequest } from './risk.ts';
import { sessionCookie } from './session-cookie.ts';

/** End of a session whatever happens, seconds. */
const ABSOLUTE_SECONDS = 12 * 3600;
/** End of a session that acts as somebody else, seconds. */
const IMPERSONATION_SECONDS = 3600;
/** End of a session that nobody uses, seconds. */
const IDLE_SECONDS = 2 * 3600;
/** Age at which a token gets a successor, milliseconds. */
const ROTATE_AFTER_MS = 15 * 60_000;
/** How long requests under way may still carry a replaced token, milliseconds. */
const OVERLAP_MS = 30_000;
/** Least time between two successors that one process issues for a token, milliseconds. */
const REISSUE_MS = 30_000;
/** How often the last use is written, milliseconds. */
const TOUCH_MS = 60_000;
/** How long a shown factor counts as recent, seconds. */
export const STEP_UP_SECONDS = 10 * 60;

const PURPOSE = 'sessions';
const TOKEN = /^[A-Za-z0-9_-]{43}$/;

const content = z.object({ address: z.string(), userAgent: z.string().optional(), csrf: z.string(), logout: z.record(z.string(), z.string()).optional() });
type Content = z.output<typeof content>;

export interface SessionDraft {
  readonly orgId: string;
  readonly userId?: string;
  readonly apiKeyId?: string;
  readonly method: SessionMethod;
  readonly providerId?: string | undefined;
  readonly secondFactor: boolean;
  readonly risk: number;
  readonly impersonator?: { readonly orgId: string; readonly userId: string } | undefined;
  /** For logout at the provider; `session` in it also finds the session when the provider starts the logout. */
  readonly logout?: Readonly<Record<string, string>> | undefined;
  readonly traits?: readonly Trait[];
}

export interface OpenedSession {
  readonly sessionId: string;
  readonly cookies: readonly string[];
}

/** A session that works now, as found by its cookie. */
export interface LiveSession extends Omit<SessionByToken, 'sealed'> {
  readonly csrf: string;
  readonly address: string;
  readonly userAgent: string | undefined;
  readonly logout: Readonly<Record<string, string>> | undefined;
}

/** A session as its person sees it. */
export interface SessionView {
  readonly id: string;
  readonly method: SessionMethod;
  readonly address: string;
  readonly userAgent: string | undefined;
  readonly secondFactor: boolean;
  readonly createdAt: Date;
  readonly lastSeenAt: Date;
  readonly expiresAt: Date;
}

export interface SessionDependencies {
  readonly database: Database;
  readonly keys: KeyRing;
  readonly cache: CredentialCache;
  /** HAL9_REGION: sessions of another are refused. */
  readonly region: string;
}

/**
 * Sessions of browsers: rows, found by the hash of a token that only the cookie has. A token lives {@link ROTATE_AFTER_MS}; its
 * successor replaces it with its first use, so that a lost answer signs nobody out. A replaced token that comes back later than
 * {@link OVERLAP_MS} was copied by somebody: the whole family ends.
 */
export class Sessions {
  readonly #store: SessionStore;
  readonly #keys: KeyRing;
  readonly #region: string;
  readonly #byToken: CachedKind<SessionByToken & { readonly content: Content }>;
  readonly #byId: CachedKind<SessionRecord>;
  readonly #reissued = new Map<string, number>();
  readonly #touched = new Map<string, number>();

  constructor({ database, keys, cache, region }: SessionDependencies) {
    this.#store = new SessionStore(database);
    this.#keys = keys;
    this.#region = region;
    this.#byToken = cache.kind(
      async (hash) => {
        const found = await this.#store.findByTokenAcrossOrganisations(Buffer.from(hash, 'base64url'));
        return found === undefined ? undefined : { ...found, content: this.#open(found) };
      },
      (record) => [record.orgId],
    );
    this.#byId = cache.kind(
      async (key) => {
        const [orgId = '', id = ''] = key.split('/');
        return this.#store.find(orgId, id);
      },
      (record) => [record.orgId],
    );
  }

  /** @param act its resource becomes the session. */
  async open(draft: SessionDraft, facts: IncomingFacts, act: Omit<Act, 'resource'>): Promise<OpenedSession> {
    const id = randomUUID();
    const token = newToken();
    const seconds = draft.impersonator === undefined ? ABSOLUTE_SECONDS : IMPERSONATION_SECONDS;
    const sealed: Content = { address: facts.address, csrf: newToken(), ...(facts.userAgent === undefined ? {} : { userAgent: facts.userAgent }), ...(draft.logout === undefined ? {} : { logout: { ...draft.logout } }) };
    await this.#store.open(
      {
        orgId: draft.orgId,
        id,
        userId: draft.userId,
        apiKeyId: draft.apiKeyId,
        method: draft.method,
        providerId: draft.providerId,
        impersonator: draft.impersonator,
        region: this.#region,
        expiresAt: new Date(Date.now() + seconds * 1000),
        secondFactor: draft.secondFactor,
        risk: draft.risk,
        sealed: this.#keys.seal(draft.orgId, PURPOSE, JSON.stringify(sealed), id),
        providerSession: draft.logout?.['session'] === undefined ? undefined : this.#providerSession(draft.orgId, draft.logout['session']),
        tokenHash: hashToken(token),
        traits: draft.traits ?? [],
      },
      { ...act, resource: { kind: 'session', id } },
    );
    return { sessionId: id, cookies: [sessionCookie(token, seconds, facts.https)] };
  }

  /**
   * The session of a cookie, if it works here and now.
   * @returns undefined for a token that is malformed, unknown, replaced, idle or too old, or whose session has ended or belongs to another region.
   */
  async find(token: string, facts: IncomingFacts, now: number = Date.now()): Promise<LiveSession | undefined> {
    if (!TOKEN.test(token)) return undefined;
    const hash = hashToken(token);
    const key = hash.toString('base64url');
    const record = await this.#byToken.get(key);
    if (record === undefined || !this.#works(record, now)) return undefined;
    const { replacedAt, usedAt } = record.token;
    if (replacedAt !== null && now - replacedAt.getTime() > OVERLAP_MS) {
      await this.#endFamily(record, facts);
      this.#byToken.forget(key);
      return undefined;
    }
    if (usedAt === null && replacedAt === null) {
      await this.#store.useToken(record.orgId, record.id, hash);
      this.#byToken.forget(key);
    }
    await this.#touch(record, now);
    const { content: opened, ...rest } = record;
    return { ...rest, csrf: opened.csrf, address: opened.address, userAgent: opened.userAgent, logout: opened.logout };
  }

  /** Whether the session has neither ended nor expired: asked while a long answer streams, when its token may have been replaced. */
  async isLive(orgId: string, id: string, now: number = Date.now()): Promise<boolean> {
    const record = await this.#byId.get(`${orgId}/${id}`);
    return record !== undefined && this.#works(record, now);
  }

  /** A cookie with the next token, when the present one has served its time. */
  async renew(session: LiveSession, facts: IncomingFacts, now: number = Date.now()): Promise<string | undefined> {
    const { issuedAt, replacedAt } = session.token;
    if (replacedAt !== null || now - issuedAt.getTime() < ROTATE_AFTER_MS) return undefined;
    const last = this.#reissued.get(session.id);
    if (last !== undefined && now - last < REISSUE_MS) return undefined;
    remember(this.#reissued, session.id, now);
    const token = newToken();
    await this.#store.issueToken(session.orgId, session.id, hashToken(token));
    return sessionCookie(token, secondsLeft(session.expiresAt, now), facts.https);
  }

  /** A factor or the password was shown again: the session may do what asks for that, under a new token. @returns the cookie. */
  async verified(session: Pick<LiveSession, 'orgId' | 'id' | 'expiresAt'>, secondFactor: boolean, facts: IncomingFacts, act: Act): Promise<string> {
    const token = newToken();
    await this.#store.verify(session.orgId, session.id, secondFactor, hashToken(token), act);
    return sessionCookie(token, secondsLeft(session.expiresAt, Date.now()), facts.https);
  }

  /** See `risk.ts`. */
  riskOf(session: LiveSession, facts: IncomingFacts, now: number = Date.now()): number {
    return riskOfRequest({
      risk: session.risk,
      sameAddress: session.address === facts.address,
      sameAgent: session.userAgent === facts.userAgent,
      idleSeconds: (now - session.lastSeenAt.getTime()) / 1000,
    });
  }

  /** Whether the header proves that the request comes from a page of ours. */
  provesOrigin(session: LiveSession, csrfToken: string | undefined): boolean {
    if (csrfToken === undefined) return false;
    const [given, expected] = [Buffer.from(csrfToken), Buffer.from(session.csrf)];
    return given.length === expected.length && timingSafeEqual(given, expected);
  }

  /** See `SessionStore.seenBefore`. */
  async seenBefore(orgId: string, userId: string, traits: readonly Trait[]): Promise<{ sessions: number; seen: readonly number[] }> {
    return this.#store.seenBefore(orgId, userId, traits);
  }

  /** Of a person, newest first, at most 100. */
  async list(orgId: string, userId: string): Promise<SessionView[]> {
    return (await this.#store.listOpen(orgId, userId, 100)).map((record) => {
      const { address, userAgent } = this.#open(record);
      const { id, method, secondFactor, createdAt, lastSeenAt, expiresAt } = record;
      return { id, method, address, userAgent, secondFactor, createdAt, lastSeenAt, expiresAt };
    });
  }

  /** Signs out here: ends the caller's own session. @returns the cookie that removes it. */
  async signOut(session: LiveSession, facts: IncomingFacts): Promise<string> {
    await this.end(session.orgId, { id: session.id }, 'sign-out', {
      orgId: session.orgId,
      action: 'session.end',
      result: 'succeeded',
      actor: actorOf(session),
      impersonatorId: session.impersonator?.userId,
      resource: { kind: 'session', id: session.id },
      requestId: facts.requestId,
      risk: this.riskOf(session, facts),
      details: { reason: 'sign-out' },
      personal: personalOf(facts),
    });
    return sessionCookie('', 0, facts.https);
  }

  /** Ends one session of the person. @throws {HalError} `NotFound`. */
  async endOne(caller: Caller, userId: string, id: string): Promise<void> {
    const mine = await this.#store.listOpen(caller.orgId, userId, 1000);
    if (!mine.some((session) => session.id === id)) throw new HalError('NotFound', 'no such session');
    await this.end(caller.orgId, { id }, 'revoked', actOf(caller, 'session.end', { kind: 'session', id }, { reason: 'revoked' }));
  }

  /** Ends all sessions of the person, or all but one. @returns how many there were. */
  async endAll(caller: Caller, userId: string, except?: string): Promise<number> {
    const ended = await this.end(caller.orgId, { userId, except }, 'revoked', actOf(caller, 'session.end', { kind: 'user', id: userId }, { reason: 'revoked' }));
    return ended.length;
  }

  /**
   * Ends what the provider says has ended (OIDC back-channel logout, SAML single logout).
   * @param session the provider's own id of it: `sid`, or SessionIndex.
   */
  async endAtProvider(orgId: string, providerId: string, session: string, requestId: string): Promise<number> {
    const ended = await this.end(orgId, { providerId, providerSession: this.#providerSession(orgId, session) }, 'provider-logout', {
      orgId,
      action: 'session.end',
      result: 'succeeded',
      actor: { kind: 'identity-provider', id: providerId },
      resource: { kind: 'identity-provider', id: providerId },
      requestId,
      risk: 0,
      details: { reason: 'provider-logout' },
      personal: {},
    });
    return ended.length;
  }

  async end(orgId: string, which: EndedSessions, reason: SessionEnd, act: Act): Promise<string[]> {
    const ended = await this.#store.end(orgId, which, reason, act);
    this.forget(orgId);
    return ended;
  }

  /** After sessions were ended elsewhere in this process: it hears its own announcement too, but only after the answer. */
  forget(orgId: string): void {
    this.#byToken.forgetRestingOn(orgId);
    this.#byId.forgetRestingOn(orgId);
  }

  #works(record: SessionRecord, now: number): boolean {
    return record.region === this.#region && record.endedAt === null && record.expiresAt.getTime() > now && now - record.lastSeenAt.getTime() < IDLE_SECONDS * 1000;
  }

  async #endFamily(record: SessionRecord, facts: IncomingFacts): Promise<void> {
    await this.end(record.orgId, { id: record.id }, 'token-reuse', {
      orgId: record.orgId,
      action: 'session.end',
      result: 'succeeded',
      actor: { kind: 'system', id: 'sessions' },
      resource: { kind: 'session', id: record.id },
      requestId: facts.requestId,
      risk: REUSED_TOKEN_RISK,
      details: { reason: 'token-reuse' },
      personal: personalOf(facts),
    });
  }

  async #touch(record: SessionRecord, now: number): Promise<void> {
    if (now - record.lastSeenAt.getTime() < TOUCH_MS) return;
    const last = this.#touched.get(record.id);
    if (last !== undefined && now - last < TOUCH_MS) return;
    remember(this.#touched, record.id, now);
    await this.#store.touch(record.orgId, record.id);
  }

  #open(record: SessionRecord): Content {
    return content.parse(JSON.parse(this.#keys.open(record.orgId, PURPOSE, record.sealed, record.id).toString('utf8')));
  }

  #providerSession(orgId: string, session: string): Buffer {
    return this.#keys.hmac(orgId, 'provider-session', session);
  }
}

/** Who acts in a session. */
export function actorOf(session: Pick<SessionRecord, 'userId' | 'apiKeyId'>): Caller['actor'] {
  return session.userId === null ? { kind: 'api-key', id: session.apiKeyId ?? '' } : { kind: 'user', id: session.userId };
}

export function personalOf(facts: IncomingFacts): Act['personal'] {
  return { address: facts.address, ...(facts.userAgent === undefined ? {} : { userAgent: facts.userAgent }) };
}

/** 256 bits from the operating system's generator. */
function newToken(): string {
  return randomBytes(32).toString('base64url');
}

function hashToken(token: string): Buffer {
  return createHash('sha256').update(token).digest();
}

function secondsLeft(expiresAt: Date, now: number): number {
  return Math.max(1, Math.floor((expiresAt.getTime() - now) / 1000));
}

/** Times by session; the oldest leave first. */
function remember(times: Map<string, number>, id: string, now: number): void {
  times.delete(id);
  times.set(id, now);
  if (times.size <= 10_000) return;
  const [oldest] = times.keys();
  if (oldest !== undefined) times.delete(oldest);
}
