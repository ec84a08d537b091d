import { createRemoteJWKSet, customFetch as joseFetch, type JWTVerifyGetKey } from 'jose';
import * as client from 'openid-client';
import type { OidcSettings } from '../../schemas/rest/identity-providers.ts';
import type { Egress } from '../connections/egress.ts';
import { explainFailure, explainStatus, type OutsideFailure } from '../connections/failure.ts';

/** What was read from a provider, ready for use. */
export interface OidcClient {
  readonly configuration: client.Configuration;
  /** The provider's signing keys, for tokens that openid-client does not read. */
  readonly keys: JWTVerifyGetKey;
  readonly until: number;
}

/** Longest wait for one answer of a provider, seconds. */
const TIMEOUT_S = 10;
/** Longest answer of a provider, bytes: a discovery document or a key set has some kilobytes. */
const LIMIT_BYTES = 1024 * 1024;
/** How long a discovery document is believed, milliseconds. Keys are read again as soon as a token names an unknown one. */
const FRESH_MS = 600_000;
const CACHE_LIMIT = 500;

/** The provider can be reached but is not as its settings say. The message is HAL9's own. */
export class ProviderUnfit extends Error {
  override readonly name = 'ProviderUnfit';
}

/** Discovery documents and keys of OpenID providers (OpenID Connect Discovery 1.0), read through the egress rules and kept for ten minutes. */
export class OidcClients {
  readonly #egress: Egress;
  readonly #clients = new Map<string, Promise<OidcClient>>();

  constructor(egress: Egress) {
    this.#egress = egress;
  }

  /**
   * @param key changes with the settings, e.g. `<provider id>/<version>`.
   * @throws {ProviderUnfit} or whatever the network says; see {@link explainProvider}. Failures are not kept.
   */
  async get(key: string, settings: OidcSettings): Promise<OidcClient> {
    const known = await this.#clients.get(key);
    if (known !== undefined && known.until > Date.now()) return known;
    const discovered = this.discover(settings);
    if (this.#clients.size >= CACHE_LIMIT) this.#clients.clear();
    this.#clients.set(key, discovered);
    discovered.catch(() => this.#clients.delete(key)); // whoever awaits it hears of the failure
    return discovered;
  }

  /** Reads the discovery document now. @throws as {@link get}. */
  async discover(settings: OidcSettings): Promise<OidcClient> {
    const issuer = new URL(settings.issuer);
    const insecure = issuer.protocol === 'http:';
    const configuration = await client.discovery(issuer, settings.clientId, { [client.clockTolerance]: settings.clockSkewSeconds }, authentication(settings), {
      [client.customFetch]: this.#egress.limited(LIMIT_BYTES),
      timeout: TIMEOUT_S,
      // Plain HTTP is for an issuer on this machine, which the settings' schema sees to.
      execute: [client.enableNonRepudiationChecks, ...(insecure ? [client.allowInsecureRequests] : [])],
    });
    const metadata = configuration.serverMetadata();
    // openid-client forgives some well-known providers another issuer than the one that was asked.
    if (new URL(metadata.issuer).href !== issuer.href) throw new ProviderUnfit('the discovery document is of another issuer than the settings name');
    for (const [name, address] of Object.entries({ authorization: metadata.authorization_endpoint, token: metadata.token_endpoint, key: metadata.jwks_uri })) {
      if (address === undefined) throw new ProviderUnfit(`the discovery document names no ${name} endpoint`);
      const protocol = URL.canParse(address) ? new URL(address).protocol : undefined;
      if (protocol !== 'https:' && !(insecure && protocol === 'http:')) throw new ProviderUnfit(`the ${name} endpoint is not https`);
    }
    return { configuration, keys: this.#keys(String(metadata.jwks_uri)), until: Date.now() + FRESH_MS };
  }

  /**
   * Whether the provider can be used: answers, is who the settings say, takes the code flow with PKCE, and publishes keys.
   * @returns what is wrong, in plain words.
   */
  async check(settings: OidcSettings, signal: AbortSignal): Promise<OutsideFailure | undefined> {
    try {
      const { configuration } = await this.discover(settings);
      const metadata = configuration.serverMetadata();
      if (metadata.response_types_supported?.includes('code') === false) throw new ProviderUnfit('the provider does not support the authorization code flow');
      const methods = metadata.code_challenge_methods_supported;
      if (methods !== undefined && !methods.includes('S256')) throw new ProviderUnfit('the provider does not support PKCE with S256');
      const answer = await this.#egress.request(String(metadata.jwks_uri), { method: 'GET', headers: { accept: 'application/json' }, signal: AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_S * 1000)]) });
      if (answer.status !== 200) return explainStatus(answer.status, answer.headers);
      if (!hasKeys(answer.text)) throw new ProviderUnfit('the provider publishes no signing keys');
      return undefined;
    } catch (error) {
      return explainProvider(error);
    }
  }

  #keys(address: string): JWTVerifyGetKey {
    return createRemoteJWKSet(new URL(address), { [joseFetch]: this.#egress.limited(LIMIT_BYTES), timeoutDuration: TIMEOUT_S * 1000 });
  }
}

/** What went wrong in a call to a provider, in plain words that repeat nothing of its answer. */
export function explainProvider(error: unknown): OutsideFailure {
  if (error instanceof ProviderUnfit) return { message: error.message, retryable: false };
  switch (codeOf(error)) {
    case 'OAUTH_TIMEOUT':
    case 'OAUTH_ABORT':
      return { message: 'no answer in time', retryable: true };
    case 'OAUTH_RESPONSE_IS_NOT_CONFORM':
      return explainResponse(error);
    case 'OAUTH_RESPONSE_IS_NOT_JSON':
    case 'OAUTH_PARSE_ERROR':
      return { message: 'the answer is not JSON; the issuer may be wrong', retryable: false };
    case 'OAUTH_JSON_ATTRIBUTE_COMPARISON_FAILED':
      return { message: 'the discovery document is of another issuer than the settings name', retryable: false };
    case 'OAUTH_INVALID_RESPONSE':
      return { message: 'the answer is no discovery document; the issuer may be wrong', retryable: false };
    default:
      return explainFailure(error);
  }
}

/** Code of a failure of openid-client, jose or the network. */
export function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : '';
}

function explainResponse(error: unknown): OutsideFailure {
  const response: unknown = error instanceof Error ? error.cause : undefined;
  if (typeof response !== 'object' || response === null || !('status' in response) || typeof response.status !== 'number') return { message: 'the provider answered with an error', retryable: true };
  if (response.status === 404) return { message: 'there is no discovery document at this issuer (HTTP 404)', retryable: false };
  return explainStatus(response.status, 'headers' in response && response.headers instanceof Headers ? response.headers : new Headers());
}

function authentication(settings: OidcSettings): client.ClientAuth {
  if (settings.clientSecret === undefined) return client.None();
  return settings.clientAuthentication === 'client_secret_post' ? client.ClientSecretPost(settings.clientSecret) : client.ClientSecretBasic(settings.clientSecret);
}

function hasKeys(text: string): boolean {
  try {
    const set: unknown = JSON.parse(text);
    return typeof set === 'object' && set !== null && 'keys' in set && Array.isArray(set.keys) && set.keys.length > 0;
  } catch (error) {
    if (error instanceof SyntaxError) return false;
    throw error;
  }
}
