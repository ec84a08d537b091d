import { CAUSES } from '../../schemas/names/remedies.ts';
import type { HostPolicy } from './policy.ts';
import { deletionRule, sampleProcesses, type MeasuredProcess } from './evidence.ts';
import { isSupervised, processRole } from './processes.ts';
import { readProcesses } from './process-table.ts';
import type { Sessions } from './sessions.ts';
import { measureTemporary } from './temporary-files.ts';

/** Waits shorter than this, seconds, are everyday life of a database. */
export const LONG_WAIT_SECONDS = 1;

/** What is measured to see whether an action helped. */
export interface Symptom {
  readonly cause: string;
  /** Name of the executable that was blamed, for causes that blame a process: one that comes back under the same name did not go away. */
  readonly processName: string | null;
  /** The reading before the action: cores, bytes, sessions or processes by cause. */
  readonly before: number;
}

export interface SymptomReading {
  readonly value: number;
  /** Back to normal at or below this. */
  readonly limit: number;
  readonly unit: string;
}

/** Measures the symptom once. Half of what it was is normal again for processor time, memory and files; none at all for waits and stopped processes. */
export async function measureSymptom(symptom: Symptom, policy: HostPolicy, sessions: Sessions | undefined): Promise<SymptomReading> {
  switch (symptom.cause) {
    case CAUSES.cpuHog:
      return { value: sum(await sampleProcesses(), symptom, policy, (found) => found.cores), limit: symptom.before / 2, unit: 'cores' };
    case CAUSES.memoryHog:
      return { value: sum(readProcesses(), symptom, policy, (found) => found.memoryBytes), limit: symptom.before / 2, unit: 'bytes' };
    case CAUSES.diskFilling: {
      const bytes = policy.temporaryFolder === undefined ? 0 : (await measureTemporary(policy.temporaryFolder, deletionRule(policy))).bytes;
      return { value: bytes, limit: symptom.before / 2, unit: 'bytes' };
    }
    case CAUSES.lockPileUp: {
      const roots = sessions === undefined ? [] : await sessions.rootBlockers();
      const waiting = roots.filter((root) => root.longestWaitSeconds >= LONG_WAIT_SECONDS).reduce((count, root) => count + root.waiting, 0);
      return { value: waiting, limit: 0, unit: 'sessions' };
    }
    case CAUSES.workerStopped:
      return { value: readProcesses().filter((found) => found.state === 'T' && isSupervised(policy, found.pid)).length, limit: 0, unit: 'processes' };
    default:
      throw new RangeError(`no symptom is known for the cause "${symptom.cause}"`);
  }
}

function sum<P extends Pick<MeasuredProcess, 'name'> & Parameters<typeof processRole>[1]>(processes: readonly P[], symptom: Symptom, policy: HostPolicy, weigh: (found: P) => number): number {
  return processes.filter((found) => found.name === symptom.processName && processRole(policy, found) === 'endable').reduce((total, found) => total + weigh(found), 0);
}
