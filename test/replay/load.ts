import { readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import proto from '@temporalio/proto';
import { z } from 'zod';
import type { ReplayableRun } from '../../workers/replay.ts';

const recordSchema = z.object({ workflowId: z.string(), history: z.looseObject({ events: z.array(z.looseObject({ eventType: z.string() })) }) });
export type RecordedHistory = z.output<typeof recordSchema>;

/** The files of a folder, by name. */
export async function loadRecords(folder: string): Promise<Map<string, RecordedHistory>> {
  const names = (await readdir(folder)).filter((name) => name.endsWith('.json')).sort();
  return new Map(await Promise.all(names.map(async (name) => [name, recordSchema.parse(JSON.parse(await readFile(join(folder, name), 'utf8')))] as const)));
}

export function toRun(record: RecordedHistory): ReplayableRun {
  return { workflowId: record.workflowId, history: proto.temporal.api.history.v1.History.fromObject(record.history) };
}
