import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { basename } from 'node:path';
import { systemCode } from './setup-error.ts';

const LINUX = process.platform === 'linux';

/** A process that cannot be mistaken for a later one under the same number. */
export interface ProcessIdentity {
  readonly pid: number;
  /** Boot and start time of the process, in the machine's own terms. */
  readonly started: string;
}

/** Identity of the process with this number, or undefined when there is none (a zombie counts as none). */
export function identify(pid: number): ProcessIdentity | undefined {
  if (!Number.isSafeInteger(pid) || pid <= 0) return undefined;
  const started = LINUX ? linuxStart(pid) : portableStart(pid);
  return started === undefined ? undefined : { pid, started };
}

/** Whether this very process still runs. */
export function isAlive(identity: ProcessIdentity): boolean {
  return identify(identity.pid)?.started === identity.started;
}

/**
 * Ends a process that is not a child: `signal`, then SIGKILL after `graceMs`.
 * @returns once it is gone.
 * @throws {Error} when it survives, or belongs to another user.
 */
export async function endStranger(identity: ProcessIdentity, signal: NodeJS.Signals, graceMs: number): Promise<void> {
  const start = Date.now();
  let sent: NodeJS.Signals | undefined;
  while (isAlive(identity)) {
    const elapsed = Date.now() - start;
    const wanted = elapsed > graceMs ? 'SIGKILL' : signal;
    if (sent !== wanted) {
      try {
        process.kill(identity.pid, wanted);
      } catch (error) {
        if (systemCode(error) !== 'ESRCH') throw error;
      }
      sent = wanted;
    }
    if (elapsed > graceMs + 10_000) throw new Error(`process ${identity.pid} does not end`);
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}

/** Who listens on a TCP port of this machine, for messages; undefined when it cannot be told. Linux only. */
export function listenerOf(port: number): { pid: number; command: string } | undefined {
  if (!LINUX) return undefined;
  const inodes = new Set(['/proc/net/tcp', '/proc/net/tcp6'].flatMap((file) => listeningSockets(file, port)));
  if (inodes.size === 0) return undefined;
  for (const entry of readdirSync('/proc')) {
    if (!/^\d+$/.test(entry) || !holdsSocket(entry, inodes)) continue;
    return { pid: Number(entry), command: programOf(entry) };
  }
  return undefined;
}

/** Name of the executable of a process as the kernel shows it. */
export function commandOf(pid: number): string | undefined {
  return quietly(() => readFileSync(`/proc/${pid}/comm`, 'utf8').trim());
}

/** What was started, as a person knows it: threads may rename a process. */
function programOf(pid: string): string {
  const program = quietly(() => readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0')[0]);
  return program === undefined || program === '' ? 'unknown' : basename(program);
}

function linuxStart(pid: number): string | undefined {
  const stat = quietly(() => readFileSync(`/proc/${pid}/stat`, 'utf8'));
  // The second field is the command in parentheses and may hold spaces; fields 3 (state) and 22 (start) follow it.
  const fields = stat?.slice(stat.lastIndexOf(')') + 2).split(' ');
  const start = fields?.[19];
  if (fields === undefined || start === undefined || fields[0] === 'Z' || fields[0] === 'X') return undefined;
  return `${readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()}/${start}`;
}

function portableStart(pid: number): string | undefined {
  const started = quietly(() => execFileSync('ps', ['-o', 'lstart=', '-p', String(pid)], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim());
  return started === '' ? undefined : started;
}

function listeningSockets(file: string, port: number): string[] {
  const hex = port.toString(16).toUpperCase().padStart(4, '0');
  const lines = quietly(() => readFileSync(file, 'utf8').split('\n').slice(1)) ?? [];
  return lines.flatMap((line) => {
    const [, local = '', , state, , , , , , inode] = line.trim().split(/\s+/);
    return state === '0A' && local.endsWith(`:${hex}`) && inode !== undefined ? [inode] : [];
  });
}

function holdsSocket(pid: string, inodes: ReadonlySet<string>): boolean {
  const descriptors = quietly(() => readdirSync(`/proc/${pid}/fd`)) ?? [];
  return descriptors.some((descriptor) => {
    const target = quietly(() => readlinkSync(`/proc/${pid}/fd/${descriptor}`));
    const inode = target?.match(/^socket:\[(\d+)\]$/)?.[1];
    return inode !== undefined && inodes.has(inode);
  });
}

/** Processes come and go while they are looked at, and others' may not be looked into: both read as absent. */
function quietly<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}
