import { promisify } from 'node:util';
import { gunzip, gzip } from 'node:zlib';
import type { Payload, PayloadCodec } from '@temporalio/common';
import type { SerializationContext } from '@temporalio/common';
import proto from '@temporalio/proto';
import { workflowOrganisation, workflowSubjectKey } from '../../schemas/names/workflow-id.ts';
import { INSTALLATION, KeyError, type KeyRing } from '../keys/key-ring.ts';
import { isSubjectKeyId, SubjectKeyDestroyed, type SubjectKeyPort } from '../keys/subject-keys.ts';

const compress = promisify(gzip);
const decompress = promisify(gunzip);

const ENCODING = 'binary/encrypted';
const PURPOSE = 'payload';
/** Larger payloads are compressed before they are encrypted: ciphertext does not compress. Bytes. */
const COMPRESS_FROM = 1024;
/** Largest payload after decompression: Temporal's own limit is 2 MiB, so more than this is an attack. Bytes. */
const DECOMPRESS_LIMIT = 64 * 1024 * 1024;

const text = (value: string): Uint8Array => new TextEncoder().encode(value);
const read = (value: Uint8Array | null | undefined): string => (value ? new TextDecoder().decode(value) : '');

/**
 * Encrypts every payload with AES-256-GCM under the key of the person the workflow id names, else of the organisation; ids of another
 * shape use the installation's key. What a destroyed key of a person had sealed reads as {@link ERASED}. Metadata carries `encryption-key-id` and `encryption-scope`, so that the codec
 * endpoint can decode without a workflow id.
 */
export class EncryptionCodec implements PayloadCodec {
  readonly #keys: KeyRing;
  readonly #subjects: SubjectKeyPort | undefined;

  constructor(keys: KeyRing, subjects?: SubjectKeyPort) {
    this.#keys = keys;
    this.#subjects = subjects;
  }

  async encode(payloads: Payload[], context?: SerializationContext): Promise<Payload[]> {
    const scope = scopeOf(context) ?? INSTALLATION;
    const keyId = context?.workflowId === undefined ? undefined : workflowSubjectKey(context.workflowId);
    const ring = keyId === undefined ? this.#keys : await this.#ringOf(scope, keyId);
    return Promise.all(payloads.map((payload) => this.#encrypt(payload, scope, ring)));
  }

  /**
   * Payloads that were never encrypted pass as they are.
   * @throws {KeyError} for an unknown key, changed bytes, or the payload of another organisation than the workflow's.
   */
  async decode(payloads: Payload[], context?: SerializationContext): Promise<Payload[]> {
    const expected = scopeOf(context);
    return Promise.all(payloads.map((payload) => this.#decrypt(payload, expected)));
  }

  async #encrypt(payload: Payload, scope: string, ring: KeyRing): Promise<Payload> {
    const plain = proto.temporal.api.common.v1.Payload.encode(payload).finish();
    const packed = plain.length >= COMPRESS_FROM ? await compress(plain, { level: 1 }) : undefined;
    const gzipped = packed !== undefined && packed.length < plain.length;
    const compression = gzipped ? 'gzip' : 'none';
    return {
      metadata: {
        encoding: text(ENCODING),
        'encryption-key-id': text(ring.currentId),
        'encryption-scope': text(scope),
        'encryption-compression': text(compression),
      },
      data: ring.seal(scope, PURPOSE, gzipped ? packed : plain, compression),
    };
  }

  async #decrypt(payload: Payload, expected: string | undefined): Promise<Payload> {
    if (read(payload.metadata?.['encoding']) !== ENCODING || !payload.data) return payload;
    const scope = read(payload.metadata?.['encryption-scope']);
    if (expected !== undefined && scope !== expected) throw new KeyError('the payload belongs to another organisation');
    const compression = read(payload.metadata?.['encryption-compression']);
    const keyId = read(payload.metadata?.['encryption-key-id']);
    let ring = this.#keys;
    try {
      if (isSubjectKeyId(keyId)) ring = await this.#ringOf(scope, keyId);
    } catch (error) {
      if (error instanceof SubjectKeyDestroyed) return ERASED_PAYLOAD;
      throw error;
    }
    const opened = ring.open(scope, PURPOSE, payload.data, compression);
    const plain = compression === 'gzip' ? await decompress(opened, { maxOutputLength: DECOMPRESS_LIMIT }) : opened;
    return proto.temporal.api.common.v1.Payload.decode(plain);
  }

  async #ringOf(orgId: string, keyId: string): Promise<KeyRing> {
    if (this.#subjects === undefined) throw new KeyError('keys of people are not at hand here');
    return this.#subjects.ring(orgId, keyId);
  }
}

/** Stands where data of a person was that has been erased. */
export const ERASED = '[erased: the key of the person this was about was destroyed]';
const ERASED_PAYLOAD: Payload = { metadata: { encoding: text('json/plain') }, data: text(JSON.stringify(ERASED)) };

/** The organisation that must own the payload; undefined when the context does not name one. */
function scopeOf(context: SerializationContext | undefined): string | undefined {
  return context?.workflowId === undefined ? undefined : workflowOrganisation(context.workflowId);
}
