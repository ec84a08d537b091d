import type { Act } from '../../database/audit-acts.ts';
import type { Database } from '../../database/database.ts';
import { IdentityProviderStore } from '../../database/identity-providers.ts';
import { SignInStore } from '../../database/sign-ins.ts';
import { UsedAssertionStore } from '../../database/used-assertions.ts';
import type { IncomingFacts } from './incoming-facts.ts';
import { personalOf, type Sessions } from './sessions.ts';
import type { SignInPlace } from './sign-in-place.ts';

type Provider = Pick<SignInPlace, 'orgId' | 'providerId'>;

/** What comes of the answers and messages of providers, whichever protocol they speak: each counts once, ends sessions, or is refused. */
export class ProviderAnswers {
  readonly #used: UsedAssertionStore;
  readonly #providers: IdentityProviderStore;
  readonly #signIns: SignInStore;
  readonly #sessions: Pick<Sessions, 'endAtProvider' | 'end'>;

  constructor(database: Database, sessions: Pick<Sessions, 'endAtProvider' | 'end'>) {
    this.#used = new UsedAssertionStore(database);
    this.#providers = new IdentityProviderStore(database);
    this.#signIns = new SignInStore(database);
    this.#sessions = sessions;
  }

  /** @param until when the answer would not be believed any more anyway. @returns false for one that was used. */
  async useOnce({ orgId, providerId }: Provider, id: string, until: Date): Promise<boolean> {
    return this.#used.use(orgId, providerId, id, until);
  }

  /** Ends one session by the provider's own id of it: `sid`, or SessionIndex. @returns how many ended. */
  async endSession({ orgId, providerId }: Provider, session: string, requestId: string): Promise<number> {
    return this.#sessions.endAtProvider(orgId, providerId, session, requestId);
  }

  /** Ends all sessions of whom the provider calls so; nothing for somebody unknown. @returns how many ended. */
  async endPerson({ orgId, providerId }: Provider, subject: string, requestId: string): Promise<number> {
    const userId = await this.#providers.userOf(orgId, providerId, subject);
    if (userId === undefined) return 0;
    const ended = await this.#sessions.end(orgId, { userId }, 'provider-logout', {
      orgId,
      action: 'session.end',
      result: 'succeeded',
      actor: { kind: 'identity-provider', id: providerId },
      resource: { kind: 'user', id: userId },
      requestId,
      risk: 0,
      details: { reason: 'provider-logout' },
      personal: {},
    });
    return ended.length;
  }

  /** Writes down why an answer was not believed; whoever signs in hears one text. */
  async refused({ orgId, providerId }: Provider, refusal: Pick<Act, 'action' | 'actor' | 'risk' | 'details'>, facts: IncomingFacts): Promise<void> {
    await this.#signIns.recordRefusal({ orgId, ...refusal, result: 'refused', resource: { kind: 'identity-provider', id: providerId }, requestId: facts.requestId, personal: personalOf(facts) });
  }
}
