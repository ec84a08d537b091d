import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Client } from '@temporalio/client';
import type { DataConverter } from '@temporalio/common';
import type { WorkflowBundle } from '../bundle.ts';
import { replayRuns, type IncompatibleRun, type ReplayableRun } from '../replay.ts';

/** Open runs looked at; more would make the start slow. The oldest come last, the newest are the likeliest to be in the middle of something. */
const RUNS = 50;
/** Time the look takes at most, ms; runs not read by then are not judged. */
const LIMIT_MS = 10_000;

export interface OpenRunsCheck {
  readonly client: Client;
  readonly dataConverter: DataConverter;
  readonly bundle: WorkflowBundle;
  /** Only runs on these queues are this worker's. */
  readonly queues: readonly string[];
  /** Data folder, where the last build that passed is remembered; a start with the same one checks nothing. */
  readonly dataFolder: string;
}

/**
 * Before a new build takes over: replays open runs with it.
 * @returns the runs that cannot go on with this build.
 */
export async function checkOpenRuns(check: OpenRunsCheck): Promise<IncompatibleRun[]> {
  const marker = join(check.dataFolder, 'builds', 'core');
  const before = await readFile(marker, 'utf8').catch(() => undefined);
  if (before === check.bundle.hash) return [];
  const runs = await openRuns(check);
  const incompatible = runs.length === 0 ? [] : await replayRuns(check.bundle, check.dataConverter, runs);
  if (incompatible.length === 0) await remember(marker, check.bundle.hash);
  return incompatible;
}

async function openRuns({ client, queues }: OpenRunsCheck): Promise<ReplayableRun[]> {
  const runs: ReplayableRun[] = [];
  const deadline = Date.now() + LIMIT_MS;
  const names = queues.map((queue) => `'${queue.replaceAll("'", '')}'`).join(', ');
  for await (const { workflowId, runId } of client.workflow.list({ query: `ExecutionStatus = 'Running' AND TaskQueue IN (${names})`, pageSize: RUNS })) {
    if (runs.length >= RUNS || Date.now() > deadline) break;
    runs.push({ workflowId, history: await client.workflow.getHandle(workflowId, runId).fetchHistory() });
  }
  return runs;
}

async function remember(marker: string, hash: string): Promise<void> {
  await mkdir(join(marker, '..'), { recursive: true });
  const draft = `${marker}.${process.pid}`;
  await writeFile(draft, hash);
  await rename(draft, marker);
}
