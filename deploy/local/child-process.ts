import { spawn, spawnSync, type ChildProcess } from 'node:child_process';

let setpriv: boolean | undefined;

/** Whether this machine has util-linux's setpriv; BusyBox's lacks the death signal. */
function hasSetpriv(): boolean {
  setpriv ??= process.platform === 'linux' && spawnSync('setpriv', ['--pdeathsig', 'KILL', '--', 'true'], { stdio: 'ignore' }).status === 0;
  return setpriv;
}

export interface OwnedProcessOptions {
  /** Sent by the kernel when this process dies, so that SIGKILL leaves no orphan. Linux only. */
  deathSignal: 'INT' | 'TERM' | 'KILL';
  uid?: number;
  gid?: number;
  env?: NodeJS.ProcessEnv;
  cwd?: string;
}

/**
 * Starts a child that cannot outlive this process. Its stdout and stderr are pipes. It leads a session of its own (which
 * Linux may schedule as a group of its own, sched(7)):
 * Ctrl-C in the terminal reaches its owner alone, who ends its children in order.
 */
export function spawnOwned(command: string, args: readonly string[], options: OwnedProcessOptions): ChildProcess {
  const { deathSignal, uid, gid, env, cwd } = options;
  const common = { env, cwd, stdio: ['ignore', 'pipe', 'pipe'] as ['ignore', 'pipe', 'pipe'], detached: true };
  if (!hasSetpriv()) return spawn(command, args, { ...common, uid, gid });
  // setpriv changes the user before it asks for the death signal: a change of user would clear it.
  const user = uid === undefined ? [] : ['--reuid', String(uid), '--regid', String(gid ?? uid), '--clear-groups'];
  return spawn('setpriv', [...user, '--pdeathsig', deathSignal, '--', command, ...args], common);
}

/** Whether the child has ended. */
export function hasEnded(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null;
}

/**
 * Ends a child: `signal`, then SIGKILL after `graceMs`.
 * @returns once the child has exited.
 */
export async function endProcess(child: ChildProcess, signal: NodeJS.Signals, graceMs: number): Promise<void> {
  if (hasEnded(child) || child.pid === undefined) return;
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  child.kill(signal);
  // A stopped process takes no signal but SIGKILL until it continues.
  child.kill('SIGCONT');
  const timer = setTimeout(() => child.kill('SIGKILL'), graceMs);
  await exited;
  clearTimeout(timer);
}

/** Keeps the last line a child wrote, for messages. */
export function tail(child: ChildProcess): () => string {
  let text = '';
  const collect = (chunk: Buffer): void => {
    text = (text + chunk.toString()).slice(-4000);
  };
  child.stdout?.on('data', collect);
  child.stderr?.on('data', collect);
  return () => text.trim().split('\n').at(-1) ?? '';
}
