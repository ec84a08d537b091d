import { spawn, type ChildProcess } from 'node:child_process';
import { readProcess, type ProcessReading } from '../../activities/host/process-table.ts';

/** A harmless process of the test's own, with a command line that an allow-list can name. */
export interface OwnedProcess {
  readonly child: ChildProcess;
  reading(): ProcessReading;
  end(): Promise<void>;
}

/** Starts node with a script and a mark in its command line. */
export async function ownProcess(script: string, mark: string): Promise<OwnedProcess> {
  const child = spawn(process.execPath, ['-e', `${script};process.stdout.write('ready')`, mark], { stdio: ['ignore', 'pipe', 'inherit'] });
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  await new Promise<void>((resolve, reject) => {
    child.stdout?.once('data', () => resolve());
    child.once('exit', () => reject(new Error('ended early')));
  });
  return {
    child,
    reading() {
      const found = child.pid === undefined ? undefined : readProcess(child.pid);
      if (found === undefined) throw new Error('the process is gone');
      return found;
    },
    async end() {
      child.kill('SIGKILL');
      await exited;
    },
  };
}

export const IDLE = 'setInterval(() => {}, 1000)';
export const BURN = 'setTimeout(() => { for (;;); }, 50)';
export const IGNORES_SIGTERM = "process.on('SIGTERM', () => {}); setInterval(() => {}, 1000)";
