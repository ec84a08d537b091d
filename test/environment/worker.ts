import { spawn, type ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

const ROOT = join(import.meta.dirname, '../..');

export interface RunningProcess {
  readonly child: ChildProcess;
  readonly metricsUrl: string;
  /** Every log line so far. */
  readonly lines: string[];
  /** SIGTERM; resolves with the exit code. */
  stop(): Promise<number | null>;
}

/**
 * Starts a HAL9 process as production does and waits for its ready line.
 * @param main path from the repository's root, e.g. `workers/core/main.ts`.
 */
export async function startProcess(main: string, env: Readonly<Record<string, string>>): Promise<RunningProcess> {
  const child = spawn(process.execPath, [join(ROOT, main)], { cwd: ROOT, env: { ...inherited(), ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
  const lines: string[] = [];
  const exited = new Promise<number | null>((resolve) => child.once('exit', resolve));
  createInterface({ input: child.stderr }).on('line', (line) => lines.push(line));
  const port = await new Promise<number>((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`${main} is not ready: ${lines.slice(-10).join('\n')}`)), 60_000);
    child.once('exit', () => reject(new Error(`${main} ended: ${lines.slice(-10).join('\n')}`)));
    createInterface({ input: child.stdout }).on('line', (line) => {
      lines.push(line);
      const found = /"event":"ready","metricsPort":(\d+)/.exec(line)?.[1];
      if (found === undefined) return;
      clearTimeout(timer);
      resolve(Number(found));
    });
  }).catch((error: unknown) => {
    child.kill('SIGKILL');
    throw error;
  });
  return {
    child,
    metricsUrl: `http://127.0.0.1:${port}`,
    lines,
    stop() {
      child.kill('SIGTERM');
      return exited;
    },
  };
}

/** Only what a process needs to run and to record its coverage: no setting of the machine leaks in. */
function inherited(): Record<string, string> {
  return Object.fromEntries(['PATH', 'HOME', 'NODE_V8_COVERAGE'].flatMap((name) => (process.env[name] === undefined ? [] : [[name, process.env[name]]])));
}
