import type { ProcessIdentity } from '../../schemas/operations/remediate.ts';
import type { HostPolicy } from './policy.ts';
import { readCommandLine, readProcess, type ProcessReading } from './process-table.ts';

/** What the policy lets the agent do with a process. */
export type ProcessRole = 'endable' | 'supervised' | 'protected' | 'other';

/** Names of executables that are never ended, whatever the allow-list says. */
const PROTECTED_NAMES = new Set(['init', 'systemd', 'sshd', 'postgres', 'temporal', 'temporal-server', 'dockerd', 'containerd', 'kubelet']);

/** What the policy lets the agent do with this process. */
export function processRole(policy: HostPolicy, reading: ProcessReading): ProcessRole {
  const command = readCommandLine(reading.pid);
  if (isProtected(reading, command)) return 'protected';
  if (matches(policy.processes, command)) return 'endable';
  return matches(policy.supervised, command) ? 'supervised' : 'other';
}

/** Whether a stopped process is one that the agent may wake. */
export function isSupervised(policy: Pick<HostPolicy, 'supervised'>, pid: number): boolean {
  return matches(policy.supervised, readCommandLine(pid));
}

/**
 * The process, if it may be ended.
 * @returns a reason in words when it may not.
 */
export function endable(policy: HostPolicy, identity: ProcessIdentity): ProcessReading | string {
  const reading = identified(identity);
  if (typeof reading === 'string') return reading;
  const role = processRole(policy, reading);
  if (role === 'protected') return `${reading.name} (${reading.pid}) is protected`;
  if (role !== 'endable') return `${reading.name} (${reading.pid}) is not on the list of processes that may be ended`;
  return reading;
}

/**
 * The process, if it may be resumed or restarted.
 * @returns a reason in words when it may not.
 */
export function supervised(policy: HostPolicy, identity: ProcessIdentity): ProcessReading | string {
  const reading = identified(identity);
  if (typeof reading === 'string') return reading;
  if (isSelfOrAncestor(reading.pid)) return `${reading.name} (${reading.pid}) is the agent or runs it`;
  if (!isSupervised(policy, reading.pid)) return `${reading.name} (${reading.pid}) is not on the list of supervised processes`;
  return reading;
}

/** Whether exactly this process, not another with its pid, is there and not a zombie. */
export function isAlive(identity: ProcessIdentity): boolean {
  const reading = readProcess(identity.pid);
  return reading !== undefined && reading.startTicks === identity.startTicks && reading.state !== 'Z' && reading.state !== 'X';
}

/**
 * Sends a signal to exactly this process; the identity is checked again right before.
 * @returns false when it was gone.
 */
export function send(identity: ProcessIdentity, signal: NodeJS.Signals): boolean {
  if (!isAlive(identity)) return false;
  try {
    return process.kill(identity.pid, signal);
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ESRCH') return false;
    throw error;
  }
}

/** Waits until the process is gone, at most `ms`. */
export async function gone(identity: ProcessIdentity, ms: number, signal?: AbortSignal): Promise<boolean> {
  const deadline = Date.now() + ms;
  while (isAlive(identity)) {
    if (Date.now() > deadline) return false;
    signal?.throwIfAborted();
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return true;
}

function identified(identity: ProcessIdentity): ProcessReading | string {
  const reading = readProcess(identity.pid);
  if (reading === undefined) return `there is no process ${identity.pid}`;
  if (reading.startTicks !== identity.startTicks) return `process ${identity.pid} is another one than was meant: it started at another time`;
  return reading;
}

function isProtected(reading: ProcessReading, command: string): boolean {
  // Kernel threads have no command line and pid 2 for a parent.
  if (reading.pid <= 2 || reading.parentPid === 2 || command === '') return true;
  if (PROTECTED_NAMES.has(reading.name) || isSelfOrAncestor(reading.pid)) return true;
  return isOwnInfrastructure(command);
}

/** HAL9's own API, workers and launcher by their entry files; the faults a demo causes lie elsewhere. */
function isOwnInfrastructure(command: string): boolean {
  return /(^|[\s/])(workers|api|cli)\/[\w./-]+\.(ts|js)\b|deploy\/local\/(launch|stack)\.(ts|js)\b/.test(command);
}

function isSelfOrAncestor(pid: number): boolean {
  let current: number | undefined = process.pid;
  for (let depth = 0; current !== undefined && current > 0 && depth < 64; depth += 1) {
    if (current === pid) return true;
    current = readProcess(current)?.parentPid;
  }
  return false;
}

function matches(texts: readonly string[], command: string): boolean {
  return command !== '' && texts.some((text) => command.includes(text));
}
