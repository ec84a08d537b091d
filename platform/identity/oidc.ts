import { jwtVerify } from 'jose';
import * as client from 'openid-client';
import { z } from 'zod';
import { HalError } from '../../schemas/errors.ts';
import type { OidcSettings } from '../../schemas/rest/identity-providers.ts';
import type { OutsideFailure } from '../connections/failure.ts';
import { AWAY_SECONDS, browserHash, isSameBrowser } from './browser-cookie.ts';
import type { Challenges } from './challenges.ts';
import type { IdentityProviders, OpenProvider } from './identity-providers.ts';
import type { IncomingFacts } from './incoming-facts.ts';
import { groupsWithheld, personOf, unmetClaim, type Claims } from './oidc-claims.ts';
import { codeOf, explainProvider, type OidcClient, type OidcClients } from './oidc-client.ts';
import type { ProviderAnswers } from './provider-answers.ts';
import type { ExternalIdentity } from './sign-in-contract.ts';
import type { SignInPlace } from './sign-in-place.ts';

export interface OidcDependencies {
  readonly providers: IdentityProviders;
  readonly clients: OidcClients;
  readonly challenges: Challenges;
  readonly answers: ProviderAnswers;
}

export interface FinishedSignIn {
  readonly identity: ExternalIdentity;
  readonly returnTo: string | undefined;
}

/** Why an answer of a provider was not believed; for the audit log, whoever signs in hears one text. */
type Reason = 'challenge' | 'browser' | 'provider-error' | 'code' | 'token' | 'claim' | 'groups-withheld' | 'user-info';

const challenge = z.object({ providerId: z.string(), nonce: z.string(), codeVerifier: z.string(), browser: z.string(), returnTo: z.string().optional() });

/** OpenID Connect Back-Channel Logout 1.0, 2.4. */
const LOGOUT_EVENT = 'http://schemas.openid.net/event/backchannel-logout';
/** Oldest logout token, seconds. */
const LOGOUT_MAX_AGE_S = 120;
/** Algorithms of signatures with a public key; anything with a shared secret, and `none`, is refused. */
const ASYMMETRIC = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519'];

const REFUSED = 'the answer of the identity provider was not accepted; start the sign-in again';

/**
 * Sign-in with OpenID Connect: authorization code flow with PKCE (RFC 7636), state, nonce and issuer identification (RFC 9207), as
 * RFC 9700 asks. Everything a token says is checked by openid-client; here is what belongs to HAL9.
 */
export class OidcSignIn {
  readonly #dependencies: OidcDependencies;

  constructor(dependencies: OidcDependencies) {
    this.#dependencies = dependencies;
  }

