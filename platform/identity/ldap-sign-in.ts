import type { Database } from '../../database/database.ts';
import { SignInStore } from '../../database/sign-ins.ts';
import { HalError } from '../../schemas/errors.ts';
import type { KeyRing } from '../keys/key-ring.ts';
import type { IdentityProviders } from './identity-providers.ts';
import type { IncomingFacts } from './incoming-facts.ts';
import type { LdapDirectory } from './ldap-directory.ts';
import { personalOf, type Sessions } from './sessions.ts';
import type { ExternalIdentity } from './sign-in-contract.ts';
import type { SignInPlace } from './sign-in-place.ts';
import type { SignInThrottle } from './sign-in-throttle.ts';

export interface LdapSignInDependencies {
  readonly database: Database;
  readonly keys: KeyRing;
  readonly providers: IdentityProviders;
  readonly directory: LdapDirectory;
  readonly throttle: SignInThrottle;
  readonly sessions: Pick<Sessions, 'seenBefore'>;
}

const NOBODY_ID = '00000000-0000-0000-0000-000000000000';

/** Signing in with the name and password of an organisation's directory. */
export class LdapSignIn {
  readonly #dependencies: LdapSignInDependencies;
  readonly #store: SignInStore;

  constructor(dependencies: LdapSignInDependencies) {
    this.#dependencies = dependencies;
    this.#store = new SignInStore(dependencies.database);
  }

  /** Name of the directory, for the page that asks for the password. @throws {HalError} `NotFound`. */
  async nameOf({ orgId, providerId }: SignInPlace): Promise<string> {
    return (await this.#dependencies.providers.open(orgId, providerId, 'ldap')).name;
  }

  /**
   * @throws {HalError} `NotFound`; `Unauthenticated` with one text for an unknown name and a wrong password; `RateLimited`;
   *   `ExternalCallFailed` when the directory cannot be asked, which does not count as a failed try.
   */
  async signIn({ orgId, providerId }: SignInPlace, userName: string, password: string, facts: IncomingFacts): Promise<ExternalIdentity> {
    const { providers, directory, throttle, sessions, keys } = this.#dependencies;
    const provider = await providers.open(orgId, providerId, 'ldap');
    const user = await this.#store.findByName(orgId, userName);
    const trait = { kind: 'address', hash: keys.hmac(orgId, 'sign-in-address', facts.address) } as const;
    const knownAddress = (await sessions.seenBefore(orgId, user?.id ?? NOBODY_ID, [trait])).seen[0] !== 0;
    const attempt = { orgId, account: userName, address: facts.address, knownAddress };
    await throttle.begin(attempt);
    const identity = await directory.authenticate(provider, userName, password).catch(async (error: unknown) => {
      await throttle.succeeded(attempt);
      throw error;
    });
    if (identity === undefined) {
      await this.#store.recordRefusal({
        orgId,
        action: 'session.refuse',
        result: 'refused',
        actor: { kind: 'nobody', id: 'nobody' },
        resource: { kind: 'identity-provider', id: providerId },
        requestId: facts.requestId,
        risk: 0,
        details: { method: 'ldap' },
        personal: { ...personalOf(facts), userName },
      });
      throw new HalError('Unauthenticated', 'the sign-in is refused: check the name and the password');
    }
    await throttle.succeeded(attempt);
    return identity;
  }
}
