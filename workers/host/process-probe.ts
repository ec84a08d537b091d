import { isSupervised } from '../../activities/host/processes.ts';
import { readProcesses, runnableThreads, type ProcessReading } from '../../activities/host/process-table.ts';
import { measureTemporary } from '../../activities/host/temporary-files.ts';
import { ProcessorUse } from './processor-use.ts';
import { rounded, type Probe, type Reading } from './reading.ts';

/** So many of the hungriest processes are asked for their threads. */
const ASKED = 6;

/** The process table: the hungriest processes, counts by state, and HAL9's own that are stopped. Linux only. */
export function processProbe(source: string, supervised: readonly string[]): Probe {
  const use = new ProcessorUse();
  let looks = 0;
  return {
    name: 'processes',
    intervalMs: 0,
    async read() {
      const processes = readProcesses();
      use.observe(processes, performance.now());
      looks += 1;
      const hungriest = processes.toSorted((a, b) => use.used(b.pid) - use.used(a.pid)).slice(0, ASKED);
      for (const { pid } of hungriest) use.noteRunnable(pid, runnableThreads(pid));
      const byCores = top(hungriest, ({ pid }) => use.cores(pid));
      const byMemory = top(processes, (found) => found.memoryBytes);
      const stopped = processes.filter((found) => found.state === 'T' && isSupervised({ supervised }, found.pid));
      const count = (metric: string, value: number): Reading => ({ source, metric: `process.${metric}`, subject: 'all', value, unit: 'processes' });
      const readings: Reading[] = [
        count('total', processes.length),
        count('running', processes.filter((found) => found.state === 'R').length),
        count('blocked', processes.filter((found) => found.state === 'D').length),
        count('zombie', processes.filter((found) => found.state === 'Z').length),
        { source, metric: 'process.stopped', subject: 'hal9', value: stopped.length, unit: 'processes', ...(stopped[0] === undefined ? {} : { facts: identity(stopped[0]) }) },
        ...(byMemory === undefined ? [] : [{ source, metric: 'process.memory', subject: 'top', value: byMemory.memoryBytes, unit: 'bytes', facts: identity(byMemory) }]),
        ...(byCores === undefined || looks === 1 ? [] : [{ source, metric: 'process.cpu', subject: 'top', value: rounded(use.cores(byCores.pid)), unit: 'cores', facts: { ...identity(byCores), used: rounded(use.used(byCores.pid)) } }]),
      ];
      return readings;
    },
  };
}

/** What the watched folder of temporary files holds. */
export function temporaryProbe(source: string, folder: string): Probe {
  return {
    name: 'temporary',
    intervalMs: 0,
    async read() {
      const usage = await measureTemporary(folder, { minAgeSeconds: 0, mark: undefined });
      return [{ source, metric: 'disk.temporary', subject: 'watched', value: usage.bytes, unit: 'bytes', facts: { files: usage.files } }];
    },
  };
}

/** What the collector itself costs. */
export function selfProbe(source: string): Probe {
  let before = process.cpuUsage();
  let readAt = performance.now();
  return {
    name: 'self',
    intervalMs: 5000,
    async read() {
      const used = process.cpuUsage(before);
      const at = performance.now();
      const cores = (used.user + used.system) / 1000 / (at - readAt);
      before = process.cpuUsage();
      readAt = at;
      return [{ source, metric: 'collector.cpu', subject: 'self', value: rounded(cores), unit: 'cores' }];
    },
  };
}

/** Start in ticks, not as a time: it must compare exactly. */
function identity({ pid, startTicks, name }: ProcessReading): Record<string, string | number> {
  return { pid, startTicks, name };
}

function top<P extends ProcessReading>(processes: readonly P[], weigh: (found: P) => number): P | undefined {
  return processes.reduce<P | undefined>((best, found) => (best === undefined || weigh(found) > weigh(best) ? found : best), undefined);
}
