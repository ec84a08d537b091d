import { totalmem } from 'node:os';
import si from 'systeminformation';
import type { HostAction } from '../../schemas/names/remedies.ts';
import type { HostPolicy } from './policy.ts';
import { isSupervised, processRole, type ProcessRole } from './processes.ts';
import { readProcesses, readProcess, runnableThreads, startedAt, TICKS_PER_SECOND, type ProcessReading } from './process-table.ts';
import type { BlockingSession, Sessions } from './sessions.ts';
import { measureTemporary, writersInto, type TemporaryUsage } from './temporary-files.ts';

export interface ProcessEvidence {
  readonly pid: number;
  readonly startTicks: number;
  /** RFC 3339. */
  readonly startedAt: string;
  readonly name: string;
  readonly state: string;
  /** Cores it uses or waits for: on a machine that is busy otherwise a hog gets little and is no less a hog. */
  readonly cores: number;
  readonly memoryBytes: number;
  readonly role: ProcessRole;
}

export interface SessionEvidence extends BlockingSession {
  readonly endable: boolean;
}

/** What the agent of a machine saw at one moment. Bounded: at most some dozen entries. */
export interface Evidence {
  readonly hostId: string;
  readonly at: string;
  readonly memory: { readonly totalBytes: number; readonly availableBytes: number };
  /** The top five by processor time and by memory, every process the policy lets the agent end that is among the top five of those, and stopped supervised ones. */
  readonly processes: readonly ProcessEvidence[];
  /** Roots of lock pile-ups; null when the agent watches no PostgreSQL, or could not ask it. */
  readonly sessions: readonly SessionEvidence[] | null;
  /** Why PostgreSQL could not be asked, in plain words; null when it was, or when the agent watches none. */
  readonly sessionsFailure: string | null;
  /** The watched folder; null when there is none. */
  readonly temporary: (TemporaryUsage & { readonly folder: string; readonly writers: readonly ProcessEvidence[] }) | null;
  readonly policy: { readonly actions: readonly HostAction[]; readonly approval: readonly HostAction[] };
}

/** Milliseconds over which processor time is measured. */
const SAMPLE_MS = 700;
const TOP = 5;

/** Looks at processes, PostgreSQL's locks and the watched folder. Takes about a second. */
export async function gatherEvidence(policy: HostPolicy, sessions: Sessions | undefined): Promise<Evidence> {
  const [processes, memory, blockers, temporary] = await Promise.all([
    sampleProcesses(),
    availableMemory(),
    blockingSessions(policy, sessions),
    policy.temporaryFolder === undefined ? null : measureTemporary(policy.temporaryFolder, deletionRule(policy)),
  ]);
  const writers = policy.temporaryFolder === undefined ? [] : writersInto(policy.temporaryFolder);
  return {
    hostId: policy.hostId,
    at: new Date().toISOString(),
    memory,
    processes: selectProcesses(policy, processes),
    sessions: blockers.sessions,
    sessionsFailure: blockers.failure,
    temporary: temporary === null ? null : {
      ...temporary,
      folder: policy.temporaryFolder ?? '',
      writers: writers.slice(0, TOP).flatMap((writer) => processes.filter((candidate) => candidate.pid === writer.pid && candidate.startTicks === writer.startTicks)).map((found) => describe(policy, found)),
    },
    policy: { actions: [...policy.actions], approval: [...policy.approval] },
  };
}

export function deletionRule(policy: HostPolicy): { minAgeSeconds: number; mark: string | undefined } {
  return { minAgeSeconds: policy.temporaryMinAgeSeconds, mark: policy.temporaryMark };
}

export interface MeasuredProcess extends ProcessReading {
  readonly cores: number;
}

/** Below this, cores, a process is idle, whatever a moment's look says of its threads. */
const IDLE_CORES = 0.05;

/** Every process with the cores it used over the sample, or wanted: the threads that could run at both its ends. */
export async function sampleProcesses(sampleMs = SAMPLE_MS): Promise<MeasuredProcess[]> {
  const before = new Map(readProcesses().map((reading) => [reading.pid, { ...reading, runnable: runnableThreads(reading.pid) }]));
  const started = performance.now();
  await new Promise((resolve) => setTimeout(resolve, sampleMs));
  const seconds = (performance.now() - started) / 1000;
  return readProcesses().map((reading) => {
    const earlier = before.get(reading.pid);
    const ticks = earlier !== undefined && earlier.startTicks === reading.startTicks ? reading.cpuTicks - earlier.cpuTicks : reading.cpuTicks;
    const used = Math.max(0, ticks) / TICKS_PER_SECOND / seconds;
    const wanted = used < IDLE_CORES ? 0 : Math.min(earlier?.runnable ?? 0, runnableThreads(reading.pid));
    return { ...reading, cores: round(Math.max(used, wanted)) };
  });
}

function selectProcesses(policy: HostPolicy, processes: readonly MeasuredProcess[]): ProcessEvidence[] {
  const byCores = processes.toSorted((a, b) => b.cores - a.cores);
  const byMemory = processes.toSorted((a, b) => b.memoryBytes - a.memoryBytes);
  // Roles cost a read of the command line each: only those worth a look are asked for theirs.
  const endable = (ranked: readonly MeasuredProcess[]): MeasuredProcess[] =>
    ranked.slice(0, 40).filter((candidate) => processRole(policy, candidate) === 'endable').slice(0, TOP);
  const stopped = processes.filter((candidate) => candidate.state === 'T' && isSupervised(policy, candidate.pid)).slice(0, 10);
  const chosen = new Map([...stopped, ...byCores.slice(0, TOP), ...byMemory.slice(0, TOP), ...endable(byCores), ...endable(byMemory)].map((found) => [found.pid, found]));
  return [...chosen.values()].map((found) => describe(policy, found));
}

function describe(policy: HostPolicy, found: MeasuredProcess): ProcessEvidence {
  const { pid, startTicks, name, state, cores, memoryBytes } = found;
  // A stopped process of HAL9 is protected against being ended, not against being woken.
  const role = state === 'T' && isSupervised(policy, pid) ? 'supervised' : processRole(policy, readProcess(pid) ?? found);
  return { pid, startTicks, startedAt: startedAt(startTicks), name, state, cores, memoryBytes, role };
}

async function blockingSessions(policy: HostPolicy, sessions: Sessions | undefined): Promise<{ sessions: SessionEvidence[] | null; failure: string | null }> {
  if (sessions === undefined) return { sessions: null, failure: null };
  try {
    const found = await sessions.rootBlockers();
    return { sessions: found.map((session) => ({ ...session, endable: isEndableSession(policy, session) })), failure: null };
  } catch (error) {
    // The machine may have other trouble worth seeing; a driver's message may quote how it signs in, its code does not.
    const code = error instanceof Error && 'code' in error && typeof error.code === 'string' ? ` (${error.code})` : '';
    return { sessions: null, failure: `PostgreSQL did not tell which sessions block others${code}` };
  }
}

export function isEndableSession(policy: HostPolicy, session: Pick<BlockingSession, 'applicationName'>): boolean {
  return policy.backends.some((beginning) => session.applicationName.startsWith(beginning));
}

async function availableMemory(): Promise<{ totalBytes: number; availableBytes: number }> {
  const { total, available } = await si.mem();
  return { totalBytes: total || totalmem(), availableBytes: available };
}

function round(value: number): number {
  return Math.round(value * 1000) / 1000;
}
