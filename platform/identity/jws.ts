import { createPublicKey, type JsonWebKey } from 'node:crypto';
import { compactVerify, importJWK, type CryptoKey, type JWK } from 'jose';
import { z } from 'zod';

/** The text is no JWS, its signature is wrong, or the key must not be used for it. The message says which rule, never the content. */
export class JwsError extends Error {
  override readonly name = 'JwsError';
}

/** Bytes that the signature covers, with the header that it covers too. */
export interface VerifiedJws {
  readonly payload: Uint8Array;
  readonly header: Readonly<Record<string, unknown>>;
}

const ALGORITHMS = new Set(['HS256', 'HS384', 'HS512', 'RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519']);
/** Key material in the token is the sender's word for its own honesty (RFC 8725, 3.10). */
const EMBEDDED = ['jwk', 'jku', 'x5c', 'x5u', 'x5t', 'x5t#S256'];
const PRIVATE_PARTS = ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth'];
const CURVES: Readonly<Record<string, string>> = { 'P-256': 'ES256', 'P-384': 'ES384', 'P-521': 'ES512' };
/** A misspelling of ES512 that keys in circulation have. */
const MISSPELT: Readonly<Record<string, string>> = { ES521: 'ES512' };
const HMAC_BYTES: Readonly<Record<string, number>> = { HS256: 32, HS384: 48, HS512: 64 };
const MIN_RSA_BITS = 2048;
const MAX_RSA_BITS = 8192;

const header = z.looseObject({ alg: z.string(), kid: z.string().max(200).optional(), crit: z.never().optional(), b64: z.never().optional() });

/**
 * Verifies a JWS in compact serialization (RFC 7515) with a key, or the key of a set (RFC 7517) that `kid` names. The algorithm is the
 * key's; the token's must say the same. Refused: `none`, JSON serialization, `crit`, embedded keys, base64url that is not canonical,
 * sets that mix secret and public keys or name a key twice, and keys that are too weak, malformed or meant for something else.
 * @throws {JwsError}
 */
export async function verifyJws(text: string, keyOrSet: unknown): Promise<VerifiedJws> {
  const parts = text.split('.');
  if (parts.length !== 3) throw new JwsError('a compact JWS has three parts');
  for (const part of parts) assertCanonical(part);
  const [encodedHeader = '', , signature = ''] = parts;
  if (signature === '') throw new JwsError('there is no signature');
  const parsed = header.safeParse(json(encodedHeader));
  if (!parsed.success) throw new JwsError('the header is malformed or has critical extensions');
  if (EMBEDDED.some((name) => Object.hasOwn(parsed.data, name))) throw new JwsError('the header brings its own key');
  const { alg, kid } = parsed.data;
  if (!ALGORITHMS.has(alg)) throw new JwsError('the algorithm is none that signs');
  const jwk = choose(keysOf(keyOrSet), kid);
  const keyAlgorithm = algorithmOf(jwk);
  if (keyAlgorithm !== undefined && keyAlgorithm !== alg) throw new JwsError('the algorithm is not the key\'s');
  assertUsable(jwk, alg);
  return verified(text, jwk, alg, parsed.data);
}

type Key = Readonly<Record<string, unknown>>;

async function verified(text: string, jwk: Key, alg: string, parsed: Readonly<Record<string, unknown>>): Promise<VerifiedJws> {
  const { use: _use, key_ops: _operations, ext: _extractable, ...material } = jwk;
  let key: CryptoKey | Uint8Array;
  try {
    key = await importJWK({ ...material, alg } as JWK, alg);
  } catch (cause) {
    throw new JwsError('the key is malformed', { cause });
  }
  try {
    const { payload } = await compactVerify(text, key, { algorithms: [alg] });
    return { payload, header: parsed };
  } catch (cause) {
    throw new JwsError('the signature is wrong', { cause });
  }
}

function keysOf(keyOrSet: unknown): Key[] {
  if (!isRecord(keyOrSet)) throw new JwsError('no key');
  const { keys } = keyOrSet;
  if (keys === undefined) return [keyOrSet];
  if (!Array.isArray(keys) || keys.length === 0 || !keys.every(isRecord)) throw new JwsError('the key set is malformed');
  if (keys.some((key) => key['kty'] === 'oct') && keys.some((key) => key['kty'] !== 'oct')) throw new JwsError('the key set mixes secret and public keys');
  if (keys.some((key) => PRIVATE_PARTS.some((part) => Object.hasOwn(key, part)))) throw new JwsError('the key set has private keys in it');
  const named = keys.map((key) => key['kid']).filter((kid) => kid !== undefined);
  if (new Set(named).size !== named.length) throw new JwsError('the key set names a key twice');
  return keys;
}