  /**
   * Where to send the browser.
   * @param options `browser`: the random value in the browser's cookie; `returnTo`: path of this site for afterwards.
   * @throws {HalError} `NotFound`; `ExternalCallFailed` when the provider cannot be reached.
   */
  async start(place: SignInPlace, options: { browser: string; returnTo: string | undefined; loginHint?: string | undefined }): Promise<URL> {
    const provider = await this.#dependencies.providers.open(place.orgId, place.providerId, 'oidc');
    const { configuration } = await this.#client(provider);
    const { settings } = provider;
    const codeVerifier = client.randomPKCECodeVerifier();
    const nonce = client.randomNonce();
    // The challenge's id is the state: random, known to this browser's address bar only, taken once.
    const state = await this.#dependencies.challenges.create(
      place.orgId,
      'oidc',
      { providerId: place.providerId, nonce, codeVerifier, browser: browserHash(options.browser), ...(options.returnTo === undefined ? {} : { returnTo: options.returnTo }) },
      AWAY_SECONDS,
    );
    return client.buildAuthorizationUrl(configuration, {
      ...settings.authorizationParameters,
      redirect_uri: redirectUri(place),
      scope: [...new Set(['openid', ...settings.scopes])].join(' '),
      state,
      nonce,
      code_challenge: await client.calculatePKCECodeChallenge(codeVerifier),
      code_challenge_method: 'S256',
      ...(settings.prompt === undefined ? {} : { prompt: settings.prompt }),
      ...(settings.maxAgeSeconds === undefined ? {} : { max_age: String(settings.maxAgeSeconds) }),
      ...(options.loginHint === undefined ? {} : { login_hint: options.loginHint }),
    });
  }

  /**
   * Takes what the browser brought back.
   * @param query of the callback, as it came.
   * @param browser value of the browser's cookie.
   * @throws {HalError} `Unauthenticated`, with one text for all causes; `Forbidden` when the provider withheld the groups that
   *   decide; `ExternalCallFailed` when it cannot be reached.
   */
  async finish(place: SignInPlace, query: URLSearchParams, browser: string | undefined, facts: IncomingFacts): Promise<FinishedSignIn> {
    const provider = await this.#dependencies.providers.open(place.orgId, place.providerId, 'oidc');
    const refuse = (reason: Reason, detail: string, cause?: unknown): Promise<never> => this.#refuse(provider, reason, detail, facts, cause);

    const states = query.getAll('state');
    const taken = challenge.safeParse(states.length === 1 ? await this.#dependencies.challenges.consume(place.orgId, states[0] ?? '', 'oidc') : undefined);
    if (!taken.success) return refuse('challenge', 'unknown, used or expired');
    const { nonce, codeVerifier, browser: leaver, providerId, returnTo } = taken.data;
    if (providerId !== place.providerId) return refuse('challenge', 'of another provider');
    if (!isSameBrowser(browser, leaver)) return refuse('browser', 'not the one that left');

    const oidc = await this.#client(provider);
    const tokens = await this.#exchange(provider, oidc, place, query, { state: states[0] ?? '', nonce, codeVerifier }, facts);
    const idToken = tokens.claims();
    if (idToken === undefined || tokens.id_token === undefined) return refuse('token', 'no ID token');
    // OpenID Connect Core 3.1.3.7, 5; openid-client leaves this one to its user.
    if (idToken.azp !== undefined && idToken.azp !== provider.settings.clientId) return refuse('token', 'azp');
    const unmet = unmetClaim(provider.settings, idToken);
    if (unmet !== undefined) return refuse('claim', unmet);
    const userInfo = provider.settings.userInfo ? await this.#userInfo(provider, oidc, tokens.access_token, idToken.sub, facts) : undefined;
    if (Object.keys(provider.roleMapping.groups).length > 0 && groupsWithheld(provider.settings, idToken) && userInfo?.[provider.settings.claims.groups] === undefined) {
      await this.#record(provider, 'groups-withheld', provider.settings.claims.groups, facts);
      throw new HalError('Forbidden', 'the identity provider did not say which groups you are in, because there are too many; ask your administrator to limit the groups that are sent to HAL9, or to use app roles');
    }
    return { identity: identityOf(provider, idToken, userInfo, tokens.id_token), returnTo };
  }

  /**
   * Where to send the browser so that it is signed out at the provider too (OpenID Connect RP-Initiated Logout 1.0).
   * @param logout what the session kept.
   * @returns undefined when the provider has no such address, cannot be reached, is gone, or the session is not of it.
   */
  async logoutAddress(place: SignInPlace, logout: Readonly<Record<string, string>> | undefined): Promise<URL | undefined> {
    const idToken = logout?.['idToken'];
    if (idToken === undefined) return undefined;
    try {
      const provider = await this.#dependencies.providers.open(place.orgId, place.providerId, 'oidc');
      const { configuration } = await this.#client(provider);
      if (configuration.serverMetadata().end_session_endpoint === undefined) return undefined;
      return client.buildEndSessionUrl(configuration, { id_token_hint: idToken, post_logout_redirect_uri: place.base });
    } catch (error) {
      // The session here has ended; that the provider is down or gone must not keep anybody signed in.
      if (error instanceof HalError && (error.type === 'ExternalCallFailed' || error.type === 'NotFound')) return undefined;
      throw error;
    }
  }

  /**
   * Ends what the provider says has ended (OpenID Connect Back-Channel Logout 1.0): the session that `sid` names, or without one all
   * sessions of the person.
   * @throws {HalError} `InvalidInput` for a token that is not to be believed, or was used.
   * @returns how many sessions ended.
   */
  async endByToken(place: Pick<SignInPlace, 'orgId' | 'providerId'>, token: string, requestId: string): Promise<number> {
    const provider = await this.#dependencies.providers.open(place.orgId, place.providerId, 'oidc');
    const { sub, sid, jti, exp } = await this.#logoutClaims(provider, token);
    if (!(await this.#dependencies.answers.useOnce(place, `logout/${jti}`, new Date(exp * 1000)))) throw new HalError('InvalidInput', 'the logout token was used before');
    if (sid !== undefined) return this.#dependencies.answers.endSession(place, sid, requestId);
    return sub === undefined ? 0 : this.#dependencies.answers.endPerson(place, sub, requestId);
  }

  /** Whether the provider can be used. @returns what is wrong, in plain words. */
  check(settings: OidcSettings, signal: AbortSignal): Promise<OutsideFailure | undefined> {
    return this.#dependencies.clients.check(settings, signal);
  }

  async #client(provider: OpenProvider<OidcSettings>): Promise<OidcClient> {
    try {
      return await this.#dependencies.clients.get(`${provider.id}/${provider.version}`, provider.settings);
    } catch (error) {
      throw unreachable(error);
    }
  }

  async #exchange(
    provider: OpenProvider<OidcSettings>,
    { configuration }: OidcClient,
    place: SignInPlace,
    query: URLSearchParams,
    expected: { state: string; nonce: string; codeVerifier: string },
    facts: IncomingFacts,
  ): Promise<client.TokenEndpointResponse & client.TokenEndpointResponseHelpers> {
    const address = new URL(redirectUri(place));
    address.search = query.toString();
    const { maxAgeSeconds } = provider.settings;
    try {
      return await client.authorizationCodeGrant(configuration, address, {
        expectedState: expected.state,
        expectedNonce: expected.nonce,
        pkceCodeVerifier: expected.codeVerifier,
        idTokenExpected: true,
        ...(maxAgeSeconds === undefined ? {} : { maxAge: maxAgeSeconds }),
      });
    } catch (error) {
      if (error instanceof client.AuthorizationResponseError) return this.#refuse(provider, 'provider-error', known(error.error, AUTHORIZATION_ERRORS), facts, error);
      if (error instanceof client.ResponseBodyError) return this.#refuse(provider, 'code', known(error.error, TOKEN_ERRORS), facts, error);
      if (codeOf(error).startsWith('OAUTH_') && !UNREACHABLE.has(codeOf(error))) return this.#refuse(provider, 'token', codeOf(error), facts, error);
      throw unreachable(error);
    }
  }

  async #userInfo(provider: OpenProvider<OidcSettings>, { configuration }: OidcClient, accessToken: string, subject: string, facts: IncomingFacts): Promise<Claims> {
    try {
      return await client.fetchUserInfo(configuration, accessToken, subject);
    } catch (error) {
      if (codeOf(error).startsWith('OAUTH_') && !UNREACHABLE.has(codeOf(error))) return this.#refuse(provider, 'user-info', codeOf(error), facts, error);
      throw unreachable(error);
    }
  }

  /** @throws {HalError} `Unauthenticated`, after the refusal was recorded. */
  async #refuse(provider: OpenProvider, reason: Reason, detail: string, facts: IncomingFacts, cause?: unknown): Promise<never> {
    await this.#record(provider, reason, detail, facts);
    throw new HalError('Unauthenticated', REFUSED, cause === undefined ? {} : { cause });
  }

  async #record(provider: OpenProvider, reason: Reason, detail: string, facts: IncomingFacts): Promise<void> {
    const refusal = { action: 'session.refuse', actor: { kind: 'nobody', id: 'nobody' }, risk: reason === 'browser' || reason === 'token' ? 60 : 20, details: { method: 'oidc', reason, detail } };
    await this.#dependencies.answers.refused({ orgId: provider.orgId, providerId: provider.id }, refusal, facts);
  }

  async #logoutClaims(provider: OpenProvider<OidcSettings>, token: string): Promise<{ sub?: string; sid?: string; jti: string; exp: number }> {
    const { settings } = provider;
    const { keys, configuration } = await this.#client(provider);
    try {
      const { payload } = await jwtVerify(token, keys, {
        issuer: configuration.serverMetadata().issuer,
        audience: settings.clientId,
        algorithms: ASYMMETRIC,
        clockTolerance: settings.clockSkewSeconds,
        maxTokenAge: LOGOUT_MAX_AGE_S,
        requiredClaims: ['iat', 'exp', 'jti', 'events'],
      });
      const claims = logoutClaims.parse(payload);
      return { ...claims, ...(claims.sub === undefined ? {} : { sub: claims.sub }), ...(claims.sid === undefined ? {} : { sid: claims.sid }) };
    } catch (error) {
      if (error instanceof z.ZodError || (codeOf(error).startsWith('ERR_J') && codeOf(error) !== 'ERR_JWKS_TIMEOUT' && !isNetwork(error))) throw new HalError('InvalidInput', 'this is no logout token of the identity provider', { cause: error });
      throw unreachable(error);
    }
  }
}

