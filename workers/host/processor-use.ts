import { TICKS_PER_SECOND, type ProcessReading } from '../../activities/host/process-table.ts';

/** How far back a process's use of processors is counted, milliseconds. On an overloaded machine a hog runs in bursts: one second may show nothing of it. */
const WINDOW_MS = 5000;

interface Look {
  readonly at: number;
  readonly cpuTicks: number;
}

interface Watched {
  readonly startTicks: number;
  /** Oldest first; the first is the newest that is at least a window old, or the first ever. */
  looks: Look[];
  /** Threads that could run, one entry a look at them. */
  wants: { readonly at: number; readonly threads: number }[];
}

/** Processors used by each process, as a mean over the last five seconds; bounded by the processes that live. */
export class ProcessorUse {
  #watched = new Map<number, Watched>();

  /**
   * Takes one reading of the process table.
   * @param at monotonic, milliseconds.
   */
  observe(processes: readonly ProcessReading[], at: number): void {
    const seen = new Map<number, Watched>();
    for (const { pid, startTicks, cpuTicks } of processes) {
      const known = this.#watched.get(pid);
      const watched = known !== undefined && known.startTicks === startTicks ? known : { startTicks, looks: [], wants: [] };
      watched.looks.push({ at, cpuTicks });
      while ((watched.looks[1]?.at ?? Infinity) <= at - WINDOW_MS) watched.looks.shift();
      watched.wants = watched.wants.filter((want) => want.at > at - WINDOW_MS);
      seen.set(pid, watched);
    }
    this.#watched = seen;
  }

  /** Notes how many threads of a process could run when it was last observed. */
  noteRunnable(pid: number, threads: number): void {
    const watched = this.#watched.get(pid);
    const at = watched?.looks.at(-1)?.at;
    if (watched !== undefined && at !== undefined) watched.wants.push({ at, threads });
  }

  /** Mean over the window, cores; over its life since it was first seen when that is shorter. 0 for one seen once. */
  used(pid: number): number {
    const looks = this.#watched.get(pid)?.looks;
    const [first, last] = [looks?.[0], looks?.at(-1)];
    if (first === undefined || last === undefined || last.at <= first.at) return 0;
    return ((last.cpuTicks - first.cpuTicks) / TICKS_PER_SECOND / (last.at - first.at)) * 1000;
  }

  /**
   * Cores it used or wanted, a mean over the window: on a machine that is busy otherwise a hog gets little, and what it wants shows in
   * threads that wait for a processor.
   */
  cores(pid: number): number {
    const wants = this.#watched.get(pid)?.wants ?? [];
    const wanted = wants.length === 0 ? 0 : wants.reduce((sum, { threads }) => sum + threads, 0) / wants.length;
    return Math.max(this.used(pid), wanted);
  }
}
