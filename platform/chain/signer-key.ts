import { hkdfSync, randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { SigningKey, computeAddress, getBytes, hexlify } from 'ethers';
import { HalError } from '../../schemas/errors.ts';
import type { KeySource } from '../../schemas/rest/chains.ts';
import type { KeyRing } from '../keys/key-ring.ts';
import { openKmsKey } from './kms-key.ts';
import type { SignerKey } from './signing-key.ts';

export interface KeyPlaces {
  readonly keys: KeyRing;
  /** Of the process; for keys in variables. */
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** HAL9_CHAIN_KEYS_DIR. */
  readonly folder: string | undefined;
}

export interface KeyReference {
  readonly kind: 'kept' | 'env' | 'file' | 'kms';
  readonly name: string | null;
  readonly sealed: Buffer | null;
}

const PURPOSE = 'chain-signers';

/** A new key, sealed for the signer with this id. */
export function sealNewKey(keys: KeyRing, orgId: string, signerId: string): Buffer {
  return keys.seal(orgId, PURPOSE, randomBytes(32), signerId);
}

export function referenceOf(source: KeySource, sealed: Buffer | null): KeyReference {
  return { kind: source.kind, name: source.kind === 'kept' ? null : source.name, sealed };
}

/**
 * Opens a key. Keys of the operator (variables, files, a key management service) belong to one organisation each, so that nobody names another's.
 * @throws {HalError} `SignerUnavailable` when it is not there, or is no key; never with any of its bytes.
 */
export async function openSignerKey(places: KeyPlaces, orgId: string, signerId: string, reference: KeyReference): Promise<SignerKey> {
  switch (reference.kind) {
    case 'kept':
      if (reference.sealed === null) throw new HalError('SignerUnavailable', 'the signer has no key');
      return localKey(hexlify(places.keys.open(orgId, PURPOSE, reference.sealed, signerId)), 'the kept key');
    case 'env': {
      const variable = `HAL9_CHAIN_KEY_${reference.name ?? ''}`;
      const [owner, key] = (places.environment[variable] ?? '').split(':', 2);
      if (key === undefined || owner !== orgId) throw new HalError('SignerUnavailable', `${variable} holds no key of this organisation`);
      return localKey(key.trim(), variable);
    }
    case 'file': {
      if (places.folder === undefined) throw new HalError('SignerUnavailable', 'HAL9_CHAIN_KEYS_DIR is not set');
      const name = reference.name ?? '';
      // The name was checked when the signer was made; a row that was tampered with must not lead elsewhere.
      if (!/^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$/.test(name)) throw new HalError('SignerUnavailable', 'the name of the key file is not allowed');
      const text = await readFile(join(places.folder, orgId, name), 'utf8').catch((error: unknown) => {
        throw new HalError('SignerUnavailable', `the key file ${name} of this organisation cannot be read`, { cause: error });
      });
      return localKey(text.trim(), `the key file ${name}`);
    }
    case 'kms': {
      const variable = `HAL9_CHAIN_KMS_${reference.name ?? ''}`;
      // ARNs have colons themselves.
      const [, owner, signing, mac] = /^([^:]+):([^,]+)(?:,(.+))?$/.exec(places.environment[variable] ?? '') ?? [];
      if (signing === undefined || owner !== orgId) throw new HalError('SignerUnavailable', `${variable} names no key of this organisation`);
      return openKmsKey({ signing: signing.trim(), mac: mac?.trim() });
    }
  }
}

function localKey(text: string, where: string): SignerKey {
  const bytes = text.startsWith('0x') ? text : `0x${text}`;
  if (!/^0x[0-9a-fA-F]{64}$/.test(bytes)) throw new HalError('SignerUnavailable', `${where} is not 32 bytes in hexadecimal`);
  let key: SigningKey;
  try {
    key = new SigningKey(bytes);
  } catch {
    // Its message would show the key.
    throw new HalError('SignerUnavailable', `${where} is no key of secp256k1`);
  }
  return {
    address: computeAddress(key.publicKey),
    sign: (digest) => Promise.resolve(key.sign(digest)),
    derive: (label) => Promise.resolve(hexlify(new Uint8Array(hkdfSync('sha256', getBytes(key.privateKey), Buffer.alloc(0), label, 32)))),
  };
}
