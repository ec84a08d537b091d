import type { Payload, PayloadCodec } from '@temporalio/common';
import type { History } from '@temporalio/common/lib/proto-utils.js';

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null;

/**
 * Decrypts every payload of a history in place, so that it can be kept and replayed without keys. What was
 * never encrypted stays as it is.
 */
export async function decodeHistory(history: History, codec: PayloadCodec): Promise<void> {
  await decodeWithin(history, codec);
}

async function decodeWithin(value: unknown, codec: PayloadCodec): Promise<void> {
  if (!isObject(value) || value instanceof Uint8Array) return;
  for (const [key, member] of Object.entries(value)) {
    if (isPayload(member)) [value[key]] = await codec.decode([member]);
    else await decodeWithin(member, codec);
  }
}

function isPayload(value: unknown): value is Payload {
  return isObject(value) && isObject(value['metadata']) && value['data'] instanceof Uint8Array && value['metadata']['encoding'] instanceof Uint8Array;
}