/** A nonce means that it is an ID token, which must never end a session (2.4). */
const logoutClaims = z
  .object({ sub: z.string().optional(), sid: z.string().optional(), jti: z.string().min(1), exp: z.number(), events: z.looseObject({ [LOGOUT_EVENT]: z.looseObject({}) }), nonce: z.undefined().optional() })
  .refine((claims) => claims.sub !== undefined || claims.sid !== undefined);

/** Codes of openid-client for a provider that does not answer as a server of OAuth would. */
const UNREACHABLE = new Set(['OAUTH_TIMEOUT', 'OAUTH_ABORT', 'OAUTH_RESPONSE_IS_NOT_CONFORM', 'OAUTH_RESPONSE_IS_NOT_JSON', 'OAUTH_PARSE_ERROR']);
/** RFC 6749 4.1.2.1 and OpenID Connect Core 3.1.2.6: what a provider may answer instead of a code. Anything else is not repeated. */
const AUTHORIZATION_ERRORS = new Set(['access_denied', 'invalid_request', 'unauthorized_client', 'unsupported_response_type', 'invalid_scope', 'server_error', 'temporarily_unavailable', 'interaction_required', 'login_required', 'account_selection_required', 'consent_required']);
/** RFC 6749 5.2. */
const TOKEN_ERRORS = new Set(['invalid_request', 'invalid_client', 'invalid_grant', 'unauthorized_client', 'unsupported_grant_type', 'invalid_scope']);