function choose(keys: readonly Key[], kid: string | undefined): Key {
  const [only] = keys;
  // One key given by itself is meant, whatever the token calls it; but a name on both sides must be the same.
  const matching = keys.length === 1 && only !== undefined && (kid === undefined || only['kid'] === undefined) ? [only] : keys.filter((key) => kid !== undefined && key['kid'] === kid);
  const [chosen] = matching;
  if (chosen === undefined || matching.length > 1) throw new JwsError('no key of this name');
  return chosen;
}

function algorithmOf(jwk: Key): string | undefined {
  const { alg } = jwk;
  if (alg === undefined) return undefined;
  if (typeof alg !== 'string') throw new JwsError('the key\'s algorithm is malformed');
  return MISSPELT[alg] ?? alg;
}

function assertUsable(jwk: Key, alg: string): void {
  const { use, key_ops: operations } = jwk;
  if (use !== undefined && use !== 'sig') throw new JwsError('the key is not for signatures');
  if (operations !== undefined && !(Array.isArray(operations) && operations.includes('verify'))) throw new JwsError('the key is not for verifying');
  switch (jwk['kty']) {
    case 'oct':
      assertSecret(jwk, alg);
      return;
    case 'RSA':
      if (!/^[RP]S/.test(alg)) throw new JwsError('an RSA key does not do this algorithm');
      assertRsa(jwk);
      return;
    case 'EC':
      if (typeof jwk['crv'] !== 'string' || CURVES[jwk['crv']] !== alg) throw new JwsError('the curve is not the algorithm\'s');
      assertParses(jwk);
      return;
    case 'OKP':
      if (jwk['crv'] !== 'Ed25519' || !(alg === 'EdDSA' || alg === 'Ed25519')) throw new JwsError('the curve is not the algorithm\'s');
      assertParses(jwk);
      return;
    default:
      throw new JwsError('the key is of no kind that signs');
  }
}

/** RFC 7518, 3.2: at least as long as the hash. */
function assertSecret(jwk: Key, alg: string): void {
  const least = HMAC_BYTES[alg];
  if (least === undefined) throw new JwsError('a secret key does not do this algorithm');
  if (typeof jwk['k'] !== 'string' || bytesOf(jwk['k']).length < least) throw new JwsError('the secret key is too short');
}

function assertRsa(jwk: Key): void {
  const [n, e] = [integer(jwk['n']), integer(jwk['e'])];
  const bits = n.toString(2).length;
  if (bits < MIN_RSA_BITS || bits > MAX_RSA_BITS || n % 2n === 0n) throw new JwsError('the modulus is too short, too long or even');
  if (e < 3n || e % 2n === 0n || e >= 1n << 64n) throw new JwsError('the public exponent is unsafe');
  if (isRoca(n)) throw new JwsError('the key was made by a broken generator (CVE-2017-15361)');
  assertParses(jwk);
}

/** OpenSSL refuses points that are not on their curve. */
function assertParses(jwk: Key): void {
  try {
    createPublicKey({ key: publicPart(jwk), format: 'jwk' });
  } catch (cause) {
    throw new JwsError('the key is malformed', { cause });
  }
}

function publicPart(jwk: Key): JsonWebKey {
  const text = (name: string): Record<string, string> => (typeof jwk[name] === 'string' ? { [name]: jwk[name] } : {});
  return { ...text('kty'), ...text('crv'), ...text('x'), ...text('y'), ...text('n'), ...text('e') };
}

const ROCA_PRIMES = [3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101, 103, 107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167];

/**
 * The fingerprint of Infineon's generator: the modulus is a power of 65537 modulo every small prime (Nemec et al., "The Return of
 * Coppersmith's Attack", 2017). Another modulus passes by chance once in 2^28 or rarer.
 */
function isRoca(n: bigint): boolean {
  return ROCA_PRIMES.every((prime) => {
    const target = Number(n % BigInt(prime));
    const seen = new Set<number>();
    for (let power = 1; !seen.has(power); power = (power * 65_537) % prime) seen.add(power);
    return seen.has(target);
  });
}

function integer(encoded: unknown): bigint {
  if (typeof encoded !== 'string') throw new JwsError('the key is malformed');
  const bytes = bytesOf(encoded);
  if (bytes.length === 0) throw new JwsError('the key is malformed');
  return BigInt(`0x${bytes.toString('hex')}`);
}

function bytesOf(encoded: string): Buffer {
  assertCanonical(encoded);
  return Buffer.from(encoded, 'base64url');
}

/** Exactly the letters of base64url, no padding, unused bits zero: one text for the same bytes (RFC 7515, 2; RFC 4648, 3.5). */
function assertCanonical(part: string): void {
  if (Buffer.from(part, 'base64url').toString('base64url') !== part) throw new JwsError('this is not base64url');
}

function json(encoded: string): unknown {
  try {
    return JSON.parse(Buffer.from(encoded, 'base64url').toString('utf8'));
  } catch (cause) {
    throw new JwsError('the header is not JSON', { cause });
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
