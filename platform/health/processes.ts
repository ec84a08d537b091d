import type { WorkerRow } from '../../database/workers.ts';
import type { ComponentReport } from './component.ts';

/** A process beats every two seconds; after so many without a beat it counts as gone, seconds. */
const SILENT_SECONDS = 12;

/**
 * Background processes by their heartbeats: `worker/<process>/<host>/<pid>`, and `agent/<host>` for the one that collects
 * and mends on a machine. A silent one that another of its kind on its host has come after is history, not trouble.
 * @param now the database's clock, as the beats are.
 */
export function processReports(workers: readonly WorkerRow[], now: Date): ComponentReport[] {
  const silent = (worker: WorkerRow): boolean => now.getTime() - worker.lastSeen.getTime() > SILENT_SECONDS * 1000;
  const replaced = (worker: WorkerRow): boolean =>
    workers.some((other) => other.process === worker.process && other.host === worker.host && !silent(other) && other.startedAt > worker.lastSeen);
  return workers.filter((worker) => !(silent(worker) && replaced(worker))).map((worker) => {
    const { process, host, pid, queues, startedAt, lastSeen } = worker;
    const agent = process === 'host';
    const component = { name: agent ? `agent/${host}` : `worker/${process}/${host}/${pid}`, kind: agent ? 'agent' : 'worker', dependsOn: ['postgres', 'temporal'] };
    if (silent(worker)) return { ...component, state: 'unhealthy', detail: `No heartbeat since ${lastSeen.toISOString()}.`, since: lastSeen };
    return { ...component, state: 'healthy', detail: queues.length === 0 ? 'It beats.' : `It beats and serves ${queues.join(', ')}.`, since: startedAt };
  });
}