function known(error: string, errors: ReadonlySet<string>): string {
  return errors.has(error) ? error : 'other';
}

function isNetwork(error: unknown): boolean {
  return error instanceof Error && codeOf(error) === 'ERR_JOSE_GENERIC';
}

function redirectUri(place: SignInPlace): string {
  return `${place.base}/oidc/${place.providerId}/callback`;
}

function unreachable(error: unknown): HalError {
  const failure = explainProvider(error);
  return new HalError('ExternalCallFailed', `the identity provider could not be asked: ${failure.message}`, {
    cause: error,
    ...(failure.retryable ? { retryAfterSeconds: failure.retryAfterSeconds ?? 5 } : {}),
  });
}

function identityOf(provider: OpenProvider<OidcSettings>, idToken: Claims & { readonly sub: string }, userInfo: Claims | undefined, rawIdToken: string): ExternalIdentity {
  const { sid } = idToken;
  const person = personOf(provider.settings, idToken, userInfo);
  return {
    orgId: provider.orgId,
    providerId: provider.id,
    subject: idToken.sub,
    ...person,
    // What a provider calls verified is verified here only when it owns the addresses: somebody could otherwise wait at one provider,
    // with the address of another person, for that person to come in by the other.
    emailVerified: person.emailVerified && provider.settings.trustsEmail,
    logout: { idToken: rawIdToken, ...(typeof sid === 'string' ? { session: sid } : {}) },
  };
}
