import { randomUUID } from 'node:crypto';
import { exportJWK, generateKeyPair, importJWK, SignJWT, type CryptoKey, type JWK } from 'jose';
import { z } from 'zod';
import type { Database } from '../../database/database.ts';
import { SigningKeyStore, type SigningKeyRecord } from '../../database/signing-keys.ts';
import { HalError } from '../../schemas/errors.ts';
import { INSTALLATION, type KeyRing } from '../keys/key-ring.ts';
import type { ApiKeys, Credential } from './api-keys.ts';
import type { IncomingFacts } from './incoming-facts.ts';
import { JwsError, verifyJws } from './jws.ts';
import { covers, SCOPE_PATTERN } from './permissions.ts';
import { personalOf } from './sessions.ts';

/** Life of a token, seconds. */
export const TOKEN_SECONDS = { least: 60, preset: 600, most: 900 } as const;
const ALGORITHM = 'ES256';
/** Time a key signs, milliseconds. */
const SIGNS_MS = 30 * 86_400_000;
/** A new key is made when the present one signs for less than this, minutes: others must have read it before it is used. */
const OVERLAP_MINUTES = 24 * 60;
/** Keys are read again when a token names an unknown one, at most so often, milliseconds. */
const REREAD_MS = 5_000;
/** And in any case so often, so that one that was retired elsewhere stops signing. */
const STALE_MS = 60_000;
/** Clocks of issuing and checking processes may differ by so much, seconds. */
const SKEW_SECONDS = 5;
const TYPE = 'at+jwt';
const PURPOSE = 'signing-keys';

const claims = z.object({
  iss: z.string(),
  aud: z.string(),
  sub: z.uuid(),
  jti: z.uuid(),
  iat: z.int(),
  nbf: z.int(),
  exp: z.int(),
  org: z.uuid(),
  /** Public part of the key it was issued to: with its end the token ends. */
  key: z.string(),
  scope: z.string().max(20_000),
});

export interface IssuedToken {
  readonly token: string;
  readonly expiresInSeconds: number;
  readonly scopes: readonly string[];
}

export interface TokenDependencies {
  readonly database: Database;
  readonly keys: KeyRing;
  readonly apiKeys: ApiKeys;
  /** Address of this installation: `iss` and `aud` of its tokens. */
  readonly issuer: string;
}

interface SigningKey {
  readonly record: SigningKeyRecord;
  readonly jwk: JWK;
}

/**
 * Short JWTs (RFC 9068) in exchange for an API key, for services that would rather not send the key with every request. They allow
 * what the key allows or less, and end with it within a second: the key is looked up on every use.
 */
export class Tokens {
  readonly #store: SigningKeyStore;
  readonly #keys: KeyRing;
  readonly #apiKeys: ApiKeys;
  readonly #issuer: string;
  #known: readonly SigningKey[] = [];
  #readAt = Number.NEGATIVE_INFINITY;
  #reading: Promise<void> | undefined;
  #private: { readonly kid: string; readonly key: CryptoKey } | undefined;

  constructor({ database, keys, apiKeys, issuer }: TokenDependencies) {
    this.#store = new SigningKeyStore(database);
    this.#keys = keys;
    this.#apiKeys = apiKeys;
    this.#issuer = issuer;
  }

  /**
   * @param scopes a part of the key's; all of them, if left out.
   * @throws {HalError} `Forbidden` for a scope the key does not have, `InvalidInput` for a malformed one.
   */
  async issue(credential: Credential, options: { readonly scopes?: readonly string[] | undefined; readonly seconds?: number | undefined }, facts: IncomingFacts): Promise<IssuedToken> {
    const { scopes = credential.scopes, seconds = TOKEN_SECONDS.preset } = options;
    if (!scopes.every((scope) => SCOPE_PATTERN.test(scope))) throw new HalError('InvalidInput', 'a scope is malformed', { errors: [{ path: '/scope', message: 'expected <resource>:<verb>[:key=value]' }] });
    const excess = scopes.filter((scope) => !covers(credential.scopes, scope));
    if (excess.length > 0) throw new HalError('Forbidden', `the key does not have ${excess.join(', ')}`);
    const { kid, key } = await this.#signingKey();
    const jti = randomUUID();
    const now = Math.floor(Date.now() / 1000);
    const token = await new SignJWT({ org: credential.orgId, key: credential.prefix, scope: scopes.join(' ') })
      .setProtectedHeader({ alg: ALGORITHM, typ: TYPE, kid })
      .setIssuer(this.#issuer)
      .setAudience(this.#issuer)
      .setSubject(credential.id)
      .setJti(jti)
      .setIssuedAt(now)
      .setNotBefore(now)
      .setExpirationTime(now + seconds)
      .sign(key);
    await this.#store.recordIssue({
      orgId: credential.orgId,
      action: 'token.issue',
      result: 'succeeded',
      actor: { kind: 'api-key', id: credential.id },
      resource: { kind: 'token', id: jti },
      requestId: facts.requestId,
      risk: 0,
      details: { seconds, scopes },
      personal: personalOf(facts),
    });
    return { token, expiresInSeconds: seconds, scopes };
  }

