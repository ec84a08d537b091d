import type { Database } from '../../database/database.ts';
import { HalError } from '../../schemas/errors.ts';
import type { ApiKeys, Credential } from './api-keys.ts';
import type { Caller } from './caller.ts';
import type { CachedKind, CredentialCache } from './credential-cache.ts';
import { effectiveScopes, Grants, type GrantSet } from './grants.ts';
import type { IncomingFacts } from './incoming-facts.ts';
import { intersect } from './permissions.ts';
import { actorOf, type LiveSession, type Sessions } from './sessions.ts';
import { looksLikeToken, type Tokens } from './tokens.ts';

/** Who asks, by whichever credential, and what that allows for this request: the part of a caller that is known before the request is read. */
export interface Authenticated {
  readonly orgId: string;
  readonly homeOrgId: string | undefined;
  readonly actor: Caller['actor'];
  readonly scopes: readonly string[];
  readonly session: LiveSession | undefined;
  readonly impersonatorId: string | undefined;
  readonly risk: number;
  /** What it allows now, asked while a long answer streams; undefined once it has ended. */
  readonly again: () => Promise<readonly string[] | undefined>;
}

export interface CredentialDependencies {
  readonly database: Database;
  readonly cache: CredentialCache;
  readonly apiKeys: ApiKeys;
  readonly sessions: Sessions;
  readonly tokens: Tokens;
}

/** The one place that knows what a credential is worth. */
export class Credentials {
  readonly #apiKeys: ApiKeys;
  readonly #sessions: Sessions;
  readonly #tokens: Tokens;
  readonly #grants: CachedKind<GrantSet>;

  constructor({ database, cache, apiKeys, sessions, tokens }: CredentialDependencies) {
    this.#apiKeys = apiKeys;
    this.#sessions = sessions;
    this.#tokens = tokens;
    const grants = new Grants(database);
    this.#grants = cache.kind(
      (key) => {
        const [home = '', user = '', target = ''] = key.split('/');
        return grants.of(home, user, target);
      },
      (set) => [...set.line, set.homeOrgId],
    );
  }

  /**
   * By an API key or a service token as sent.
   * @returns undefined for one that does not work, whatever the reason.
   */
  async ofText(text: string): Promise<Authenticated | undefined> {
    const find = (): Promise<Credential | undefined> => (looksLikeToken(text) ? this.#tokens.authenticate(text) : this.#apiKeys.authenticate(text));
    const credential = await find();
    if (credential === undefined) return undefined;
    return {
      orgId: credential.orgId,
      homeOrgId: undefined,
      actor: { kind: looksLikeToken(text) ? 'service' : 'api-key', id: credential.id },
      scopes: credential.scopes,
      session: undefined,
      impersonatorId: undefined,
      risk: 0,
      again: async () => (await find())?.scopes,
    };
  }

  /**
   * By the cookie of a session.
   * @param target organisation below the person's own to act in; their own, if left out.
   * @returns undefined for a session that does not work, whatever the reason.
   * @throws {HalError} `Forbidden` when the person may not act there.
   */
  async ofSession(token: string, target: string | undefined, facts: IncomingFacts): Promise<Authenticated | undefined> {
    const session = await this.#sessions.find(token, facts);
    if (session === undefined) return undefined;
    const risk = this.#sessions.riskOf(session, facts);
    const orgId = target ?? session.orgId;
    const scopes = await this.#scopesOf(session, orgId, risk, facts);
    if (scopes === undefined) {
      if (orgId !== session.orgId && (await this.#scopesOf(session, session.orgId, risk, facts)) !== undefined) throw new HalError('Forbidden', 'you cannot act in that organisation');
      return undefined;
    }
    return {
      orgId,
      homeOrgId: orgId === session.orgId ? undefined : session.orgId,
      actor: actorOf(session),
      scopes,
      session,
      impersonatorId: session.impersonator?.userId,
      risk,
      again: async () => ((await this.#sessions.isLive(session.orgId, session.id)) ? this.#scopesOf(session, orgId, risk, facts) : undefined),
    };
  }

  async #scopesOf(session: LiveSession, orgId: string, risk: number, facts: IncomingFacts): Promise<readonly string[] | undefined> {
    if (session.userId === null) {
      const credential = session.apiKeyPrefix === null || orgId !== session.orgId ? undefined : await this.#apiKeys.credentialOf(session.apiKeyPrefix);
      return credential?.scopes;
    }
    const { impersonator } = session;
    // Who acts as somebody else may at no time do more than either of the two.
    const [own, set] = await Promise.all([
      impersonator === null ? undefined : this.#grants.get(`${impersonator.orgId}/${impersonator.userId}/${orgId}`),
      this.#grants.get(`${session.orgId}/${session.userId}/${orgId}`),
    ]);
    if (set === undefined || (impersonator !== null && own === undefined)) return undefined;
    const circumstances = { at: new Date(), address: facts.address, risk };
    const scopes = effectiveScopes(set, circumstances);
    return own === undefined ? scopes : intersect(scopes, effectiveScopes(own, circumstances));
  }
}
