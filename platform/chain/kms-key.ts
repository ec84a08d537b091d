import { createPublicKey } from 'node:crypto';
import type { KMSClient } from '@aws-sdk/client-kms';
import { Signature, computeAddress, getBytes, hexlify, recoverAddress, toBeHex } from 'ethers';
import { HalError } from '../../schemas/errors.ts';
import type { SignerKey } from './signing-key.ts';

/** Of the curve secp256k1 (SEC 2, section 2.4.1). */
const ORDER = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n;
/** Longest content of an integer of a signature, bytes: 32, and one that keeps it positive. */
const LONGEST_INTEGER = 33;
/** How long an alias is believed to mean the same key, ms; a signature by another one ends that at once. */
const BELIEVED_MS = 300_000;
const CONNECT_MS = 3_000;
const ANSWER_MS = 10_000;

/** Keys of the AWS Key Management Service: ids, ARNs or aliases. */
export interface KmsKeyNames {
  /** Asymmetric, `ECC_SECG_P256K1`, for signing. */
  readonly signing: string;
  /** `HMAC_256`; what votes are hidden by comes from it. */
  readonly mac: string | undefined;
}

/** One a region for the process: each keeps connections and credentials. */
const clients = new Map<string, KMSClient>();
const addresses = new Map<string, { readonly address: string; readonly until: number }>();

/**
 * A key that never leaves the key management service. Region, credentials and address of the service are found as the SDK of AWS finds them (`AWS_REGION`, roles, `AWS_ENDPOINT_URL_KMS`); the region of an ARN goes before.
 * @throws {HalError} `SignerUnavailable` when the service refuses, or the key is of another kind.
 */
export async function openKmsKey({ signing, mac }: KmsKeyNames): Promise<SignerKey> {
  const address = await addressOf(signing);
  return {
    address,
    async sign(digest) {
      const { SignCommand } = await import('@aws-sdk/client-kms');
      const answer = await asked(async () => (await clientFor(signing)).send(new SignCommand({ KeyId: signing, Message: getBytes(digest), MessageType: 'DIGEST', SigningAlgorithm: 'ECDSA_SHA_256' })));
      const signature = answer.Signature === undefined ? undefined : recoverable(digest, pairOf(answer.Signature), address);
      if (signature !== undefined) return signature;
      addresses.delete(signing);
      throw new HalError('SignerUnavailable', `the key management service signed with another key than that of ${address}`);
    },
    async derive(label) {
      if (mac === undefined) throw new HalError('SignerUnavailable', 'votes are hidden by a key for HMAC, and the variable of this key names none');
      const { GenerateMacCommand } = await import('@aws-sdk/client-kms');
      const { Mac } = await asked(async () => (await clientFor(mac)).send(new GenerateMacCommand({ KeyId: mac, Message: Buffer.from(label), MacAlgorithm: 'HMAC_SHA_256' })));
      if (Mac?.length !== 32) throw new HalError('SignerUnavailable', 'the key management service gave no 32 bytes');
      return hexlify(Mac);
    },
  };
}

async function addressOf(key: string): Promise<string> {
  const known = addresses.get(key);
  if (known !== undefined && known.until > Date.now()) return known.address;
  const { GetPublicKeyCommand } = await import('@aws-sdk/client-kms');
  const { PublicKey } = await asked(async () => (await clientFor(key)).send(new GetPublicKeyCommand({ KeyId: key })));
  const { crv, x, y } = PublicKey === undefined ? {} : createPublicKey({ key: Buffer.from(PublicKey), format: 'der', type: 'spki' }).export({ format: 'jwk' });
  if (crv !== 'secp256k1' || x === undefined || y === undefined) throw new HalError('SignerUnavailable', 'the key in the key management service is not of the curve secp256k1 (ECC_SECG_P256K1)');
  const address = computeAddress(hexlify(Buffer.concat([Buffer.from([4]), Buffer.from(x, 'base64url'), Buffer.from(y, 'base64url')])));
  addresses.set(key, { address, until: Date.now() + BELIEVED_MS });
  return address;
}

async function clientFor(key: string): Promise<KMSClient> {
  const region = /^arn:[^:]+:kms:([^:]+):/.exec(key)?.[1] ?? '';
  const known = clients.get(region);
  if (known !== undefined) return known;
  const { KMSClient: Client } = await import('@aws-sdk/client-kms');
  const made = new Client({ ...(region === '' ? {} : { region }), requestHandler: { connectionTimeout: CONNECT_MS, requestTimeout: ANSWER_MS } });
  clients.set(region, made);
  return made;
}

async function asked<Answer>(ask: () => Promise<Answer>): Promise<Answer> {
  try {
    return await ask();
  } catch (error) {
    // Its message may name accounts and roles.
    throw new HalError('SignerUnavailable', `the key management service does not help: ${error instanceof Error ? error.name : 'no reason'}`, { cause: error });
  }
}

/** `ECDSA-Sig-Value` (RFC 3279, section 2.2.3) in DER: a sequence of two integers, together shorter than 128 bytes on this curve. */
function pairOf(der: Uint8Array): { readonly r: bigint; readonly s: bigint } {
  const bytes = Buffer.from(der);
  const integerAt = (start: number): { readonly value: bigint; readonly end: number } => {
    const length = bytes[start + 1] ?? 0;
    const end = start + 2 + length;
    if (bytes[start] !== 0x02 || length === 0 || length > LONGEST_INTEGER || end > bytes.length) throw malformed();
    return { value: BigInt(hexlify(bytes.subarray(start + 2, end))), end };
  };
  if (bytes[0] !== 0x30 || bytes[1] !== bytes.length - 2) throw malformed();
  const r = integerAt(2);
  const s = integerAt(r.end);
  if (s.end !== bytes.length) throw malformed();
  return { r: r.value, s: s.value };
}

/** With the lower of the two values of s that hold (EIP-2), and the parity that leads back to the address. */
function recoverable(digest: string, { r, s }: { readonly r: bigint; readonly s: bigint }, address: string): Signature | undefined {
  if (r === 0n || s === 0n || r >= ORDER || s >= ORDER) throw malformed();
  const low = s > ORDER / 2n ? ORDER - s : s;
  const both = ([0, 1] as const).map((yParity) => Signature.from({ r: toBeHex(r, 32), s: toBeHex(low, 32), yParity }));
  return both.find((signature) => recoverAddress(digest, signature) === address);
}

function malformed(): HalError {
  return new HalError('SignerUnavailable', 'the key management service gave a signature that is none');
}
