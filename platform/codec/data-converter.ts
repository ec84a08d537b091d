import { extname, join } from 'node:path';
import type { DataConverter } from '@temporalio/common';
import type { KeyRing } from '../keys/key-ring.ts';
import type { SubjectKeyPort } from '../keys/subject-keys.ts';
import { EncryptionCodec } from './payload-codec.ts';

/** Path of the module that clients, workers and the workflow bundle load the failure converter from. */
export const FAILURE_CONVERTER_PATH = join(import.meta.dirname, `failure-converter${extname(import.meta.filename)}`);

/**
 * How every client and worker of HAL9 writes payloads and failures: encrypted.
 * @param subjects keys of people; without them runs about a person cannot be read or started.
 */
export function createDataConverter(keys: KeyRing, subjects?: SubjectKeyPort): DataConverter {
  return { payloadCodecs: [new EncryptionCodec(keys, subjects)], failureConverterPath: FAILURE_CONVERTER_PATH };
}
