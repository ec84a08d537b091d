import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Client } from '@temporalio/client';
import proto from '@temporalio/proto';
import { EncryptionCodec } from '../../platform/codec/payload-codec.ts';
import type { KeyRing } from '../../platform/keys/key-ring.ts';
import { parseWorkflowId } from '../../schemas/names/workflow-id.ts';
import { decodeHistory } from '../../workers/history-decoding.ts';

export const HISTORIES = join(import.meta.dirname, 'histories');

/**
 * Keeps the history of a run, decrypted, as `<operation>-<case>.json`.
 * @returns the file.
 */
export async function recordHistory(client: Client, keys: KeyRing, workflowId: string, name: string, folder: string = HISTORIES): Promise<string> {
  const operation = parseWorkflowId(workflowId)?.operation;
  if (operation === undefined) throw new TypeError(`"${workflowId}" is not the workflow id of an operation`);
  const history = await client.workflow.getHandle(workflowId).fetchHistory();
  await decodeHistory(history, new EncryptionCodec(keys));
  await mkdir(folder, { recursive: true });
  const file = join(folder, `${operation}-${name}.json`);
  await writeFile(file, `${JSON.stringify({ workflowId, history: proto.temporal.api.history.v1.History.toObject(proto.temporal.api.history.v1.History.fromObject(history), { enums: String, longs: String, bytes: String }) }, undefined, 1)}\n`);
  return file;
}
