import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Client } from '@temporalio/client';
import { EncryptionCodec } from '../../platform/codec/payload-codec.ts';
import type { KeyRing } from '../../platform/keys/key-ring.ts';
import { recordingOf } from '../../platform/operations/run-recording.ts';
import { parseWorkflowId } from '../../schemas/names/workflow-id.ts';

export const HISTORIES = join(import.meta.dirname, 'histories');

/**
 * Keeps the history of a run, decrypted, as `<operation>-<case>.json`.
 * @returns the file.
 */
export async function recordHistory(client: Client, keys: KeyRing, workflowId: string, name: string, folder: string = HISTORIES): Promise<string> {
  // The firing of a schedule has the time behind its id.
  const operation = parseWorkflowId(workflowId.replace(/-\d{4}-\d{2}-\d{2}T[\d:.]+Z$/, ''))?.operation;
  if (operation === undefined) throw new TypeError(`"${workflowId}" is not the workflow id of an operation`);
  const record = await recordingOf(workflowId, await client.workflow.getHandle(workflowId).fetchHistory(), [new EncryptionCodec(keys)]);
  await mkdir(folder, { recursive: true });
  const file = join(folder, `${operation}-${name}.json`);
  await writeFile(file, `${JSON.stringify(record, undefined, 1)}\n`);
  return file;
}
