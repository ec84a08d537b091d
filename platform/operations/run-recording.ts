import type { PayloadCodec } from '@temporalio/common';
import type { History } from '@temporalio/common/lib/proto-utils.js';
import proto from '@temporalio/proto';
import { decodeHistory } from '../codec/history-decoding.ts';
import { HAL9_ROOT } from './discovery.ts';

/** What a run decided, as files for replay tests keep it. */
export interface RunRecording {
  readonly workflowId: string;
  readonly history: { readonly [field: string]: unknown };
}

/**
 * A history without encryption, as JSON.
 * @param history changed: its payloads are decrypted in place.
 * @throws {KeyError} without the key.
 */
export async function recordingOf(workflowId: string, history: History, codecs: readonly PayloadCodec[]): Promise<RunRecording> {
  for (const codec of codecs) await decodeHistory(history, codec);
  const { History: Message } = proto.temporal.api.history.v1;
  const plain: unknown = JSON.parse(JSON.stringify(Message.toObject(Message.fromObject(history), { enums: String, longs: String, bytes: String }), withoutPaths));
  return { workflowId, history: isRecord(plain) ? plain : {} };
}

/** Stack traces name the folder of the installation: in what is kept they are relative to it. */
function withoutPaths(key: string, value: unknown): unknown {
  if (key !== 'data' || typeof value !== 'string') return value;
  const text = Buffer.from(value, 'base64').toString('utf8');
  return text.includes(HAL9_ROOT) ? Buffer.from(text.replaceAll(`${HAL9_ROOT}/`, '')).toString('base64') : value;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
