import { isSupervised } from '../../activities/host/processes.ts';
import { readProcesses, runnableThreads, TICKS_PER_SECOND, type ProcessReading } from '../../activities/host/process-table.ts';
import { measureTemporary } from '../../activities/host/temporary-files.ts';
import { rounded, type Probe, type Reading } from './reading.ts';

/** So many of the hungriest processes are asked for their threads. */
const ASKED = 6;

/** The process table: the hungriest processes, counts by state, and HAL9's own that are stopped. Linux only. */
export function processProbe(source: string, supervised: readonly string[]): Probe {
  let before = new Map<number, ProcessReading>();
  let readAt = performance.now();
  return {
    name: 'processes',
    intervalMs: 0,
    async read() {
      const processes = readProcesses();
      const at = performance.now();
      const seconds = (at - readAt) / 1000;
      const used = (found: ProcessReading): number => {
        const earlier = before.get(found.pid);
        return earlier === undefined || earlier.startTicks !== found.startTicks ? 0 : (found.cpuTicks - earlier.cpuTicks) / TICKS_PER_SECOND / seconds;
      };
      // A hog gets little of a machine that is busy otherwise; what it wants shows in threads that wait for a processor.
      const hungriest = processes.toSorted((a, b) => used(b) - used(a)).slice(0, ASKED).map((found) => ({ ...found, cores: Math.max(used(found), runnableThreads(found.pid)) }));
      const byCores = top(hungriest, (found) => found.cores);
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
        ...(byCores === undefined || before.size === 0 ? [] : [{ source, metric: 'process.cpu', subject: 'top', value: rounded(byCores.cores), unit: 'cores', facts: { ...identity(byCores), used: rounded(used(byCores)) } }]),
      ];
      before = new Map(processes.map((found) => [found.pid, found]));
      readAt = at;
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
