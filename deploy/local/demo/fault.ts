import type { ChildProcess } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readdir, rm, stat } from 'node:fs/promises';
import { extname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { CAUSES, type Cause } from '../../../schemas/names/remedies.ts';
import { isAlive } from '../../../activities/host/processes.ts';
import { readProcess } from '../../../activities/host/process-table.ts';
import { endProcess, spawnOwned } from '../child-process.ts';
import type { Stack } from '../stack.ts';

/** Something that goes wrong on purpose. */
export interface Fault {
  readonly cause: Cause;
  /** For people. */
  readonly title: string;
  /** Resolves once it is going on. */
  inject(): Promise<void>;
  /** Whether the machine is free of it, seen from outside HAL9. */
  isGone(): Promise<boolean>;
  /** Takes it away if nothing else did. Safe to call at any time. */
  cleanUp(): Promise<void>;
}

const FAULTS = join(import.meta.dirname, 'faults');

/** What the host agent of one demo may end: processes with this in their command line, sessions with this name. Another demo beside it has others. */
export interface FaultMarks {
  readonly processes: string;
  readonly sessions: string;
}

/** Ending of the names of the files a demo writes. */
export const FAULT_FILES = '.demo-scratch';

/** @param folder the demo's own folder of temporary files. */
export function faultMarks(folder: string): FaultMarks {
  const name = createHash('sha256').update(folder).digest('hex').slice(0, 12);
  return { processes: `--demo=${name}`, sessions: `hal9-demo-fault-${name}` };
}

/** The five faults, mildest first. `folder` is the watched folder of temporary files. */
export function faultsOf(stack: Pick<Stack, 'databaseUrl' | 'kill'>, folder: string): Fault[] {
  const marks = faultMarks(folder);
  return [
    processFault(CAUSES.cpuHog, 'a process burns processor time', 'burn-cpu', [marks.processes]),
    processFault(CAUSES.memoryHog, 'a process takes memory', 'take-memory', [marks.processes]),
    diskFault(folder, marks),
    lockFault(stack.databaseUrl, marks),
    stoppedWorkerFault(stack),
  ];
}

function processFault(cause: Cause, title: string, script: string, args: readonly string[], env: NodeJS.ProcessEnv = process.env): Fault & { child(): ChildProcess | undefined; output(): string } {
  let child: ChildProcess | undefined;
  let identity: { pid: number; startTicks: number } | undefined;
  let output = '';
  return {
    cause,
    title,
    child: () => child,
    output: () => output,
    async inject() {
      const started = spawnOwned(process.execPath, [join(FAULTS, script + extname(import.meta.filename)), ...args], { deathSignal: 'KILL', env });
      child = started;
      await new Promise<void>((resolve, reject) => {
        started.stdout?.on('data', (chunk: Buffer) => {
          output += chunk.toString();
          if (output.includes('ready')) resolve();
        });
        started.stderr?.on('data', (chunk: Buffer) => (output += chunk.toString()));
        started.once('error', reject);
        started.once('close', () => reject(new Error(`the fault "${title}" did not start: ${output}`)));
      });
      const reading = started.pid === undefined ? undefined : readProcess(started.pid);
      if (reading !== undefined) identity = { pid: reading.pid, startTicks: reading.startTicks };
    },
    async isGone() {
      return identity !== undefined && !isAlive(identity);
    },
    async cleanUp() {
      if (child !== undefined) await endProcess(child, 'SIGKILL', 2000);
    },
  };
}

function diskFault(folder: string, marks: FaultMarks): Fault {
  const writer = processFault(CAUSES.diskFilling, 'temporary files fill a disk', 'fill-disk', [folder, marks.processes]);
  return {
    ...writer,
    async isGone() {
      return (await writer.isGone()) && (await bytesIn(folder)) === 0;
    },
    async cleanUp() {
      await writer.cleanUp();
      for (const name of await readdir(folder).catch(() => [])) await rm(join(folder, name), { force: true, recursive: true });
    },
  };
}

function lockFault(databaseUrl: string, marks: FaultMarks): Fault {
  const pileUp = processFault(CAUSES.lockPileUp, 'sessions pile up behind a lock', 'pile-up-locks', [marks.sessions, marks.processes], { ...process.env, DATABASE_URL: databaseUrl });
  return { ...pileUp, isGone: async () => pileUp.output().includes('free') };
}

/** Stops one of the two core workers: the other has to find out and wake it. */
function stoppedWorkerFault(stack: Pick<Stack, 'kill'>): Fault {
  let pid: number | undefined;
  return {
    cause: CAUSES.workerStopped,
    title: 'a core worker is stopped',
    async inject() {
      pid = stack.kill('core-2', 'SIGSTOP');
      // The signal is on its way: the kernel stops each thread in its own time.
      while (readProcess(pid)?.state !== 'T') await sleep(10);
    },
    async isGone() {
      return pid !== undefined && readProcess(pid)?.state !== 'T';
    },
    async cleanUp() {
      if (pid !== undefined && readProcess(pid)?.state === 'T') process.kill(pid, 'SIGCONT');
    },
  };
}

async function bytesIn(folder: string): Promise<number> {
  let total = 0;
  for (const name of await readdir(folder)) {
    // Deleted between the two looks: nothing to count.
    try {
      total += (await stat(join(folder, name))).size;
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error;
    }
  }
  return total;
}
