import { readdirSync, readFileSync } from 'node:fs';

/** Kernel clock ticks a second (`USER_HZ`), 100 on every Linux that Node runs on. */
export const TICKS_PER_SECOND = 100;
const PAGE_BYTES = 4096;

/** One process as `/proc/<pid>/stat` tells it, proc_pid_stat(5). */
export interface ProcessReading {
  readonly pid: number;
  readonly parentPid: number;
  /** Name of the executable, at most 15 characters; what `ps` calls comm. */
  readonly name: string;
  /** R running, S sleeping, D waiting for a device, T stopped by a signal, t by a tracer, Z zombie, I idle kernel thread. */
  readonly state: string;
  /** User and system time since its start, clock ticks. */
  readonly cpuTicks: number;
  /** Start, clock ticks since boot: with the pid the identity of a process. */
  readonly startTicks: number;
  /** Resident memory, bytes. */
  readonly memoryBytes: number;
}

/**
 * Reads one process.
 * @returns undefined when there is no such process (any more).
 */
export function readProcess(pid: number): ProcessReading | undefined {
  const stat = readProcFile(`/proc/${pid}/stat`);
  return stat === undefined ? undefined : parseStat(pid, stat);
}

/** Every process one can see. Costs about 15 microseconds a process. Linux only: elsewhere the list is empty. */
export function readProcesses(): ProcessReading[] {
  if (process.platform !== 'linux') return [];
  const found: ProcessReading[] = [];
  for (const entry of readdirSync('/proc')) {
    const pid = Number(entry);
    if (!Number.isInteger(pid)) continue;
    const reading = readProcess(pid);
    if (reading !== undefined) found.push(reading);
  }
  return found;
}

/** Threads of the process that run or wait for a processor at this moment. Costs about 15 microseconds a thread. */
export function runnableThreads(pid: number): number {
  let threads: string[];
  try {
    threads = readdirSync(`/proc/${pid}/task`);
  } catch {
    // Ended meanwhile.
    return 0;
  }
  return threads.filter((thread) => {
    const stat = readProcFile(`/proc/${pid}/task/${thread}/stat`);
    return stat?.charAt(stat.lastIndexOf(')') + 2) === 'R';
  }).length;
}

/** Arguments joined by blanks; empty for kernel threads and processes that have ended. May hold secrets: never send it on. */
export function readCommandLine(pid: number): string {
  return (readProcFile(`/proc/${pid}/cmdline`) ?? '').replaceAll('\0', ' ').trim();
}

/** When a process started, RFC 3339, from its start in ticks. */
export function startedAt(startTicks: number): string {
  const boot = /^btime (\d+)$/m.exec(readProcFile('/proc/stat') ?? '')?.[1] ?? '0';
  return new Date((Number(boot) + startTicks / TICKS_PER_SECOND) * 1000).toISOString();
}

function parseStat(pid: number, stat: string): ProcessReading | undefined {
  // The name stands in parentheses and may itself hold blanks and parentheses: the last one ends it.
  const open = stat.indexOf('(');
  const close = stat.lastIndexOf(')');
  if (open < 0 || close < open) return undefined;
  const fields = stat.slice(close + 2).split(' ');
  const number = (field: number): number => Number(fields[field - 3] ?? 0);
  return {
    pid,
    parentPid: number(4),
    name: stat.slice(open + 1, close),
    state: fields[0] ?? '?',
    cpuTicks: number(14) + number(15),
    startTicks: number(22),
    memoryBytes: number(24) * PAGE_BYTES,
  };
}

/** The text of a file of procfs; undefined when the process behind it is gone or hidden. */
export function readProcFile(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
    if (code === 'ENOENT' || code === 'ESRCH' || code === 'EACCES' || code === 'EPERM' || code === 'ENOTDIR') return undefined;
    throw error;
  }
}