  /**
   * What a token allows.
   * @returns undefined for one that is malformed, forged, expired, not for here, or whose key has ended: callers must not be able to tell which.
   */
  async authenticate(text: string, now: number = Date.now()): Promise<Credential | undefined> {
    const verified = await this.#verify(text);
    if (verified === undefined) return undefined;
    const seconds = now / 1000;
    const { iss, aud, exp, nbf, iat, sub, org, key, scope } = verified;
    if (iss !== this.#issuer || aud !== this.#issuer || exp <= seconds || nbf > seconds + SKEW_SECONDS || iat > seconds + SKEW_SECONDS || exp - iat > TOKEN_SECONDS.most) return undefined;
    const credential = await this.#apiKeys.credentialOf(key);
    if (credential === undefined || credential.id !== sub || credential.orgId !== org) return undefined;
    return { ...credential, scopes: scope.split(' ').filter((one) => covers(credential.scopes, one)) };
  }

  /** Public keys by which anybody can check a token (RFC 7517). */
  async jwks(): Promise<{ keys: JWK[] }> {
    await this.#signingKey();
    return { keys: this.#known.map(({ jwk }) => jwk) };
  }

  /** A new key signs from now on; tokens of the old ones are good until they expire. @returns its id. */
  async rotate(): Promise<string> {
    await this.#add(true);
    return (await this.#signingKey()).kid;
  }

  async #verify(text: string): Promise<z.output<typeof claims> | undefined> {
    if (text.length > 32_768) return undefined;
    const kid = kidOf(text);
    if (kid === undefined) return undefined;
    // Another process may have made the key a moment ago; a made-up name must not make this one read for every request.
    if (!this.#known.some(({ record }) => record.kid === kid) && performance.now() - this.#readAt > REREAD_MS) await this.#read();
    try {
      const { payload, header } = await verifyJws(text, { keys: this.#known.map(({ jwk }) => jwk) });
      if (header['typ'] !== TYPE) return undefined;
      const parsed = claims.safeParse(JSON.parse(Buffer.from(payload).toString('utf8')));
      return parsed.success ? parsed.data : undefined;
    } catch (error) {
      if (error instanceof JwsError || error instanceof SyntaxError) return undefined;
      throw error;
    }
  }

  async #signingKey(): Promise<{ kid: string; key: CryptoKey }> {
    if (performance.now() - this.#readAt > STALE_MS) await this.#read();
    if (this.#signing(OVERLAP_MINUTES) === undefined) await this.#add(false);
    // The oldest that still signs: others have had the time to read it.
    const chosen = this.#signing(0);
    if (chosen === undefined) throw new Error('a signing key was added and is not there');
    const { kid } = chosen.record;
    if (this.#private?.kid !== kid) {
      const jwk = z.record(z.string(), z.unknown()).parse(JSON.parse(this.#keys.open(INSTALLATION, PURPOSE, chosen.record.sealed, kid).toString('utf8')));
      const key = await importJWK(jwk as JWK, ALGORITHM);
      if (key instanceof Uint8Array) throw new Error('a signing key is not a secret');
      this.#private = { kid, key };
    }
    return this.#private;
  }

  #signing(minutes: number): SigningKey | undefined {
    const until = Date.now() + minutes * 60_000;
    return this.#known.findLast(({ record }) => record.retiresAt.getTime() > until);
  }

  async #add(retireOthers: boolean): Promise<void> {
    const { publicKey, privateKey } = await generateKeyPair(ALGORITHM, { extractable: true });
    const kid = randomUUID();
    const retiresAt = new Date(Date.now() + SIGNS_MS);
    await this.#store.addAcrossOrganisations(
      {
        kid,
        algorithm: ALGORITHM,
        publicJwk: { ...(await exportJWK(publicKey)), kid, alg: ALGORITHM, use: 'sig' },
        sealed: this.#keys.seal(INSTALLATION, PURPOSE, JSON.stringify(await exportJWK(privateKey)), kid),
        retiresAt,
        expiresAt: new Date(retiresAt.getTime() + TOKEN_SECONDS.most * 1000),
      },
      OVERLAP_MINUTES,
      retireOthers,
    );
    await this.#read();
  }

  async #read(): Promise<void> {
    this.#reading ??= this.#store
      .listAcrossOrganisations()
      .then((records) => {
        this.#known = records.map((record) => ({ record, jwk: record.publicJwk as JWK }));
        this.#readAt = performance.now();
      })
      .finally(() => {
        this.#reading = undefined;
      });
    await this.#reading;
  }
}

/** Whether a text looks like a JWT rather than an API key. */
export function looksLikeToken(text: string): boolean {
  return text.startsWith('eyJ') && text.split('.').length === 3;
}

/** Read before anything is verified, and used for nothing but to look whether such a key is known. */
function kidOf(text: string): string | undefined {
  try {
    const header: unknown = JSON.parse(Buffer.from(text.slice(0, text.indexOf('.')), 'base64url').toString('utf8'));
    return typeof header === 'object' && header !== null && 'kid' in header && typeof header.kid === 'string' ? header.kid : undefined;
  } catch {
    return undefined;
  }
}
