import type { ChildProcess } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { Connection } from '@temporalio/client';
import { SEARCH_ATTRIBUTES } from '../../schemas/names/search-attributes.ts';
import { endProcess, spawnOwned } from './child-process.ts';

export interface TemporalOptions {
  executable: string;
  /** Folder of the SQLite file; undefined keeps everything in memory. */
  folder?: string;
  port: number;
  uiPort?: number;
  /** Address of HAL9's codec endpoint for the UI. */
  codecEndpoint?: string;
  namespace?: string;
}

export interface RunningTemporal {
  address: string;
  uiUrl: string | undefined;
  process: ChildProcess;
  stop(): Promise<void>;
}

/**
 * Measured on two cores: without these every step waits on a 50 ms grid (transferProcessorMaxPollRPS is 20 per shard and
 * the dev server has one shard), and short timers take a second.
 */
const DYNAMIC_CONFIG = [
  'history.transferProcessorMaxPollRPS=5000',
  'history.timerProcessorMaxPollRPS=5000',
  'history.visibilityProcessorMaxPollRPS=5000',
  'history.timerProcessorMaxTimeShift="5ms"',
  'matching.numTaskqueueReadPartitions=1',
  'matching.numTaskqueueWritePartitions=1',
  'system.enableActivityEagerExecution=true',
  'frontend.namespaceRPS=20000',
  'frontend.rps=20000',
  'history.rps=20000',
  'matching.rps=20000',
  'limit.blobSize.warn=1048576',
] as const;

/** Starts the Temporal dev server as a child that cannot outlive this process. */
export async function startTemporal(options: TemporalOptions): Promise<RunningTemporal> {
  const args = ['server', 'start-dev', '--ip', '127.0.0.1', '--port', String(options.port), '--log-level', 'error'];
  args.push('--namespace', options.namespace ?? 'default');
  if (options.folder !== undefined) {
    await mkdir(options.folder, { recursive: true });
    args.push('--db-filename', join(options.folder, 'temporal.db'), '--sqlite-pragma', 'journal_mode=wal', '--sqlite-pragma', 'synchronous=normal');
  }
  if (options.uiPort === undefined) args.push('--headless');
  else args.push('--ui-port', String(options.uiPort));
  if (options.codecEndpoint !== undefined) args.push('--ui-codec-endpoint', options.codecEndpoint);
  for (const entry of DYNAMIC_CONFIG) args.push('--dynamic-config-value', entry);
  for (const attribute of Object.values(SEARCH_ATTRIBUTES)) args.push('--search-attribute', `${attribute}=Keyword`);
  const child = spawnOwned(options.executable, args, { deathSignal: 'TERM', env: process.env });
  let log = '';
  const collect = (chunk: Buffer): void => {
    log = (log + chunk.toString()).slice(-4000);
  };
  child.stdout?.on('data', collect);
  child.stderr?.on('data', collect);
  const address = `127.0.0.1:${options.port}`;
  await answers(address, child, () => log);
  return {
    address,
    uiUrl: options.uiPort === undefined ? undefined : `http://127.0.0.1:${options.uiPort}`,
    process: child,
    stop: () => endProcess(child, 'SIGTERM', 10_000),
  };
}

async function answers(address: string, child: ChildProcess, log: () => string): Promise<void> {
  const deadline = Date.now() + 60_000;
  for (;;) {
    if (child.exitCode !== null) throw new Error(`the Temporal server ended while starting: ${log().trim().split('\n').at(-1) ?? ''}`);
    try {
      const connection = await Connection.connect({ address, connectTimeout: 1000 });
      await connection.workflowService.describeNamespace({ namespace: 'default' }).catch((error: unknown) => {
        if (!String(error).includes('NOT_FOUND')) throw error;
      });
      await connection.close();
      return;
    } catch (error) {
      if (Date.now() > deadline) throw new Error(`the Temporal server does not answer: ${String(error)}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}
