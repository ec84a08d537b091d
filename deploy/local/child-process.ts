import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync } from 'node:fs';

const SETPRIV = ['/usr/bin/setpriv', '/bin/setpriv'].find((path) => existsSync(path));

export interface OwnedProcessOptions {
  /** Sent by the kernel when this process dies, so that SIGKILL leaves no orphan. Linux only. */
  deathSignal: 'INT' | 'TERM' | 'KILL';
  uid?: number;
  gid?: number;
  env?: NodeJS.ProcessEnv;
  cwd?: string;
}

/** Starts a child that cannot outlive this process. Its stdout and stderr are pipes. */
export function spawnOwned(command: string, args: readonly string[], options: OwnedProcessOptions): ChildProcess {
  const { deathSignal, uid, gid, env, cwd } = options;
  const common = { env, cwd, stdio: ['ignore', 'pipe', 'pipe'] as ['ignore', 'pipe', 'pipe'] };
  if (SETPRIV === undefined) {
    return spawn(command, args, { ...common, uid, gid });
  }
  // setpriv changes the user before it asks for the death signal: a change of user would clear it.
  const user = uid === undefined ? [] : ['--reuid', String(uid), '--regid', String(gid ?? uid), '--clear-groups'];
  return spawn(SETPRIV, [...user, '--pdeathsig', deathSignal, '--', command, ...args], common);
}

/**
 * Ends a child: `signal`, then SIGKILL after `graceMs`.
 * @returns once the child has exited.
 */
export async function endProcess(child: ChildProcess, signal: NodeJS.Signals, graceMs: number): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  child.kill(signal);
  const timer = setTimeout(() => child.kill('SIGKILL'), graceMs);
  await exited;
  clearTimeout(timer);
}
