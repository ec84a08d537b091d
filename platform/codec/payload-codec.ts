import { promisify } from 'node:util';
import { gunzip, gzip } from 'node:zlib';
import type { Payload, PayloadCodec } from '@temporalio/common';
import type { SerializationContext } from '@temporalio/common';
import proto from '@temporalio/proto';
import { workflowOrganisation } from '../../schemas/names/workflow-id.ts';
import { INSTALLATION, KeyError, type KeyRing } from '../keys/key-ring.ts';

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
 * Encrypts every payload with AES-256-GCM under the key of the organisation that the workflow id names; ids of another
 * shape use the installation's key. Metadata carries `encryption-key-id` and `encryption-scope`, so that the codec
 * endpoint can decode without a workflow id.
 */
export class EncryptionCodec implements PayloadCodec {
  readonly #keys: KeyRing;

  constructor(keys: KeyRing) {
    this.#keys = keys;
  }

  async encode(payloads: Payload[], context?: SerializationContext): Promise<Payload[]> {
    const scope = scopeOf(context) ?? INSTALLATION;
    return Promise.all(payloads.map((payload) => this.#encrypt(payload, scope)));
  }

  /**
   * Payloads that were never encrypted pass as they are.
   * @throws {KeyError} for an unknown key, changed bytes, or the payload of another organisation than the workflow's.
   */
  async decode(payloads: Payload[], context?: SerializationContext): Promise<Payload[]> {
    const expected = scopeOf(context);
    return Promise.all(payloads.map((payload) => this.#decrypt(payload, expected)));
  }

  async #encrypt(payload: Payload, scope: string): Promise<Payload> {
    const plain = proto.temporal.api.common.v1.Payload.encode(payload).finish();
    const packed = plain.length >= COMPRESS_FROM ? await compress(plain, { level: 1 }) : undefined;
    const gzipped = packed !== undefined && packed.length < plain.length;
    const compression = gzipped ? 'gzip' : 'none';
    return {
      metadata: {
        encoding: text(ENCODING),
        'encryption-key-id': text(this.#keys.currentId),
        'encryption-scope': text(scope),
        'encryption-compression': text(compression),
      },
      data: this.#keys.seal(scope, PURPOSE, gzipped ? packed : plain, compression),
    };
  }

  async #decrypt(payload: Payload, expected: string | undefined): Promise<Payload> {
    if (read(payload.metadata?.['encoding']) !== ENCODING || !payload.data) return payload;
    const scope = read(payload.metadata?.['encryption-scope']);
    if (expected !== undefined && scope !== expected) throw new KeyError('the payload belongs to another organisation');
    const compression = read(payload.metadata?.['encryption-compression']);
    const opened = this.#keys.open(scope, PURPOSE, payload.data, compression);
    const plain = compression === 'gzip' ? await decompress(opened, { maxOutputLength: DECOMPRESS_LIMIT }) : opened;
    return proto.temporal.api.common.v1.Payload.decode(plain);
  }
}

/** The organisation that must own the payload; undefined when the context does not name one. */
function scopeOf(context: SerializationContext | undefined): string | undefined {
  return context?.workflowId === undefined ? undefined : workflowOrganisation(context.workflowId);
}
