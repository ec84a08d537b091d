import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Client } from '@temporalio/client';
import proto from '@temporalio/proto';
import { EncryptionCodec } from '../../platform/codec/payload-codec.ts';
import type { KeyRing } from '../../platform/keys/key-ring.ts';
import { HAL9_ROOT } from '../../platform/operations/discovery.ts';
import { parseWorkflowId } from '../../schemas/names/workflow-id.ts';
import { decodeHistory } from '../../workers/history-decoding.ts';

export const HISTORIES = join(import.meta.dirname, 'histories');

/**
 * Keeps the history of a run, decrypted, as `<operation>-<case>.json`.
 * @returns the file.
 */
export async function recordHistory(client: Client, keys: KeyRing, workflowId: string, name: string, folder: string = HISTORIES): Promise<string> {
  // The firing of a schedule has the time behind its id.
  const operation = parseWorkflowId(workflowId.replace(/-\d{4}-\d{2}-\d{2}T[\d:.]+Z$/, ''))?.operation;
  if (operation === undefined) throw new TypeError(`"${workflowId}" is not the workflow id of an operation`);
  const history = await client.workflow.getHandle(workflowId).fetchHistory();
  await decodeHistory(history, new EncryptionCodec(keys));
  await mkdir(folder, { recursive: true });
  const file = join(folder, `${operation}-${name}.json`);
  const { History } = proto.temporal.api.history.v1;
  const record = { workflowId, history: History.toObject(History.fromObject(history), { enums: String, longs: String, bytes: String }) };
  await writeFile(file, `${JSON.stringify(record, withoutPaths, 1)}\n`);
  return file;
}

/** Stack traces name the folder of the checkout: in a file that is kept they are relative to it. */
function withoutPaths(key: string, value: unknown): unknown {
  if (key !== 'data' || typeof value !== 'string') return value;
  const text = Buffer.from(value, 'base64').toString('utf8');
  return text.includes(HAL9_ROOT) ? Buffer.from(text.replaceAll(`${HAL9_ROOT}/`, '')).toString('base64') : value;
}
