import type { Logger } from 'pino';
import type { Database } from '../database/database.ts';
import { publicUrl } from '../platform/approvals/links.ts';
import type { Config } from '../platform/config/config.ts';
import { mailServerOf } from '../platform/config/mail-server.ts';
import { Egress } from '../platform/connections/egress.ts';
import { Account } from '../platform/identity/account.ts';
import { ApiKeys } from '../platform/identity/api-keys.ts';
import { Authority } from '../platform/identity/authority.ts';
import { Challenges } from '../platform/identity/challenges.ts';
import { CredentialCache } from '../platform/identity/credential-cache.ts';
import { Credentials } from '../platform/identity/credentials.ts';
import { Factors } from '../platform/identity/factors.ts';
import { ForgottenPasswords } from '../platform/identity/forgotten-passwords.ts';
import { Grants } from '../platform/identity/grants.ts';
import { IdentityProviders } from '../platform/identity/identity-providers.ts';
import { LdapDirectory } from '../platform/identity/ldap-directory.ts';
import { LdapSignIn } from '../platform/identity/ldap-sign-in.ts';
import { OidcClients } from '../platform/identity/oidc-client.ts';
import { OidcSignIn } from '../platform/identity/oidc.ts';
import { PasswordLinks } from '../platform/identity/password-links.ts';
import { platformOrganisation } from '../platform/identity/platform-organisation.ts';
import { ProviderAnswers } from '../platform/identity/provider-answers.ts';
import { ProviderDomains } from '../platform/identity/provider-domains.ts';
import { RoleMappings } from '../platform/identity/role-mapping.ts';
import { SamlSignIn } from '../platform/identity/saml.ts';
import { Sessions } from '../platform/identity/sessions.ts';
import { SignInPlaces } from '../platform/identity/sign-in-place.ts';
import { SignIn } from '../platform/identity/sign-in.ts';
import { SignInThrottle } from '../platform/identity/sign-in-throttle.ts';
import { Tokens } from '../platform/identity/tokens.ts';
import type { KeyRing } from '../platform/keys/key-ring.ts';


/** Who asks and how they got in: one of each for an API process. */
export interface Identity {
  readonly apiKeys: ApiKeys;
  readonly sessions: Sessions;
  readonly tokens: Tokens;
  readonly credentials: Credentials;
  readonly challenges: Challenges;
  readonly throttle: SignInThrottle;
  readonly factors: Factors;
  readonly signIn: SignIn;
  readonly account: Account;
  readonly forgotten: ForgottenPasswords;
  readonly providers: IdentityProviders;
  readonly domains: ProviderDomains;
  readonly places: SignInPlaces;
  readonly oidc: OidcSignIn;
  readonly saml: SamlSignIn;
  readonly ldap: LdapSignIn;
  /** Where people reach HAL9, without a slash at the end. */
  readonly publicUrl: string;
  readonly https: boolean;
  close(): Promise<void>;
}

export function openIdentity({ config, database, keys, logger }: { readonly config: Config; readonly database: Database; readonly keys: KeyRing; readonly logger: Logger }): Identity {
  const https = config.HAL9_TLS_CERT !== undefined || config.HAL9_PUBLIC_URL?.startsWith('https:') === true;
  const address = publicUrl(config);
  const cache = new CredentialCache(database);
  const egress = new Egress({ allowPrivate: config.HAL9_ALLOW_PRIVATE_ADDRESSES });
  const apiKeys = new ApiKeys(database, cache);
  const sessions = new Sessions({ database, keys, cache, region: config.HAL9_REGION });
  const tokens = new Tokens({ database, keys, apiKeys, issuer: address });
  const challenges = new Challenges(database, keys);
  const throttle = new SignInThrottle(database, keys);
  const factors = new Factors(database, keys, challenges);
  const grants = new Grants(database);
  const authority = new Authority(grants);
  const answers = new ProviderAnswers(database, sessions);
  const roleMappings = new RoleMappings(database, { ownersAllowed: config.HAL9_MAPPED_OWNERS });
  const oidcClients = new OidcClients(egress);
  const directory = new LdapDirectory(egress);
  const providers = new IdentityProviders({ database, keys, roleMappings, authority, sessions, publicUrl: address, checks: { oidc: (settings, signal) => oidcClients.check(settings, signal), ldap: (settings, signal) => directory.check(settings, signal) } });
  const forgotten = new ForgottenPasswords({ database, keys, throttle, mailServer: mailServerOf(config) });
  const signIn = new SignIn({ database, keys, sessions, factors, challenges, throttle, grants, authority, apiKeys, providers, roleMappings, forgotten });
  const account = new Account({ database, links: new PasswordLinks(challenges, address), sessions, signIn, factors, throttle, authority });
  apiKeys.start();
  return {
    apiKeys,
    sessions,
    tokens,
    credentials: new Credentials({ database, cache, apiKeys, sessions, tokens }),
    challenges,
    throttle,
    factors,
    signIn,
    account,
    forgotten,
    providers,
    domains: new ProviderDomains(database, platformOrganisation(database)),
    places: new SignInPlaces(database, address),
    oidc: new OidcSignIn({ providers, clients: oidcClients, challenges, answers }),
    saml: new SamlSignIn({ providers, challenges, answers, logger }),
    ldap: new LdapSignIn({ database, keys, providers, directory, throttle, sessions }),
    publicUrl: address,
    https,
    async close() {
      await apiKeys.stop();
      await egress.close();
    },
  };
}
